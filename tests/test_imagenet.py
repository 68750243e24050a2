"""ImageNet weights by name: Keras fetches its own, into a cache of its own."""

import numpy as np
import pytest

import deeplab_resnet.weight_layouts
from deeplablib.utils.backend import keras
from deeplablib.weights import checkpoints
from tests.command import run_command
from tests.foreign_layouts import keras_vgg16


def test_what_keras_has_is_converted(tmp_path, monkeypatch):
    model = keras_vgg16()
    monkeypatch.setattr(keras.applications, 'VGG16', lambda weights: model)
    result = run_command('deeplab_vgg.convert', 'imagenet', tmp_path / 'init')
    assert result.code == 0, result.error
    assert 'Keras VGG16, Keras file' in result.out and 'trained on: keras' in result.out
    values = checkpoints.read(tmp_path / 'init')
    kernel = model.get_layer('block4_conv2').get_weights()[0]
    np.testing.assert_array_equal(values['conv4_2_weights'], kernel)


@pytest.mark.parametrize('encoder_name, depth', [('deeplab', 101), ('res101', 101), ('res50', 50)])
def test_a_resnet_starts_from_the_one_of_its_depth(monkeypatch, encoder_name, depth):
    for each in (50, 101):
        narrow = keras.Sequential(name=f'resnet{each}')
        monkeypatch.setattr(keras.applications, f'ResNet{each}', lambda narrow=narrow, **_: narrow)
    assert deeplab_resnet.weight_layouts.imagenet(encoder_name).path == f'resnet{depth}'


def test_without_a_network_the_message_says_what_to_put_where(tmp_path, monkeypatch):
    def fail(weights):
        raise Exception('URL fetch failure on https://example.org/vgg16.h5: None -- no network')

    monkeypatch.setattr(keras.applications, 'VGG16', fail)
    result = run_command('deeplab_vgg.convert', 'imagenet', tmp_path / 'init')
    assert result.code == 2 and 'Traceback' not in result.error
    assert 'https://example.org/vgg16.h5' in result.error and '~/.keras/models' in result.error

"""ImageNet weights by name: from a cache of Keras' that is the test's own."""

import hashlib
import importlib
import inspect
from dataclasses import replace

import numpy as np
import pytest

import deeplab_resnet.weight_layouts
import deeplab_vgg.weight_layouts
from deeplablib.utils.backend import keras
from deeplablib.weights import checkpoints
from deeplablib.weights.imagenet import KerasFile
from tests.command import run_command

CHANNELS = {1: (1, 2), 2: (2, 2), 3: (4, 3), 4: (8, 3), 5: (8, 3)}  # of a VGG16 of width 1/64


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path / 'keras'))
    folder = tmp_path / 'keras/models'
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def narrow(cache, monkeypatch):
    """A narrow VGG16 in the cache, in the format and under the name of the true one."""
    model = keras.Sequential([keras.Input((None, None, 3))])
    for block, (filters, count) in CHANNELS.items():
        for i in range(1, count + 1):
            name = f'block{block}_conv{i}'
            model.add(keras.layers.Conv2D(filters, 3, padding='same', name=name))
    file = deeplab_vgg.weight_layouts.IMAGENET_FILES['vgg']
    model.save(cache / file.name)
    md5 = hashlib.md5((cache / file.name).read_bytes()).hexdigest()
    known = replace(file, address=f'http://127.0.0.1:1/{file.name}', md5=md5)
    monkeypatch.setitem(deeplab_vgg.weight_layouts.IMAGENET_FILES, 'vgg', known)
    return model


def convert(out, *options):
    return run_command('deeplab_vgg.convert', 'imagenet', out, *options)


def test_file_in_the_cache_is_converted_without_a_network(tmp_path, cache, narrow):
    result = convert(tmp_path / 'out/init')
    assert result.code == 0, result.error
    file = deeplab_vgg.weight_layouts.IMAGENET_FILES['vgg']
    assert f'Read {cache / file.name}: Keras VGG16' in result.out
    values = checkpoints.read(tmp_path / 'out/init')
    kernel = narrow.get_layer('block4_conv2').get_weights()[0]
    np.testing.assert_array_equal(values['conv4_2_weights'], kernel)


def test_without_a_network_the_message_says_what_to_put_where(tmp_path, cache, narrow):
    file = deeplab_vgg.weight_layouts.IMAGENET_FILES['vgg']
    (cache / file.name).unlink()
    result = convert(tmp_path / 'out/init')
    assert result.code == 2 and 'Traceback' not in result.error
    message = [line for line in result.error.splitlines() if line.startswith('error: ')]
    assert message[0].startswith(f'error: cannot fetch {file.address} (')
    assert message[0].endswith(f'and put it into {cache}')


def test_another_file_of_that_name_is_refused_and_stays(tmp_path, cache, narrow):
    place = cache / deeplab_vgg.weight_layouts.IMAGENET_FILES['vgg'].name
    place.write_bytes(place.read_bytes()[:-1])
    result = convert(tmp_path / 'out/init')
    assert result.code == 2 and f'error: {place}: not the file that Keras' in result.error
    assert place.is_file()


def test_addresses_and_hashes_are_those_of_keras():
    resnet = importlib.import_module('keras.src.applications.resnet')
    for encoder_name, name in (('deeplab', 'resnet101'), ('res50', 'resnet50')):
        file = deeplab_resnet.weight_layouts.IMAGENET_FILES[encoder_name]
        ending = '_weights_tf_dim_ordering_tf_kernels_notop.h5'
        assert file.address == f'{resnet.BASE_WEIGHTS_PATH}{name}{ending}'
        assert file.md5 == resnet.WEIGHTS_HASHES[name][1]
    vgg = importlib.import_module('keras.src.applications.vgg16')
    file = deeplab_vgg.weight_layouts.IMAGENET_FILES['vgg']
    assert file == KerasFile(vgg.WEIGHTS_PATH, file.md5)
    with_top = inspect.getsource(vgg.VGG16).partition('WEIGHTS_PATH,')[2]
    assert f'file_hash="{file.md5}"' in with_top.partition(')')[0]

"""The converters: every value arrives, and a file that does not fit is refused."""

import re
import subprocess
import sys

import numpy as np
import pytest

from deeplablib.utils import errors
from deeplablib.weights import checkpoints
from tests import golden
from tests import weight_file_writers as writers
from tests.conversion import assert_same, convert, model_with, narrow_values
from tests.deterministic import image
from tests.foreign_layouts import layers_of, narrow_vgg16, to_deeplab_pytorch, write_with

# --- value for value -----------------------------------------------------------------------------


def test_full_size_caffe_resnet_101_arrives_value_for_value(tmp_path):
    values = golden.checkpoint_values('deeplab')
    writers.write_caffemodel(tmp_path / 'train2.caffemodel', layers_of(values))
    printed = convert('deeplab', tmp_path / 'train2.caffemodel', tmp_path / 'out/model')
    assert_same(checkpoints.read(tmp_path / 'out/model'), values)
    assert '528 variables, 528 read' in printed
    assert f'python test_vocspsm_resnet.py --restore-from {tmp_path}/out/model' in printed


@pytest.mark.parametrize(
    'encoder_name, write',
    [
        ('deeplab', writers.write_v1_checkpoint),
        ('res101', checkpoints.write),
        ('res50', writers.write_v1_checkpoint),
        ('vgg', checkpoints.write),
        ('vgg_aspp', writers.write_v1_checkpoint),
    ],
)
def test_tensorflow_1_checkpoints_arrive_value_for_value(tmp_path, encoder_name, write):
    values = narrow_values(encoder_name)
    name = next(iter(values))
    extra = {
        'global_step': np.int64(20000),
        f'{name}/Momentum': values[name],
        'resnet_v1_101/logits/weights': np.ones((1, 1, 2, 1000), np.float32),
    }
    write(tmp_path / 'in.ckpt', values | extra)
    printed = convert(encoder_name, tmp_path / 'in.ckpt', tmp_path / 'out')
    assert_same(checkpoints.read(tmp_path / 'out'), values)
    assert 'Dropped' in printed and 'Momentum' in printed and 'logits' in printed


@pytest.mark.parametrize(
    'name, rename',
    [
        ('in.caffemodel', str),
        ('in.npy', str),
        ('in.pth', to_deeplab_pytorch),
        ('in.safetensors', to_deeplab_pytorch),
    ],
)
def test_resnets_of_other_programs_arrive_value_for_value(tmp_path, name, rename):
    values = narrow_values('deeplab')
    write_with(layers_of(values, rename), tmp_path / name)
    convert('deeplab', tmp_path / name, tmp_path / 'out', '--no-exact-bn')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('encoder_name', ['vgg', 'vgg_aspp'])
@pytest.mark.parametrize('name', ['in.caffemodel', 'in.npy'])
def test_deeplab_vgg_of_caffe_arrives_value_for_value(tmp_path, encoder_name, name):
    values = narrow_values(encoder_name)
    layers = layers_of(values, lambda name: name.replace('fc8', 'fc8_voc12'))
    write_with(layers, tmp_path / name)
    convert(encoder_name, tmp_path / name, tmp_path / 'out')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


def test_shared_layers_of_a_multi_scale_caffe_model_are_dropped(tmp_path):
    values = narrow_values('deeplab')
    layers = layers_of(values)
    layers |= {f'{name}_res075': layer for name, layer in layers.items()}
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers)
    printed = convert('deeplab', tmp_path / 'in.caffemodel', tmp_path / 'out')
    assert_same(checkpoints.read(tmp_path / 'out'), values)
    assert re.search(r'Dropped.*conv1_res075', printed)


def test_caffe_resnet_50_with_lettered_units_and_a_bias(tmp_path):
    values = narrow_values('res50')
    slim = {'shortcut': '1', 'conv1': '2a', 'conv2': '2b', 'conv3': '2c'}

    def rename(name):
        name, is_norm = name.removesuffix('/BatchNorm'), name.endswith('/BatchNorm')
        match = re.fullmatch(r'resnet_v1_50/block(\d)/unit_(\d)/bottleneck_v1/(\w+)', name)
        if not match:
            return 'bn_conv1' if is_norm else name.removeprefix('resnet_v1_50/')
        block, unit, part = match.groups()
        unit = f'{int(block) + 1}{"abcdef"[int(unit) - 1]}_branch{slim[part]}'
        return f'bn{unit}' if is_norm else f'res{unit}'

    layers = layers_of({k: v for k, v in values.items() if 'decoder' not in k}, rename)
    layers['conv1']['biases'] = bias = np.full(4, 0.25, np.float32)
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers)
    printed = convert('res50', tmp_path / 'in.caffemodel', tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')
    mean = 'resnet_v1_50/conv1/BatchNorm/moving_mean'
    np.testing.assert_array_equal(found[mean], values[mean] - bias)
    kernel = 'resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights'
    np.testing.assert_array_equal(found[kernel], values[kernel])
    assert 'drawn anew: decoder/aspp/conv1/weights' in printed
    assert 'python main.py --option train --encoder_name res50' in printed


def test_weights_go_from_one_naming_to_the_other(tmp_path):
    values = narrow_values('deeplab')
    checkpoints.write(tmp_path / 'in', values)
    convert('deeplab', tmp_path / 'in', tmp_path / 'out', '--encoder-name', 'res101')
    there = model_with('res101', checkpoints.read(tmp_path / 'out'))
    here = model_with('deeplab', values)
    np.testing.assert_array_equal(there(image(33, 33, 1)), here(image(33, 33, 1)))
    assert np.abs(here(image(33, 33, 1))).max() > 0.01


# --- the classifier ------------------------------------------------------------------------------


def test_a_classifier_of_another_number_of_classes_is_drawn_anew(tmp_path):
    checkpoints.write(tmp_path / 'in', narrow_values('deeplab', num_classes=5))
    printed = convert('deeplab', tmp_path / 'in', tmp_path / 'a', '--num-classes', '7')
    convert('deeplab', tmp_path / 'in', tmp_path / 'b', '--num-classes', '7')
    first, second = checkpoints.read(tmp_path / 'a'), checkpoints.read(tmp_path / 'b')
    assert_same(first, second)
    kernel = first['fc1_voc12_c0/weights']
    assert kernel.shape == (3, 3, 128, 7)
    assert np.std(kernel) == pytest.approx(0.01, rel=0.05)
    assert not first['fc1_voc12_c0/biases'].any()
    assert '520 read' in printed and '--num_classes 7' in printed


def test_a_classifier_of_the_number_asked_for_is_kept(tmp_path):
    values = narrow_values('vgg', num_classes=5)
    checkpoints.write(tmp_path / 'in', values)
    convert('vgg', tmp_path / 'in', tmp_path / 'out', '--num-classes', '5')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('name', ['back', 'back.weights.h5'])
def test_a_file_written_here_keeps_its_number_of_classes(tmp_path, name):
    values = narrow_values('vgg', num_classes=3)
    checkpoints.write(tmp_path / 'in', values)
    printed = convert('vgg', tmp_path / 'in', tmp_path / name)
    assert 'for 3 classes' in printed and 'anew' not in printed
    printed = convert('vgg', tmp_path / name, tmp_path / 'out')
    assert 'for 3 classes' in printed and 'anew' not in printed
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('num_classes', [7, 1000])
def test_the_classifier_of_another_program_makes_place_for_that_of_voc(tmp_path, num_classes):
    _, layers = narrow_vgg16({})
    layers['fc8'] = {name: values[..., :num_classes] for name, values in layers['fc8'].items()}
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers)
    printed = convert('vgg', tmp_path / 'in.caffemodel', tmp_path / 'out')
    assert 'for 21 classes' in printed and 'drawn anew: fc8_weights, fc8_bias' in printed
    assert checkpoints.read(tmp_path / 'out')['fc8_bias'].shape == (21,)


@pytest.mark.parametrize('num_classes', ['0', '-3', '256'])
def test_a_number_of_classes_that_cannot_be_is_refused_first(tmp_path, num_classes):
    with pytest.raises(errors.InputError, match='expected 1 to 255'):
        convert('vgg', tmp_path / 'absent', tmp_path / 'out', '--num-classes', num_classes)


# --- bad sources ---------------------------------------------------------------------------------


def test_a_file_of_the_other_network_is_refused(tmp_path):
    checkpoints.write(tmp_path / 'vgg', narrow_values('vgg'))
    checkpoints.write(tmp_path / 'resnet', narrow_values('deeplab'))
    with pytest.raises(errors.InputError, match=r'vgg: not the weights.*ResNet.*conv1_1'):
        convert('deeplab', tmp_path / 'vgg', tmp_path / 'out')
    with pytest.raises(errors.InputError, match=r'resnet: not the weights.*VGG16.*bn2a_branch1'):
        convert('vgg', tmp_path / 'resnet', tmp_path / 'out')
    assert not list(tmp_path.glob('out*'))


def test_another_depth_or_number_of_heads_than_asked_for_is_refused(tmp_path):
    checkpoints.write(tmp_path / 'resnet', narrow_values('deeplab'))
    with pytest.raises(errors.InputError, match='ResNet-101, but --encoder-name res50'):
        convert('deeplab', tmp_path / 'resnet', tmp_path / 'out', '--encoder-name', 'res50')
    checkpoints.write(tmp_path / 'aspp', narrow_values('vgg_aspp'))
    with pytest.raises(errors.InputError, match='four heads'):
        convert('vgg', tmp_path / 'aspp', tmp_path / 'out', '--encoder-name', 'vgg')


def test_missing_and_wrongly_shaped_layers_are_all_listed(tmp_path):
    values = narrow_values('deeplab')
    del values['res3b1_branch2a/weights'], values['bn5c_branch2b/gamma']
    values['res2a_branch1/weights'] = np.zeros((3, 3, 4, 16), np.float32)
    writers.write_kaffe(tmp_path / 'in.npy', layers_of(values))
    with pytest.raises(errors.InputError) as raised:
        convert('deeplab', tmp_path / 'in.npy', tmp_path / 'out')
    message = str(raised.value)
    for part in (
        'in.npy does not fit',
        'missing: res3b1_branch2a/weights',
        'missing: bn5c_branch2b/gamma',
        'wrong shape: res2a_branch1/weights is [3, 3, 4, 16], expected [1, 1, 4, 16]',
    ):
        assert part in message
    assert not list(tmp_path.glob('out*'))


def test_layers_whose_shapes_contradict_each_other_are_one_error(tmp_path):
    values = narrow_values('deeplab')
    layers = layers_of(values)
    layers['conv1']['biases'] = np.zeros(3, np.float32)
    writers.write_kaffe(tmp_path / 'in.npy', layers)
    with pytest.raises(errors.InputError, match='in.npy: its layers do not fit together'):
        convert('deeplab', tmp_path / 'in.npy', tmp_path / 'out')


def test_the_command_ends_as_every_script_does(tmp_path):
    def run(package, *args):
        command = [sys.executable, '-m', f'{package}.convert', *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True)

    helped = run('deeplab_vgg', '--help')
    assert helped.returncode == 0 and 'python -m deeplab_vgg.convert' in helped.stdout
    failed = run('deeplab_resnet', tmp_path / 'absent.pth', tmp_path / 'out')
    assert failed.returncode == 2
    assert failed.stderr == f'error: {tmp_path}/absent.pth: no such file\n'

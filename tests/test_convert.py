"""The converters: every value arrives, and a file that does not fit is refused."""

import hashlib
import re

import numpy as np
import pytest

import deeplab_efficientnet.weight_layouts
import deeplab_vgg.weight_layouts
from deeplablib.utils import errors
from deeplablib.weights import checkpoints
from tests import golden
from tests import weight_file_writers as writers
from tests.command import run_command
from tests.conversion import assert_same, convert, narrow_values
from tests.foreign_layouts import (
    TORCHVISION_VGG,
    layers_of,
    narrow_vgg16,
    to_deeplab_pytorch,
    to_torchvision,
)

# --- value for value -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'encoder_name, write',
    [
        ('res50', writers.write_v1_checkpoint),
        ('vgg', writers.write_v1_checkpoint),
        ('vgg_aspp', checkpoints.write),
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
    assert f'{len(values)} variables, {len(values)} read' in printed
    assert 'Dropped' in printed and 'Momentum' in printed and 'logits' in printed


@pytest.mark.parametrize(
    'name, rename',
    [('in.npy', str), ('in.safetensors', to_deeplab_pytorch)],
)
def test_resnets_of_other_programs_arrive_value_for_value(tmp_path, name, rename):
    values = narrow_values('deeplab')
    writers.write_with(layers_of(values, rename), tmp_path / name)
    printed = convert('deeplab', tmp_path / name, tmp_path / 'out', '--no-exact-bn')
    assert_same(checkpoints.read(tmp_path / 'out'), values)
    assert f'python test_vocspsm_resnet.py --restore-from {tmp_path}/out' in printed


@pytest.mark.parametrize('encoder_name, name', [('vgg', 'in.npy'), ('vgg_aspp', 'in.caffemodel')])
def test_deeplab_vgg_of_caffe_arrives_value_for_value(tmp_path, encoder_name, name):
    values = narrow_values(encoder_name)
    layers = layers_of(values, lambda name: name.replace('fc8', 'fc8_voc12'))
    writers.write_with(layers, tmp_path / name)
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
    assert 'python main.py --option train --encoder_name res50 --learning_rate 4e-05' in printed


def test_weights_go_from_one_naming_to_the_other(tmp_path):
    values = narrow_values('deeplab')
    checkpoints.write(tmp_path / 'in', values)
    convert('deeplab', tmp_path / 'in', tmp_path / 'out', '--encoder-name', 'res101')
    found = checkpoints.read(tmp_path / 'out')
    for here, there in zip(golden.layout('deeplab'), golden.layout('res101'), strict=True):
        np.testing.assert_array_equal(found[there], values[here], there)


# --- the classifier ------------------------------------------------------------------------------


def test_a_classifier_of_another_number_of_classes_is_drawn_anew(tmp_path):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg_aspp', num_classes=5))
    printed = convert('vgg', tmp_path / 'in', tmp_path / 'a', '--num-classes', '7')
    convert('vgg', tmp_path / 'in', tmp_path / 'b', '--num-classes', '7')
    first, second = checkpoints.read(tmp_path / 'a'), checkpoints.read(tmp_path / 'b')
    assert_same(first, second)
    kernels = [first[f'fc8_{i}_weights'] for i in (1, 2, 3, 4)]
    assert kernels[0].shape == (1, 1, 64, 7)
    assert np.std(kernels) == pytest.approx(0.01, rel=0.05)
    assert not first['fc8_1_bias'].any()
    assert '50 variables, 42 read' in printed and '--num_classes 7' in printed


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


@pytest.mark.parametrize('num_classes', ['0', '256'])
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


RESNET_152 = [
    *('conv1', 'bn1'),
    *(f'layer{s}.0.downsample.{i}' for s in (1, 2, 3, 4) for i in (0, 1)),
    *(
        f'layer{stage}.{unit}.{kind}{i}'
        for stage, units in enumerate((3, 8, 36, 3), 1)
        for unit in range(units)
        for kind in ('conv', 'bn')
        for i in (1, 2, 3)
    ),
]
VGG_19 = [f'conv{b}_{i}' for b in range(1, 6) for i in range(1, 3 if b < 3 else 5)]
TORCH_VGG_19 = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
TORCH_VGG_16_BN = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
EFFICIENTNET_B0 = [
    *(conv for _, conv, _ in deeplab_efficientnet.weight_layouts.convolutions()),
    *(f'_blocks.{i}._se_reduce' for i in range(16)),
]


@pytest.mark.parametrize(
    'encoder_name, names, message',
    [
        ('deeplab', [*RESNET_152, 'fc'], r'a ResNet-152 \(torchvision\)'),
        ('res50', [f'backbone.{name}' for name in RESNET_152], r'a ResNet-152 \(torchvision\)'),
        ('vgg', [*VGG_19, 'fc6', 'fc7', 'fc8'], r'a VGG19 \(Caffe\)'),
        ('vgg', [f'features.{i}' for i in TORCH_VGG_19], r'a VGG19 \(torchvision\)'),
        ('vgg', [f'features.{i}' for i in TORCH_VGG_16_BN], 'a VGG16 with batch norm'),
        ('lite0', EFFICIENTNET_B0, 'an EfficientNet-B0 or larger'),
    ],
)
def test_another_network_of_a_family_is_refused_by_its_name(tmp_path, encoder_name, names, message):
    layers = {name: {'weights': np.ones((1, 1, 1, 1), np.float32)} for name in names}
    writers.write_with(layers, tmp_path / 'in.pth')
    with pytest.raises(errors.InputError, match=f'in.pth: the weights of {message}; known here'):
        convert(encoder_name, tmp_path / 'in.pth', tmp_path / 'out')


def torchvision_layers():
    """A narrow ResNet-101 without classifiers under torchvision's names, and our values."""
    values = {k: v for k, v in narrow_values('deeplab').items() if not k.startswith('fc')}
    return layers_of(values, to_torchvision), values


@pytest.mark.parametrize('name', ['layer1.0.se.fc1', 'layer4.3.conv1'])
def test_a_layer_that_the_network_lacks_is_refused(tmp_path, name):
    layers, _ = torchvision_layers()
    layers[name] = {'weights': np.ones((1, 1, 4, 4), np.float32)}
    writers.write_with(layers, tmp_path / 'in.pth')
    with pytest.raises(errors.InputError, match=f'layers that torchvision .* lacks, {name}; it is'):
        convert('deeplab', tmp_path / 'in.pth', tmp_path / 'out', '--input', 'torchvision')


def test_heads_losses_and_copies_beside_an_encoder_are_dropped_and_named(tmp_path):
    layers, values = torchvision_layers()
    layers = {f'backbone.{name}': layer for name, layer in layers.items()}
    layers |= {f'stage.{name}': layer for name, layer in list(layers.items())[:9]}  # shared
    for name in ('classifier.0.convs.1.0', 'classifier.4', 'aux_classifier.0', 'criterion'):
        layers[name] = {'weights': np.full((1, 1, 4, 4), len(name), np.float32)}
    writers.write_with(layers, tmp_path / 'in.pth')
    arguments = (tmp_path / 'in.pth', tmp_path / 'out', '--input', 'caffe', '--no-exact-bn')
    printed = convert('deeplab', *arguments)
    found = checkpoints.read(tmp_path / 'out')
    assert_same({name: found[name] for name in values}, values)
    assert re.search(r'Dropped, .*stage.backbone.conv1.* and \d more', printed)


# --- the images that a network was trained on ----------------------------------------------------


def test_a_small_first_kernel_under_the_names_of_torchvision_is_that_of_caffe(tmp_path):
    layers, values = torchvision_layers()
    layers['conv1']['weights'] = values['conv1/weights'] = values['conv1/weights'] / 58
    layers['fc'] = {'weights': np.ones((128, 1000), np.float32)}
    writers.write_with(layers, tmp_path / 'resnet101_caffe.pth')
    arguments = (tmp_path / 'resnet101_caffe.pth', tmp_path / 'out', '--no-exact-bn')
    assert 'trained on: caffe' in convert('deeplab', *arguments)
    found = checkpoints.read(tmp_path / 'out')
    assert_same({name: found[name] for name in values}, values)


def test_a_port_whose_kernel_and_other_names_contradict_each_other_is_refused(tmp_path):
    values = narrow_values('deeplab')

    def rename(name):
        is_last = name.startswith('fc1_voc12_c')
        return f'Scale.{f"layer5.conv2d_list.{name[-1]}" if is_last else to_torchvision(name)}'

    writers.write_with(layers_of(values, rename), tmp_path / 'in.pth')
    arguments = (tmp_path / 'in.pth', tmp_path / 'out', '--no-exact-bn')
    with pytest.raises(errors.InputError, match='say it: --input torchvision .* or --input caffe'):
        convert('deeplab', *arguments)
    convert('deeplab', *arguments, '--input', 'caffe')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


def test_vgg16_under_the_names_of_torchvision_is_known_by_its_hash_or_asked_for(
    tmp_path, monkeypatch
):
    values, layers = narrow_vgg16(TORCHVISION_VGG)
    writers.write_with(layers, tmp_path / 'in.pth')
    arguments = (tmp_path / 'in.pth', tmp_path / 'out')
    with pytest.raises(errors.InputError, match=r'in\.pth: nothing in it tells .* --input caffe'):
        convert('vgg', *arguments)
    digest = hashlib.sha256((tmp_path / 'in.pth').read_bytes()).hexdigest()
    monkeypatch.setitem(deeplab_vgg.weight_layouts.PUBLISHED, digest[:8], 'torchvision')
    assert 'trained on: torchvision' in convert('vgg', *arguments)
    convert('vgg', *arguments, '--input', 'caffe')
    kernel = checkpoints.read(tmp_path / 'out')['conv1_1_weights']
    np.testing.assert_array_equal(kernel, values['conv1_1_weights'])


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
    helped = run_command('deeplab_vgg.convert', '--help')
    assert helped.code == 0 and 'python -m deeplab_vgg.convert' in helped.out
    failed = run_command('deeplab_resnet.convert', tmp_path / 'absent.pth', tmp_path / 'out')
    assert failed.code == 2
    assert failed.error.startswith(f'error: {tmp_path}/absent.pth: no such checkpoint')

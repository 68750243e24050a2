import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import deeplab_resnet.convert
from deeplablib.data.images import IMG_MEAN
from deeplablib.run import errors
from deeplablib.run.backend import keras, tf
from deeplablib.weights import checkpoints
from tests import golden
from tests import weight_file_writers as writers
from tests.conversion import assert_same, model_with, narrow_values, run_converter
from tests.deterministic import image, weight

PARAMETERS = {
    'weights': 'weights',
    'biases': 'biases',
    'bias': 'biases',
    'gamma': 'scale',
    'beta': 'offset',
    'moving_mean': 'mean',
    'moving_variance': 'variance',
}
PARTS = {'1': 'shortcut', '2a': 'reduce', '2b': 'conv3x3', '2c': 'increase'}


@pytest.fixture
def convert(capsys):
    """Run a converter as from the command line; returns what it printed."""

    def run(encoder_name, *args):
        run_converter(encoder_name, *args)
        return capsys.readouterr().out

    return run


def layers_of(values, rename=lambda name: name):
    """TF1 values as layers of a weight file, under other names."""
    layers = {}
    for name, value in values.items():
        layer, parameter = re.fullmatch(r'(.*?)[/_]([a-z]+|moving_[a-z]+)', name).groups()
        layers.setdefault(rename(layer), {})[PARAMETERS[parameter]] = value
    return layers


def _unit(name):
    """Parts of 'res4b7_branch2a': prefix, stage, number of the unit from 0, branch."""
    prefix, stage, unit, branch = re.fullmatch(r'(res|bn)(\d)([abc]\d*)_branch(\w+)', name).groups()
    number = int(unit[1:]) if len(unit) > 1 else 'abc'.index(unit)
    return prefix, int(stage), number, branch


def to_deeplab_pytorch(name):
    if name.startswith('fc1_voc12'):
        return f'base.aspp.{name[-2:]}'
    if 'conv1' in name:
        return f'base.layer1.conv1.{"bn" if "bn" in name else "conv"}'
    prefix, stage, number, branch = _unit(name)
    kind = 'conv' if prefix == 'res' else 'bn'
    return f'base.layer{stage}.block{number + 1}.{PARTS[branch]}.{kind}'


def to_torchvision(name):
    if 'conv1' in name:
        return 'bn1' if 'bn' in name else 'conv1'
    prefix, stage, number, branch = _unit(name)
    if branch == '1':
        part = f'downsample.{0 if prefix == "res" else 1}'
    else:
        part = f'{"conv" if prefix == "res" else "bn"}{" abc".index(branch[1])}'
    return f'layer{stage - 1}.{number}.{part}'


# --- value for value -----------------------------------------------------------------------------


def test_full_size_caffe_resnet_101_arrives_value_for_value(tmp_path, convert):
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
def test_tensorflow_1_checkpoints_arrive_value_for_value(tmp_path, convert, encoder_name, write):
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


def write_with(layers, path):
    {
        '.caffemodel': writers.write_caffemodel,
        '.npy': writers.write_kaffe,
        '.pth': lambda path, layers: writers.write_pth(path, writers.state_dict(layers)),
        '.safetensors': lambda path, layers: save_file(writers.state_dict(layers), path),
    }[path.suffix](path, layers)


@pytest.mark.parametrize(
    'name, rename',
    [
        ('in.caffemodel', str),
        ('in.npy', str),
        ('in.pth', to_deeplab_pytorch),
        ('in.safetensors', to_deeplab_pytorch),
    ],
)
def test_resnets_of_other_programs_arrive_value_for_value(tmp_path, convert, name, rename):
    values = narrow_values('deeplab')
    write_with(layers_of(values, rename), tmp_path / name)
    convert('deeplab', tmp_path / name, tmp_path / 'out', '--no-exact-bn')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('encoder_name', ['vgg', 'vgg_aspp'])
@pytest.mark.parametrize('name', ['in.caffemodel', 'in.npy'])
def test_deeplab_vgg_of_caffe_arrives_value_for_value(tmp_path, convert, encoder_name, name):
    values = narrow_values(encoder_name)
    layers = layers_of(values, lambda name: name.replace('fc8', 'fc8_voc12'))
    write_with(layers, tmp_path / name)
    convert(encoder_name, tmp_path / name, tmp_path / 'out')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


def test_shared_layers_of_a_multi_scale_caffe_model_are_dropped(tmp_path, convert):
    values = narrow_values('deeplab')
    layers = layers_of(values)
    layers |= {f'{name}_res075': layer for name, layer in layers.items()}
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers)
    printed = convert('deeplab', tmp_path / 'in.caffemodel', tmp_path / 'out')
    assert_same(checkpoints.read(tmp_path / 'out'), values)
    assert re.search(r'Dropped.*conv1_res075', printed)


def test_caffe_resnet_50_with_lettered_units_and_a_bias(tmp_path, convert):
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


def test_weights_go_from_one_naming_to_the_other(tmp_path, convert):
    values = narrow_values('deeplab')
    checkpoints.write(tmp_path / 'in', values)
    convert('deeplab', tmp_path / 'in', tmp_path / 'out', '--encoder-name', 'res101')
    there = model_with('res101', checkpoints.read(tmp_path / 'out'))
    here = model_with('deeplab', values)
    np.testing.assert_array_equal(there(image(33, 33, 1)), here(image(33, 33, 1)))
    assert np.abs(here(image(33, 33, 1))).max() > 0.01


# --- the function stays the same -----------------------------------------------------------------


def with_small_variances(values):
    # In the first layers only: each of them multiplies the activations by 100.
    return {
        name: value * np.float32(1e-4) if re.match('bn(_conv1|2).*variance', name) else value
        for name, value in values.items()
    }


def with_epsilon(model, epsilon):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = epsilon
    return model


def test_exact_batch_norm_keeps_the_function_of_the_other_epsilon(tmp_path, convert):
    values = with_small_variances(narrow_values('deeplab'))
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers_of(values))
    convert('deeplab', tmp_path / 'in.caffemodel', tmp_path / 'out', '--exact-bn')
    model, batch = model_with('deeplab', values), image(33, 33, 1)
    as_it_was = model(batch).numpy()
    expected = with_epsilon(model, 1e-5)(batch).numpy()
    converted = model_with('deeplab', checkpoints.read(tmp_path / 'out'))(batch).numpy()
    tolerance = 1e-4 * np.abs(expected).max()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(converted, expected, rtol=0, atol=tolerance)
    assert np.abs(as_it_was - expected).max() > 100 * tolerance


def test_batch_norm_is_exact_by_default_but_for_caffe(tmp_path, convert):
    values = narrow_values('deeplab')
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers_of(values))
    write_with(layers_of(values, to_deeplab_pytorch), tmp_path / 'in.pth')
    convert('deeplab', tmp_path / 'in.caffemodel', tmp_path / 'asked', '--exact-bn')
    convert('deeplab', tmp_path / 'in.pth', tmp_path / 'default')
    asked = checkpoints.read(tmp_path / 'asked')
    assert_same(checkpoints.read(tmp_path / 'default'), asked)
    assert not np.array_equal(asked['bn_conv1/gamma'], values['bn_conv1/gamma'])


def inner(outputs):
    """Away from the border, where padding is another colour."""
    return outputs[:, 2:-2, 2:-2]


RGB = np.random.RandomState(5).randint(0, 256, (1, 65, 65, 3)).astype(np.float32)
OUR_INPUT = RGB[..., ::-1] - np.array(IMG_MEAN, np.float32)
TORCHVISION_INPUT = (RGB / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def test_torchvision_resnet_sees_the_same_image(tmp_path, convert):
    values = with_small_variances(narrow_values('deeplab'))
    layers = layers_of({k: v for k, v in values.items() if not k.startswith('fc')}, to_torchvision)
    layers['fc'] = {
        'weights': np.ones((128, 1000), np.float32),
        'biases': np.ones(1000, np.float32),
    }
    assert {'conv1', 'bn1', 'layer1.0.downsample.1', 'layer3.22.conv3', 'layer4.2.bn2'} <= set(
        layers
    )
    write_with(layers, tmp_path / 'resnet101-5d3b4d8f.pth')
    printed = convert('deeplab', tmp_path / 'resnet101-5d3b4d8f.pth', tmp_path / 'out')
    assert 'torchvision ResNet-101' in printed and 'Dropped, not part of the network: fc' in printed

    def stem(model):
        return keras.Model(model.input, model.get_layer('conv1_relu').output)

    theirs = stem(with_epsilon(model_with('deeplab', values), 1e-5))(TORCHVISION_INPUT)
    ours = stem(model_with('deeplab', checkpoints.read(tmp_path / 'out')))(OUR_INPUT)
    assert np.abs(theirs).max() > 1
    np.testing.assert_allclose(inner(ours), inner(theirs), rtol=1e-3, atol=1e-3)


def narrow_vgg16(names):
    """An ImageNet VGG16 at 1/16 of its channels, whose dense layers are [in, out] in TF order."""
    values = {k: v for k, v in narrow_values('vgg').items() if not k.startswith('fc')}
    rs = np.random.RandomState(3)
    layers = layers_of(values)
    for name, shape in (('fc6', (7 * 7 * 32, 256)), ('fc7', (256, 256)), ('fc8', (256, 1000))):
        layers[name] = {
            'weights': rs.standard_normal(shape).astype(np.float32),
            'biases': rs.standard_normal(shape[1]).astype(np.float32),
        }
    return values, {names.get(name, name): layer for name, layer in layers.items()}


def assert_decimated(found, fc6, fc7, head=''):
    """fc6: weights [7, 7, in, out] and biases, as the full network has them; fc7: [in, out]."""
    kernel = found[f'fc6{head}_weights']
    for i in range(3):
        for j in range(3):
            np.testing.assert_array_equal(kernel[i, j], fc6[0][3 * i, 3 * j, :, ::4])
    np.testing.assert_array_equal(found[f'fc6{head}_bias'], fc6[1][::4])
    np.testing.assert_array_equal(found[f'fc7{head}_weights'][0, 0], fc7[0][::4, ::4])
    np.testing.assert_array_equal(found[f'fc7{head}_bias'], fc7[1][::4])


TORCHVISION_VGG = {
    'conv1_1': 'features.0',
    'conv1_2': 'features.2',
    'conv2_1': 'features.5',
    'conv2_2': 'features.7',
    'conv3_1': 'features.10',
    'conv3_2': 'features.12',
    'conv3_3': 'features.14',
    'conv4_1': 'features.17',
    'conv4_2': 'features.19',
    'conv4_3': 'features.21',
    'conv5_1': 'features.24',
    'conv5_2': 'features.26',
    'conv5_3': 'features.28',
    'fc6': 'classifier.0',
    'fc7': 'classifier.3',
    'fc8': 'classifier.6',
}


@pytest.mark.parametrize('name, names', [('in.caffemodel', {}), ('in.pth', TORCHVISION_VGG)])
def test_imagenet_vgg16_of_channels_first_programs_is_decimated(tmp_path, convert, name, names):
    values, layers = narrow_vgg16(names)
    fc6, fc7 = layers[names.get('fc6', 'fc6')], layers[names.get('fc7', 'fc7')]
    full_fc6 = fc6['weights'].reshape(32, 7, 7, 256).transpose(1, 2, 0, 3)
    if name == 'in.caffemodel':
        writers.write_caffemodel(tmp_path / name, layers, v1=True)
    else:
        write_with(layers, tmp_path / name)
    printed = convert('vgg', tmp_path / name, tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')
    assert_decimated(found, (full_fc6, fc6['biases']), (fc7['weights'], fc7['biases']))
    for key in values:
        if name == 'in.caffemodel' or not key.startswith('conv1_1'):
            np.testing.assert_array_equal(found[key], values[key], key)
    assert 'drawn anew: fc8_weights, fc8_bias' in printed


def test_torchvision_vgg16_sees_the_same_image(tmp_path, convert):
    values, layers = narrow_vgg16(TORCHVISION_VGG)
    write_with(layers, tmp_path / 'vgg16-397923af.pth')
    convert('vgg', tmp_path / 'vgg16-397923af.pth', tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')

    def first(values, batch):
        kernel, bias = values['conv1_1_weights'], values['conv1_1_bias']
        return tf.nn.conv2d(batch.astype(np.float32), kernel, 1, 'SAME') + bias

    np.testing.assert_allclose(
        inner(first(found, OUR_INPUT)), inner(first(values, TORCHVISION_INPUT)), atol=1e-4
    )


def test_one_head_becomes_all_four_of_aspp(tmp_path, convert):
    _, layers = narrow_vgg16({})
    writers.write_kaffe(tmp_path / 'vgg.npy', layers)
    convert('vgg', tmp_path / 'vgg.npy', tmp_path / 'out', '--encoder-name', 'vgg_aspp')
    found = checkpoints.read(tmp_path / 'out')
    fc6, fc7 = layers['fc6'], layers['fc7']
    for head in ('_1', '_2', '_3', '_4'):
        full = fc6['weights'].reshape(7, 7, 32, 256)
        assert_decimated(found, (full, fc6['biases']), (fc7['weights'], fc7['biases']), head)
    assert not np.array_equal(found['fc8_1_weights'], found['fc8_2_weights'])


# --- Keras Applications --------------------------------------------------------------------------


def give_weights(model):
    """Deterministic weights for a Keras Applications model; its own are too tame in batch norm."""
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.path.rpartition('/')[2].replace('kernel', 'weights')
            variable.assign(weight(f'{layer.name}/{kind}', tuple(variable.shape)))
    return model


def test_keras_resnet_50_computes_the_same_up_to_stage_3(tmp_path, convert):
    theirs = give_weights(keras.applications.ResNet50(weights=None, input_shape=(225, 225, 3)))
    theirs.save(tmp_path / 'resnet50.h5')
    printed = convert('res50', tmp_path / 'resnet50.h5', tmp_path / 'out')
    assert 'Keras ResNet-50' in printed and 'network: predictions' in printed
    ours = golden.NETWORKS['res50'].build()
    variables = golden.NETWORKS['res50'].variables(ours)
    checkpoints.assign(checkpoints.read(tmp_path / 'out'), variables, 'test')

    rgb = np.random.RandomState(5).randint(0, 256, (1, 225, 225, 3)).astype(np.float32)
    theirs = keras.Model(theirs.input, theirs.get_layer('conv3_block4_out').output)
    ours = keras.Model(
        ours.input, ours.get_layer('resnet_v1_50.block2.unit_4.bottleneck_v1.relu').output
    )
    expected = theirs(keras.applications.resnet.preprocess_input(rgb.copy()))
    found = ours(rgb[..., ::-1] - np.array(IMG_MEAN, np.float32))
    centre = np.s_[:, 10:-10, 10:-10]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[centre], expected[centre], rtol=0, atol=1e-5 * scale)


def test_keras_resnet_101_has_the_layers_that_are_looked_for():
    model = keras.applications.ResNet101(weights=None, include_top=False)
    names = {layer.name for layer in model.layers if layer.weights}
    assert set(deeplab_resnet.weight_layouts.LAYOUTS['Keras ResNet-101'].layers()) == names


def test_full_size_keras_vgg16_is_decimated(tmp_path, convert):
    model = keras.applications.VGG16(weights=None)
    model.save_weights(tmp_path / 'vgg16.weights.h5')
    convert('vgg', tmp_path / 'vgg16.weights.h5', tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')
    assert {name: value.shape for name, value in found.items()} == golden.layout('vgg')
    (fc6, fc6_bias), (fc7, fc7_bias) = (model.get_layer(n).get_weights() for n in ('fc1', 'fc2'))
    assert_decimated(found, (fc6.reshape(7, 7, 512, 4096), fc6_bias), (fc7, fc7_bias))
    kernel, bias = model.get_layer('block1_conv1').get_weights()
    np.testing.assert_array_equal(found['conv1_1_weights'], kernel)
    difference = np.array(IMG_MEAN) - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(
        found['conv1_1_bias'], bias + np.einsum('hwio,i->o', kernel, difference), atol=1e-6
    )


def test_keras_vgg16_without_its_top_gets_a_fresh_one(tmp_path, convert):
    model = keras.applications.VGG16(weights=None, include_top=False)
    model.save(tmp_path / 'notop.h5')
    printed = convert('vgg', tmp_path / 'notop.h5', tmp_path / 'out')
    assert '32 variables, 26 read' in printed and 'drawn anew: fc6_weights' in printed


# --- the classifier ------------------------------------------------------------------------------


def test_a_classifier_of_another_number_of_classes_is_drawn_anew(tmp_path, convert):
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


def test_a_classifier_of_the_number_asked_for_is_kept(tmp_path, convert):
    values = narrow_values('vgg', num_classes=5)
    checkpoints.write(tmp_path / 'in', values)
    convert('vgg', tmp_path / 'in', tmp_path / 'out', '--num-classes', '5')
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('name', ['back', 'back.weights.h5'])
def test_a_file_written_here_keeps_its_number_of_classes(tmp_path, convert, name):
    values = narrow_values('vgg', num_classes=3)
    checkpoints.write(tmp_path / 'in', values)
    printed = convert('vgg', tmp_path / 'in', tmp_path / name)
    assert 'for 3 classes' in printed and 'anew' not in printed
    printed = convert('vgg', tmp_path / name, tmp_path / 'out')
    assert 'for 3 classes' in printed and 'anew' not in printed
    assert_same(checkpoints.read(tmp_path / 'out'), values)


@pytest.mark.parametrize('num_classes', [7, 1000])
def test_the_classifier_of_another_program_makes_place_for_that_of_voc(
    tmp_path, convert, num_classes
):
    _, layers = narrow_vgg16({})
    layers['fc8'] = {name: values[..., :num_classes] for name, values in layers['fc8'].items()}
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers)
    printed = convert('vgg', tmp_path / 'in.caffemodel', tmp_path / 'out')
    assert 'for 21 classes' in printed and 'drawn anew: fc8_weights, fc8_bias' in printed
    assert checkpoints.read(tmp_path / 'out')['fc8_bias'].shape == (21,)


@pytest.mark.parametrize('num_classes', ['0', '-3', '256'])
def test_a_number_of_classes_that_cannot_be_is_refused_first(tmp_path, convert, num_classes):
    with pytest.raises(errors.InputError, match='expected 1 to 255'):
        convert('vgg', tmp_path / 'absent', tmp_path / 'out', '--num-classes', num_classes)


# --- bad sources ---------------------------------------------------------------------------------


def test_a_file_of_the_other_network_is_refused(tmp_path, convert):
    checkpoints.write(tmp_path / 'vgg', narrow_values('vgg'))
    checkpoints.write(tmp_path / 'resnet', narrow_values('deeplab'))
    with pytest.raises(errors.InputError, match=r'vgg: not the weights.*ResNet.*conv1_1'):
        convert('deeplab', tmp_path / 'vgg', tmp_path / 'out')
    with pytest.raises(errors.InputError, match=r'resnet: not the weights.*VGG16.*bn2a_branch1'):
        convert('vgg', tmp_path / 'resnet', tmp_path / 'out')
    assert not list(tmp_path.glob('out*'))


def test_another_depth_or_number_of_heads_than_asked_for_is_refused(tmp_path, convert):
    checkpoints.write(tmp_path / 'resnet', narrow_values('deeplab'))
    with pytest.raises(errors.InputError, match='ResNet-101, but --encoder-name res50'):
        convert('deeplab', tmp_path / 'resnet', tmp_path / 'out', '--encoder-name', 'res50')
    checkpoints.write(tmp_path / 'aspp', narrow_values('vgg_aspp'))
    with pytest.raises(errors.InputError, match='four heads'):
        convert('vgg', tmp_path / 'aspp', tmp_path / 'out', '--encoder-name', 'vgg')


def test_missing_and_wrongly_shaped_layers_are_all_listed(tmp_path, convert):
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


def test_layers_whose_shapes_contradict_each_other_are_one_error(tmp_path, convert):
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

"""A converted network computes what the network of the other program does."""

import re

import numpy as np
import pytest

from deeplablib.data.images import IMG_MEAN
from deeplablib.utils.backend import keras, tf
from deeplablib.weights import checkpoints
from tests import golden
from tests import weight_file_writers as writers
from tests.conversion import assert_same, convert, model_with, narrow_values
from tests.deterministic import image, weight
from tests.foreign_layouts import (
    TORCHVISION_VGG,
    keras_vgg16,
    layers_of,
    narrow_vgg16,
    to_deeplab_pytorch,
    to_torchvision,
)


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


def test_exact_batch_norm_keeps_the_function_of_the_other_epsilon(tmp_path):
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


def test_batch_norm_is_exact_by_default_but_for_caffe(tmp_path):
    values = narrow_values('deeplab')
    writers.write_caffemodel(tmp_path / 'in.caffemodel', layers_of(values))
    writers.write_with(layers_of(values, to_deeplab_pytorch), tmp_path / 'in.pth')
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


def test_torchvision_resnet_sees_the_same_image(tmp_path):
    values = with_small_variances(narrow_values('deeplab'))
    layers = layers_of({k: v for k, v in values.items() if not k.startswith('fc')}, to_torchvision)
    layers['fc'] = {
        'weights': np.ones((128, 1000), np.float32),
        'biases': np.ones(1000, np.float32),
    }
    assert {'conv1', 'bn1', 'layer1.0.downsample.1', 'layer3.22.conv3', 'layer4.2.bn2'} <= set(
        layers
    )
    writers.write_with(layers, tmp_path / 'resnet101-5d3b4d8f.pth')
    printed = convert('deeplab', tmp_path / 'resnet101-5d3b4d8f.pth', tmp_path / 'out')
    assert 'torchvision ResNet-101' in printed and 'Dropped, not part of the network: fc' in printed

    def stem(model):
        return keras.Model(model.input, model.get_layer('conv1_relu').output)

    theirs = stem(with_epsilon(model_with('deeplab', values), 1e-5))(TORCHVISION_INPUT)
    ours = stem(model_with('deeplab', checkpoints.read(tmp_path / 'out')))(OUR_INPUT)
    assert np.abs(theirs).max() > 1
    np.testing.assert_allclose(inner(ours), inner(theirs), rtol=1e-3, atol=1e-3)


def assert_decimated(found, fc6, fc7, head=''):
    """fc6: weights [7, 7, in, out] and biases, as the full network has them; fc7: [in, out]."""
    kernel = found[f'fc6{head}_weights']
    for i in range(3):
        for j in range(3):
            np.testing.assert_array_equal(kernel[i, j], fc6[0][3 * i, 3 * j, :, ::4])
    np.testing.assert_array_equal(found[f'fc6{head}_bias'], fc6[1][::4])
    np.testing.assert_array_equal(found[f'fc7{head}_weights'][0, 0], fc7[0][::4, ::4])
    np.testing.assert_array_equal(found[f'fc7{head}_bias'], fc7[1][::4])


@pytest.mark.parametrize('name, names', [('in.caffemodel', {}), ('in.pth', TORCHVISION_VGG)])
def test_imagenet_vgg16_of_channels_first_programs_is_decimated(tmp_path, name, names):
    values, layers = narrow_vgg16(names)
    fc6, fc7 = layers[names.get('fc6', 'fc6')], layers[names.get('fc7', 'fc7')]
    full_fc6 = fc6['weights'].reshape(32, 7, 7, 256).transpose(1, 2, 0, 3)
    if name == 'in.caffemodel':
        writers.write_caffemodel(tmp_path / name, layers, v1=True)
    else:
        writers.write_with(layers, tmp_path / name)
    given = ('--input', 'torchvision') if name == 'in.pth' else ()
    printed = convert('vgg', tmp_path / name, tmp_path / 'out', *given)
    found = checkpoints.read(tmp_path / 'out')
    assert_decimated(found, (full_fc6, fc6['biases']), (fc7['weights'], fc7['biases']))
    for key in values:
        if name == 'in.caffemodel' or not key.startswith('conv1_1'):
            np.testing.assert_array_equal(found[key], values[key], key)
    assert 'drawn anew: fc8_weights, fc8_bias' in printed


def test_torchvision_vgg16_sees_the_same_image(tmp_path):
    values, layers = narrow_vgg16(TORCHVISION_VGG)
    writers.write_with(layers, tmp_path / 'vgg16-397923af.pth')
    given = (tmp_path / 'vgg16-397923af.pth', tmp_path / 'out', '--input', 'torchvision')
    convert('vgg', *given)
    found = checkpoints.read(tmp_path / 'out')

    def first(values, batch):
        kernel, bias = values['conv1_1_weights'], values['conv1_1_bias']
        return tf.nn.conv2d(batch.astype(np.float32), kernel, 1, 'SAME') + bias

    np.testing.assert_allclose(
        inner(first(found, OUR_INPUT)), inner(first(values, TORCHVISION_INPUT)), atol=1e-4
    )


def test_one_head_becomes_all_four_of_aspp(tmp_path):
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


def test_keras_resnet_50_computes_the_same_up_to_stage_3(tmp_path):
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


def test_keras_vgg16_has_the_layers_that_are_looked_for():
    vgg = keras.applications.VGG16(weights=None, include_top=False)
    names = {layer.name for layer in keras_vgg16(include_top=False).layers if layer.weights}
    assert names == {layer.name for layer in vgg.layers if layer.weights}


def test_keras_vgg16_is_decimated(tmp_path):
    model = keras_vgg16()
    model.save_weights(tmp_path / 'vgg16.weights.h5')
    convert('vgg', tmp_path / 'vgg16.weights.h5', tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')
    (fc6, fc6_bias), (fc7, fc7_bias) = (model.get_layer(n).get_weights() for n in ('fc1', 'fc2'))
    assert_decimated(found, (fc6.reshape(7, 7, 16, 128), fc6_bias), (fc7, fc7_bias))
    kernel, bias = model.get_layer('block1_conv1').get_weights()
    np.testing.assert_array_equal(found['conv1_1_weights'], kernel)
    difference = np.array(IMG_MEAN) - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(
        found['conv1_1_bias'], bias + np.einsum('hwio,i->o', kernel, difference), atol=1e-6
    )


def test_keras_vgg16_without_its_top_gets_a_fresh_one(tmp_path):
    keras_vgg16(include_top=False).save(tmp_path / 'notop.h5')
    printed = convert('vgg', tmp_path / 'notop.h5', tmp_path / 'out')
    assert '32 variables, 26 read' in printed and 'drawn anew: fc6_weights' in printed

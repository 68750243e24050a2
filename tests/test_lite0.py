"""EfficientNet-Lite0: the encoder, its ImageNet weights, and what it learns."""

import numpy as np
import pytest

from deeplab_efficientnet import efficientnet, weight_layouts
from deeplablib.network.layers import (
    ASPP_PART_NAMES,
    BATCH_NORM_EPSILON,
    DepthwiseConv2D,
    ends_in_classes,
)
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from tests import golden
from tests.command import run_command
from tests.conversion import WIDTH, convert, model_with, narrow_values
from tests.deterministic import image
from tests.weight_file_writers import state_dict, write_pth


@pytest.fixture(scope='module')
def init(tmp_path_factory):
    """A checkpoint of the ImageNet weights, as a user makes it."""
    prefix = tmp_path_factory.mktemp('lite0') / 'init'
    result = run_command('deeplab_efficientnet.convert', 'imagenet', prefix)
    assert result.code == 0, result.error
    for words in ('--learning_rate 0.001 ', '--frozen 4 ', '--norandom_scale '):
        assert words in result.out
    return prefix


def foreign_layers():
    """The layers of a narrow network as efficientnet_lite_pytorch has them, and ours."""
    ours = narrow_values('lite0')
    layers = {}
    for name, conv, norm in weight_layouts.convolutions():
        place = name.replace('.', '/')
        kernel = ours[f'{place}/weights']
        if name.endswith('depthwise'):
            kernel = kernel.transpose(0, 1, 3, 2)
        layers[conv] = {'weights': kernel}
        layers[norm] = {
            parameter: ours[f'{place}/BatchNorm/{variable}']
            for parameter, variable in (
                ('scale', 'gamma'),
                ('offset', 'beta'),
                ('mean', 'moving_mean'),
                ('variance', 'moving_variance'),
            )
        }
    return layers, ours


def test_features_equal_those_of_the_pytorch_network(init):
    # Of efficientnet_lite_pytorch 0.1, with the border in the mean colour, as it is here.
    reference = golden.arrays('lite0_features.npz')
    pixels = keras.Input((None, None, 3))
    encoder = keras.Model(pixels, efficientnet.encoder(pixels))
    values = checkpoints.read(init)
    for name, variable in golden.NETWORKS['lite0'].variables(encoder).items():
        variable.assign(values[name])
    features = encoder(image(224, 224, 7)).numpy()[0]
    assert features.shape == (7, 7, 1280)
    found = {'mean': features.mean((0, 1)), 'corner': features[0, 0], 'centre': features[3, 3]}
    for name, expected in reference.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    'build, strides, dilations',
    [
        ('build', [1, 2, 2, 1, 1, 1, 1], [1, 2, 2, 2, 2, 2, 2, 4, 4, 4, 4]),
        ('build_classifier', [1, 2, 2, 2, 1, 1, 1], [1] * 11),
    ],
)
def test_what_keeps_its_resolution_is_dilated_behind_the_strides(build, strides, dilations):
    model = getattr(golden.NETWORKS['lite0'], build)(width=WIDTH)
    layers = [layer for layer in model.layers if isinstance(layer, DepthwiseConv2D)]
    first = np.cumsum([0, *(stage.blocks for stage in efficientnet.STAGES)])[:-1]
    assert [layers[i].strides[0] for i in first] == strides
    assert all(layers[i].strides == (1, 1) for i in range(16) if i not in first)
    # The first block of stage 4 is the one that would halve the resolution.
    assert [layer.dilation_rate[0] for layer in layers] == [1, 1, 1, 1, 1, *dilations]


def test_at_output_stride_16_the_logits_are_every_second_of_those_at_8():
    network = golden.NETWORKS['lite0']
    fine, coarse = (network.build(width=1 / 4, output_stride=stride) for stride in (8, 16))
    variables = network.variables(coarse)
    values = {name: v.numpy() for name, v in network.variables(fine).items()}
    for name, value in values.items():
        # Random first weights would leave logits of about 1e-9.
        scale = 1 if value.ndim < 4 else 3 / np.abs(value).max() / np.sqrt(value.shape[2])
        network.variables(fine)[name].assign(scale * value)
        variables[name].assign(scale * value)
    photograph = image(129, 193, 7)
    logits = fine(photograph).numpy()
    assert np.ptp(logits) > 1
    np.testing.assert_allclose(coarse(photograph).numpy(), logits[:, ::2, ::2], rtol=1e-5)


def test_a_batch_norm_of_a_frozen_level_does_not_learn():
    model = golden.NETWORKS['lite0'].build(width=WIDTH, train_batch_norm=True, frozen=4)
    learning = {v.path.split('/')[0] for v in model.trainable_variables}
    first = next(v.path for v in model.trainable_variables)
    assert first.startswith('block11.') and 'features.BatchNorm' in learning


def test_only_the_layers_into_the_tags_stay_float32():
    # 80 tags are as many channels as stage 4 has.
    model = golden.NETWORKS['lite0'].build_classifier(num_tags=80)
    kept = [layer.name for layer in model.layers if ends_in_classes(layer, model)]
    assert kept == ['classifier']
    segmentation = golden.NETWORKS['lite0'].build(num_classes=80, width=1 / 2)
    kept = [la.name for la in segmentation.layers if ends_in_classes(la, segmentation)]
    assert kept == [*ASPP_PART_NAMES, 'decoder.aspp']


def test_a_pytorch_file_is_converted(tmp_path):
    layers, ours = foreign_layers()
    write_pth(tmp_path / 'in.pth', state_dict(layers))
    printed = convert('lite0', tmp_path / 'in.pth', tmp_path / 'out', '--num-classes', 3)
    assert 'PyTorch EfficientNet-Lite0, PyTorch file' in printed
    found = checkpoints.read(tmp_path / 'out')
    assert found['decoder/aspp/conv4/biases'].shape == (3,)
    for name, value in ours.items():
        if name.endswith(('gamma', 'beta')):
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_kernels_take_what_their_batch_norms_multiply_with_and_the_network_stays_the_same(tmp_path):
    layers, ours = foreign_layers()
    ours['stem/weights'] = ours['stem/weights'][:, :, ::-1]  # the file has RGB, the network BGR
    layers['_conv_head']['weights'] = ours['features/weights']
    ours['features/BatchNorm/gamma'][:3] = [0, -1e-4, -2]
    write_pth(tmp_path / 'in.pth', state_dict(layers))
    convert('lite0', tmp_path / 'in.pth', tmp_path / 'out')
    found = checkpoints.read(tmp_path / 'out')
    for name in (n for n in found if n.endswith('gamma')):
        variance = found[name.replace('gamma', 'moving_variance')]
        assert variance.min() >= 0
        factor = np.abs(found[name]) / np.sqrt(variance + BATCH_NORM_EPSILON)
        np.testing.assert_allclose(factor[np.abs(found[name]) > 0.04], 1, rtol=1e-5)
    logits = []
    for values in (ours, found):
        values = values | {n: v for n, v in ours.items() if n.startswith('decoder')}
        logits.append(model_with('lite0', values)(image(33, 33, 7)).numpy())
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-4, atol=1e-4 * np.ptp(logits[0]))


def test_a_file_with_other_depthwise_kernels_is_refused(tmp_path):
    layers, _ = foreign_layers()
    layers['_blocks.3._depthwise_conv']['weights'] = np.zeros((5, 5, 2, 9), np.float32)
    write_pth(tmp_path / 'in.pth', state_dict(layers))
    with pytest.raises(InputError, match=r'_blocks\.3\._depthwise_conv: of shape \(5, 5, 2, 9\)'):
        convert('lite0', tmp_path / 'in.pth', tmp_path / 'out')


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    for name, value, message in (
        ('IMAGENET_FILE', 'absent.pth', 'absent.pth: not there; the package .* has other files'),
        ('IMAGENET_PACKAGE', 'absent-package', 'pip install absent-package'),
    ):
        monkeypatch.setattr(weight_layouts, name, value)
        with pytest.raises(InputError, match=message):
            weight_layouts.imagenet('lite0')


def test_no_kernel_learns_at_a_scale_of_its_own(init):
    # A kernel that takes pixels of 0..255 is 128 times smaller than it was trained: the rate that
    # suits the others changes it 16,384 times as much, and the network unlearns what it knew.
    values = checkpoints.read(init)
    sizes = [np.abs(v).max() for name, v in values.items() if name.endswith('weights')]
    assert min(sizes) > 0.03

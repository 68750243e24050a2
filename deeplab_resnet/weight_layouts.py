"""Where the layers of a ResNet stand in files of other programs."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from deeplab_resnet.resnet import CAFFE_ASPP_PART_NAMES, UNITS, caffe_names, slim_names
from deeplablib.network.layers import ASPP_PART_NAMES, BATCH_NORM_EPSILON
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights.conversion import (
    Converted,
    adapt_input,
    biases_into_norm,
    from_keras,
    guess_input,
    recognise,
    with_our_epsilon,
)
from deeplablib.weights.readers.weight_file import WeightFile

PARTS = ('branch1', 'branch2a', 'branch2b', 'branch2c')
UNITS_152 = (3, 8, 36, 3)
Names = Callable[[int, int, str], tuple[str, str]]


class Layout(NamedTuple):
    """The names that one program gives the layers of a ResNet.

    units: of each stage. names: names of a convolution and its batch norm, as caffe_names.
    encoder_name: the network that it becomes when none is asked for.
    classifiers: names of the four classifiers; none for a network that was made for ImageNet.
    input: what it takes, of conversion.INPUTS; None where the layers must tell.
    epsilon: of its batch norm; None: as the file format.
    """

    units: tuple[int, ...]
    names: Names
    encoder_name: str
    classifiers: tuple[str, ...] = ()
    input: str | None = 'caffe'
    epsilon: float | None = None


def positions(units: tuple[int, ...]) -> Iterator[tuple[int, int, str]]:
    """(stage, unit, part) of every convolution of an encoder; units: of each stage."""
    yield 1, 0, ''
    for stage, number in enumerate(units, 2):
        for unit in range(number):
            for part in PARTS if unit == 0 else PARTS[1:]:
                yield stage, unit, part


def layer_names(units: tuple[int, ...], names: Names) -> list[str]:
    """Names of all layers of an encoder. units, names: as in Layout."""
    return [name for position in positions(units) for name in names(*position)]


def torchvision_names(stage: int, unit: int, part: str) -> tuple[str, str]:
    """torchvision.models.resnet: ('layer3.7.conv1', 'layer3.7.bn1')."""
    if stage == 1:
        return 'conv1', 'bn1'
    unit_name = f'layer{stage - 1}.{unit}'
    if part == 'branch1':
        return f'{unit_name}.downsample.0', f'{unit_name}.downsample.1'
    number = PARTS.index(part)
    return f'{unit_name}.conv{number}', f'{unit_name}.bn{number}'


def deeplab_pytorch_names(stage: int, unit: int, part: str) -> tuple[str, str]:
    """kazuto1011/deeplab-pytorch: ('layer4.block8.reduce.conv', 'layer4.block8.reduce.bn')."""
    name = 'layer1.conv1'
    if stage > 1:
        part_name = ('shortcut', 'reduce', 'conv3x3', 'increase')[PARTS.index(part)]
        name = f'layer{stage}.block{unit + 1}.{part_name}'
    return f'{name}.conv', f'{name}.bn'


def keras_names(stage: int, unit: int, part: str) -> tuple[str, str]:
    """keras.applications.resnet: ('conv4_block8_1_conv', 'conv4_block8_1_bn')."""
    name = 'conv1' if stage == 1 else f'conv{stage}_block{unit + 1}_{PARTS.index(part)}'
    return f'{name}_conv', f'{name}_bn'


def lettered_names(stage: int, unit: int, part: str) -> tuple[str, str]:
    """ResNet-50 of Caffe and of early Keras: units a, b, c, ... in every stage."""
    if stage == 1:
        return caffe_names(stage, unit, part)
    unit_name = f'{stage}{"abcdef"[unit]}_{part}'
    return f'res{unit_name}', f'bn{unit_name}'


# Of DeepLabs in PyTorch whose encoder has torchvision's names, mostly with weights of Caffe.
_TORCH_ASPP_PART_NAMES = tuple(f'layer5.conv2d_list.{i}' for i in range(4))
_KERAS_EPSILON = 1.001e-5

TARGETS = {
    'deeplab': Layout(UNITS[101], caffe_names, 'deeplab', CAFFE_ASPP_PART_NAMES),
    'res101': Layout(UNITS[101], slim_names('resnet_v1_101'), 'res101', ASPP_PART_NAMES),
    'res50': Layout(UNITS[50], slim_names('resnet_v1_50'), 'res50', ASPP_PART_NAMES),
}
LAYOUTS = {
    'Caffe ResNet-101': TARGETS['deeplab'],
    'Caffe ResNet-50': Layout(UNITS[50], lettered_names, 'res50'),
    'slim ResNet-101': TARGETS['res101'],
    'slim ResNet-50': TARGETS['res50'],
    'torchvision ResNet-101': Layout(
        UNITS[101], torchvision_names, 'deeplab', _TORCH_ASPP_PART_NAMES, input=None
    ),
    'torchvision ResNet-50': Layout(
        UNITS[50], torchvision_names, 'res50', _TORCH_ASPP_PART_NAMES, input=None
    ),
    'deeplab-pytorch ResNet-101': Layout(
        UNITS[101], deeplab_pytorch_names, 'deeplab', tuple(f'aspp.c{i}' for i in range(4))
    ),
    'Keras ResNet-101': Layout(
        UNITS[101], keras_names, 'deeplab', input='keras', epsilon=_KERAS_EPSILON
    ),
    'Keras ResNet-50': Layout(
        UNITS[50], keras_names, 'res50', input='keras', epsilon=_KERAS_EPSILON
    ),
}
OTHERS = {
    f'a ResNet-152 ({program})': layer_names(UNITS_152, names)
    for program, names in {
        'Caffe': caffe_names,
        'slim': slim_names('resnet_v1_152'),
        'torchvision': torchvision_names,
        'deeplab-pytorch': deeplab_pytorch_names,
        'Keras': keras_names,
    }.items()
}


def imagenet(encoder_name: str) -> WeightFile:
    """The ImageNet weights that a network starts from, of Keras Applications."""
    is_101 = TARGETS[encoder_name].units == UNITS[101]
    application = keras.applications.ResNet101 if is_101 else keras.applications.ResNet50
    return from_keras(application, include_top=False)


def convert(
    file: WeightFile,
    encoder_name: str | None = None,
    exact_bn: bool = False,
    input: str | None = None,
) -> Converted:
    """Bring the weights of a ResNet to a network.

    encoder_name: key of NETWORKS, or None for what the file suggests.
    exact_bn: adapt the batch-norm scales to our epsilon (see with_our_epsilon).
    input: what it was trained on, of conversion.INPUTS, or None for what the file shows.
    Returns a Converted. Raises InputError when the file is no ResNet, or one of another depth.
    """
    layouts = {title: layer_names(layout.units, layout.names) for title, layout in LAYOUTS.items()}
    title, left = recognise(file, layouts, OTHERS)
    layout = LAYOUTS[title]
    encoder_name = encoder_name or layout.encoder_name
    target = TARGETS[encoder_name]
    if target.units != layout.units:
        raise InputError(
            f'{file.path}: {title}, but --encoder-name {encoder_name} is a '
            f'{"ResNet-101" if target.units == UNITS[101] else "ResNet-50"}'
        )
    input = input or layout.input or _guess_input(file.path, left, layouts[title])
    epsilon = (layout.epsilon or file.epsilon) if exact_bn else BATCH_NORM_EPSILON
    layers = {}
    for position in positions(layout.units):
        conv, norm = (left.pop(name, {}) for name in layout.names(*position))
        if position[0] == 1:
            conv = adapt_input(conv, input)
        conv, norm = biases_into_norm(conv, norm)
        conv_name, norm_name = target.names(*position)
        layers[conv_name] = conv
        layers[norm_name] = with_our_epsilon(norm, epsilon)
    for name, target_name in zip(layout.classifiers, target.classifiers, strict=False):
        layers[target_name] = left.pop(name, {})
    return Converted(title, encoder_name, input, layers, left)


def _guess_input(path, layers, encoder):
    """The input of a network under torchvision's names, which ports from Caffe have, too."""
    own = ('fc', 'classifier', 'aux_classifier')
    has_foreign_layers = any(n not in encoder and not n.startswith(own) for n in layers)
    return guess_input(path, layers.get('conv1', {}), layers.get('bn1', {}), has_foreign_layers)

"""Where the layers of a ResNet stand in files of other programs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deeplab_resnet.resnet import CAFFE_ASPP_PART_NAMES, UNITS, caffe_names, slim_names
from deeplablib.network.layers import ASPP_PART_NAMES, BATCH_NORM_EPSILON
from deeplablib.utils.errors import InputError
from deeplablib.weights.foreign_weights import (
    KERAS_CAFFE,
    OURS,
    TORCHVISION,
    Converted,
    Preprocessing,
    adapt_input,
    biases_into_norm,
    recognise,
    with_our_epsilon,
)
from deeplablib.weights.imagenet import KerasFile
from deeplablib.weights.readers.weight_file import WeightFile

PARTS = ('branch1', 'branch2a', 'branch2b', 'branch2c')


@dataclass(frozen=True)
class Layout:
    """The names that one program gives the layers of a ResNet.

    depth: 50 or 101. names: names of a convolution and its batch norm, as caffe_names.
    encoder_name: the network that it becomes when none is asked for.
    classifiers: names of the four classifiers; none for a network that was made for ImageNet.
    preprocessing: what the network takes. epsilon: of its batch norm; None: as the file format.
    """

    depth: int
    names: Callable[[int, int, str], tuple[str, str]]
    encoder_name: str
    classifiers: tuple[str, ...] = ()
    preprocessing: Preprocessing = OURS
    epsilon: float | None = None

    def positions(self) -> Iterator[tuple[int, int, str]]:
        """(stage, unit, part) of every convolution of the encoder."""
        yield 1, 0, ''
        for stage, units in enumerate(UNITS[self.depth], 2):
            for unit in range(units):
                for part in PARTS if unit == 0 else PARTS[1:]:
                    yield stage, unit, part

    def layers(self) -> list[str]:
        """Names of all layers of the encoder."""
        return [name for position in self.positions() for name in self.names(*position)]


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


_DEEPLAB = Layout(
    depth=101,
    names=caffe_names,
    encoder_name='deeplab',
    classifiers=CAFFE_ASPP_PART_NAMES,
)
_SLIM_101 = Layout(
    depth=101,
    names=slim_names('resnet_v1_101'),
    encoder_name='res101',
    classifiers=ASPP_PART_NAMES,
)
_SLIM_50 = Layout(
    depth=50, names=slim_names('resnet_v1_50'), encoder_name='res50', classifiers=ASPP_PART_NAMES
)
_KERAS_EPSILON = 1.001e-5

TARGETS = {'deeplab': _DEEPLAB, 'res101': _SLIM_101, 'res50': _SLIM_50}
LAYOUTS = {
    'Caffe ResNet-101': _DEEPLAB,
    'Caffe ResNet-50': Layout(50, lettered_names, 'res50'),
    'slim ResNet-101': _SLIM_101,
    'slim ResNet-50': _SLIM_50,
    'torchvision ResNet-101': Layout(101, torchvision_names, 'deeplab', preprocessing=TORCHVISION),
    'torchvision ResNet-50': Layout(50, torchvision_names, 'res50', preprocessing=TORCHVISION),
    'deeplab-pytorch ResNet-101': Layout(
        depth=101,
        names=deeplab_pytorch_names,
        encoder_name='deeplab',
        classifiers=tuple(f'aspp.c{i}' for i in range(4)),
    ),
    'Keras ResNet-101': Layout(
        101, keras_names, 'deeplab', preprocessing=KERAS_CAFFE, epsilon=_KERAS_EPSILON
    ),
    'Keras ResNet-50': Layout(
        50, keras_names, 'res50', preprocessing=KERAS_CAFFE, epsilon=_KERAS_EPSILON
    ),
}


def _keras_resnet(depth, md5):
    address = 'https://storage.googleapis.com/tensorflow/keras-applications/resnet/'
    name = f'resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5'
    return KerasFile(f'{address}{name}', md5)


_RESNET_101 = _keras_resnet(101, '88cf7a10940856eca736dc7b7e228a21')
IMAGENET_FILES = {
    'deeplab': _RESNET_101,
    'res101': _RESNET_101,
    'res50': _keras_resnet(50, '4d473c1dd8becc155b73f8504c6f6626'),
}


def convert(file: WeightFile, encoder_name: str | None = None, exact_bn: bool = False) -> Converted:
    """Bring the weights of a ResNet to a network.

    encoder_name: key of NETWORKS, or None for what the file suggests.
    exact_bn: adapt the batch-norm scales to our epsilon (see with_our_epsilon).
    Returns a Converted. Raises InputError when the file is no ResNet, or one of another depth.
    """
    layouts = {title: layout.layers() for title, layout in LAYOUTS.items()}
    title, layers = recognise(file.path, file.layers, layouts)
    layout = LAYOUTS[title]
    encoder_name = encoder_name or layout.encoder_name
    target = TARGETS[encoder_name]
    if target.depth != layout.depth:
        raise InputError(
            f'{file.path}: {title}, but --encoder-name {encoder_name} is a ResNet-{target.depth}'
        )
    result = Converted(title, encoder_name, layers)
    epsilon = (layout.epsilon or file.epsilon) if exact_bn else BATCH_NORM_EPSILON
    for position in layout.positions():
        conv, norm = (result.take(name) for name in layout.names(*position))
        preprocessing = layout.preprocessing if position[0] == 1 else OURS
        conv, norm = biases_into_norm(adapt_input(conv, preprocessing), norm)
        if epsilon != BATCH_NORM_EPSILON:
            norm = with_our_epsilon(norm, epsilon)
        conv_name, norm_name = target.names(*position)
        result.put(conv_name, conv)
        result.put(norm_name, norm)
    for name, target_name in zip(layout.classifiers, target.classifiers, strict=False):
        result.put(target_name, result.take(name))
    return result

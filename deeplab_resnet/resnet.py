"""DeepLab v2 on ResNet-101 and ResNet-50.

Output stride 8: stages 4 and 5 keep the resolution of stage 3 and dilate their 3x3 convolutions by
2 and 4. Four parallel classifiers with dilations 6, 12, 18 and 24 are summed (ASPP).
"""

from collections.abc import Callable
from typing import NamedTuple

from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.layers import STEM_FILTERS, Conv2D, aspp, batch_norm, scaled, tag_layer
from deeplablib.network.network_spec import NetworkSpec, Recipe, slashed_name
from deeplablib.utils.backend import keras


class Stage(NamedTuple):
    """Channels of its output, stride of its first unit, dilation of its 3x3 convolutions."""

    filters: int
    stride: int
    dilation: int


STAGES = {
    2: Stage(filters=256, stride=1, dilation=1),
    3: Stage(filters=512, stride=2, dilation=1),
    4: Stage(filters=1024, stride=1, dilation=2),
    5: Stage(filters=2048, stride=1, dilation=4),
}
# Of the tag classifier: the strides of the ImageNet network but the last, and no dilation.
CLASSIFIER_STAGES = STAGES | {
    4: Stage(filters=1024, stride=2, dilation=1),
    5: Stage(filters=2048, stride=1, dilation=1),
}
SLIM_PARTS = {'branch1': 'shortcut', 'branch2a': 'conv1', 'branch2b': 'conv2', 'branch2c': 'conv3'}
# Depth: bottlenecks in stages 2 to 5.
UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
CAFFE_ASPP_PART_NAMES = tuple(f'fc1_voc12_c{i}' for i in range(4))


def caffe_names(stage: int, unit: int, part: str) -> tuple[str, str]:
    """Names of a convolution and its batch norm as in the Caffe model of DeepLab v2.

    stage: 1 (the stem; unit and part do not matter) to 5. unit: from 0. part: 'branch1' (shortcut),
    'branch2a', 'branch2b', 'branch2c'.
    Returns a pair, ('res4b7_branch2a', 'bn4b7_branch2a').
    """
    if stage == 1:
        return 'conv1', 'bn_conv1'
    of_many = f'b{unit}' if unit else 'a'  # as it names the units of a stage with more than three
    unit_name = 'abc'[unit] if stage in (2, 5) else of_many
    return f'res{stage}{unit_name}_{part}', f'bn{stage}{unit_name}_{part}'


def slim_names(scope: str) -> Callable[[int, int, str], tuple[str, str]]:
    """The same for slim's ResNets.

    scope: 'resnet_v1_101' or 'resnet_v1_50'. Returns a function like caffe_names; its names have
    dots for the slashes of slim.
    """

    def names(stage, unit, part):
        conv = f'{scope}.conv1'
        if stage > 1:
            part = SLIM_PARTS.get(part, part)
            conv = f'{scope}.block{stage - 1}.unit_{unit + 1}.bottleneck_v1.{part}'
        return conv, f'{conv}.BatchNorm'

    return names


def _encoder(image, units, names, width, train_batch_norm=False, stages=STAGES, frozen=0):
    """Stem and four stages; units: bottlenecks per stage, names: as caffe_names."""

    def conv_norm(net, filters, size, stage, unit=0, part='', **options):
        conv, norm = names(stage, unit, part)
        filters = scaled(filters, width)
        options |= {'use_bias': False, 'trainable': stage > frozen}
        net = Conv2D(filters, size, name=conv, **options)(net)
        train = train_batch_norm and stage > frozen
        return batch_norm(norm, train, ends_branch=part == 'branch2c')(net)

    def bottleneck(net, number, stage, unit):
        at = {'stage': number, 'unit': unit}
        filters, shortcut, stride = stage.filters, net, 1
        if unit == 0:
            stride = stage.stride
            shortcut = conv_norm(net, filters, 1, part='branch1', strides=stride, **at)
        net = conv_norm(net, filters // 4, 1, part='branch2a', strides=stride, **at)
        net = keras.layers.ReLU()(net)
        net = conv_norm(net, filters // 4, 3, part='branch2b', dilation_rate=stage.dilation, **at)
        net = keras.layers.ReLU()(net)
        net = conv_norm(net, filters, 1, part='branch2c', **at)
        net = keras.layers.Add()([shortcut, net])
        return keras.layers.ReLU(name=names(number, unit, 'relu')[0])(net)

    net = conv_norm(image, STEM_FILTERS, 7, stage=1, strides=2)
    net = keras.layers.ReLU(name='conv1_relu')(net)
    net = keras.layers.MaxPooling2D(3, 2, padding='same', name='pool1')(net)
    for (number, stage), count in zip(stages.items(), units, strict=True):
        for unit in range(count):
            net = bottleneck(net, number, stage, unit)
    return net


def _network(depth, names, head, width_kernel, last_bias, **aspp_names):
    """The NetworkSpec of a ResNet; names: as caffe_names. aspp_names: arguments of layers.aspp."""
    units = UNITS[depth]

    def build(num_classes=NUM_CLASSES, width=1.0, train_batch_norm=False, frozen=0):
        image = keras.Input((None, None, 3), name='image')
        net = _encoder(image, units, names, width, train_batch_norm, frozen=frozen)
        return keras.Model(image, aspp(net, num_classes, **aspp_names))

    def build_classifier(num_tags=NUM_CLASSES - 1, width=1.0, frozen=0):
        image = keras.Input((None, None, 3), name='image')
        net = _encoder(image, units, names, width, stages=CLASSIFIER_STAGES, frozen=frozen)
        return keras.Model(image, tag_layer(num_tags)(net))

    return NetworkSpec(
        build=build,
        build_classifier=build_classifier,
        variable_name=slashed_name,
        width_kernel=width_kernel,
        last_bias=last_bias,
        head=head,
        recipes=dict.fromkeys(('caffe', 'authors'), Recipe(classifier=head)),
    )


def _slim_network(depth):
    scope = f'resnet_v1_{depth}'
    return _network(
        depth,
        slim_names(scope),
        head='decoder',
        width_kernel=f'{scope}/conv1/weights',
        last_bias='decoder/aspp/conv4/biases',
    )


NETWORKS = {
    # The network of SPSM, named as the Caffe model that deeplab_resnet_init.ckpt was made from.
    'deeplab': _network(
        101,
        caffe_names,
        head='fc',
        width_kernel='conv1/weights',
        last_bias='fc1_voc12_c3/biases',
        name='fc1_voc12',
        part_names=CAFFE_ASPP_PART_NAMES,
    ),
    # The same, and that on ResNet-50, with the variable names of slim's resnet_v1_*.ckpt.
    'res101': _slim_network(101),
    'res50': _slim_network(50),
}

"""DeepLab v2 on EfficientNet-Lite0, a small network that learns from photographs on a laptop.

The encoder is that of Tan and Le (2019) in its Lite form (TensorFlow's lite/README.md, 2020): ReLU6
for swish, no squeeze-and-excitation. Output stride 8: stages 4 to 7 keep the resolution of stage 3,
and the convolutions behind the strides that they do without are dilated. Four parallel classifiers
with dilations 6, 12, 18 and 24 are summed (ASPP), as on the ResNets.
"""

from typing import NamedTuple

from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.layers import (
    ASPP_DILATIONS,
    Conv2D,
    DepthwiseConv2D,
    aspp,
    batch_norm,
    scaled,
    tag_layer,
)
from deeplablib.network.network_spec import NetworkSpec, Recipe, slashed_name
from deeplablib.utils.backend import keras


class Stage(NamedTuple):
    """A row of inverted bottlenecks.

    level: which of the five resolutions of the ImageNet network its output has, from half the
    image's on. blocks: how many. kernel: size of the depthwise convolutions. expansion: how many
    times the channels of its input they have. filters: channels of its output.
    """

    level: int
    blocks: int
    kernel: int
    expansion: int
    filters: int


STAGES = (
    Stage(level=1, blocks=1, kernel=3, expansion=1, filters=16),
    Stage(level=2, blocks=2, kernel=3, expansion=6, filters=24),
    Stage(level=3, blocks=2, kernel=5, expansion=6, filters=40),
    Stage(level=4, blocks=3, kernel=3, expansion=6, filters=80),
    Stage(level=4, blocks=3, kernel=5, expansion=6, filters=112),
    Stage(level=5, blocks=4, kernel=5, expansion=6, filters=192),
    Stage(level=5, blocks=1, kernel=3, expansion=6, filters=320),
)
FIRST_FILTERS = 32
FEATURES = 1280
# The network itself divides the pixels. If the first kernel did, it would be 128 times smaller, and
# at the rate of the others it would lose what it knows in a few steps.
PIXEL_SCALE = 1 / 128
LAST_LEVEL = {8: 3, 16: 4}  # by output stride: the last level that has a resolution of its own
# The last of each stage but the first and the last: chosen by the cues of 150 photographs.
AFFINITY_LAYERS = ('block2.add', 'block4.add', 'block7.add', 'block10.add', 'block14.add')


def deeplab_lite0(
    num_classes: int = NUM_CLASSES,
    width: float = 1.0,
    train_batch_norm: bool = False,
    frozen: int = 0,
    output_stride: int = OUTPUT_STRIDE,
) -> keras.Model:
    """DeepLab v2 on EfficientNet-Lite0; arguments and result as NetworkSpec.build.

    output_stride: 8, or 16 to train in a quarter of the time: for sides of a multiple of 16 plus 1,
    the logits are those of every second row and column at 8. The idea is DeepLab v3's.
    """
    image = keras.Input((None, None, 3), name='image')
    net = encoder(
        image,
        width,
        train_batch_norm=train_batch_norm,
        dilate=True,
        last_level=LAST_LEVEL[output_stride],
        frozen=frozen,
    )
    dilations = [dilation * OUTPUT_STRIDE // output_stride for dilation in ASPP_DILATIONS]
    return keras.Model(image, aspp(net, num_classes, dilations=dilations))


def tag_classifier(
    num_tags: int = NUM_CLASSES - 1, width: float = 1.0, frozen: int = 0
) -> keras.Model:
    """EfficientNet-Lite0 and what each tag responds to: NetworkSpec.build_classifier.

    The strides are those of the ImageNet network but the last, and nothing is dilated.
    """
    image = keras.Input((None, None, 3), name='image')
    net = encoder(image, width, last_level=LAST_LEVEL[16], frozen=frozen)
    return keras.Model(image, tag_layer(num_tags)(net))


def encoder(
    image: keras.KerasTensor,
    width: float = 1.0,
    train_batch_norm: bool = False,
    dilate: bool = False,
    last_level: int = 5,
    frozen: int = 0,
) -> keras.KerasTensor:
    """Stem, seven stages and last convolution of EfficientNet-Lite0; as on ImageNet by default.

    image: float32 BGR minus mean [batch, height, width, 3]. width, train_batch_norm, frozen: as
    above. last_level: the level whose resolution the later ones keep, 1 to 5. dilate: whether
    those are dilated for it.
    Returns float32 [batch, ceil(height / s), ceil(width / s), 1280 * width], s = 2 ** last_level.
    """

    def norm(net, name, level, **options):
        train = train_batch_norm and level > frozen
        return batch_norm(f'{name}.BatchNorm', train, **options)(net)

    def relu6(net, name):
        return keras.layers.ReLU(max_value=6, name=f'{name}.relu6')(net)

    def conv(net, filters, name, level, size=1, strides=1):
        options = {'strides': strides, 'use_bias': False, 'trainable': level > frozen}
        net = Conv2D(scaled(filters, width), size, name=name, **options)(net)
        return relu6(norm(net, name, level), name)

    def bottleneck(net, filters, stage, name, stride, dilation):
        trainable = stage.level > frozen
        if stage.expansion > 1:
            net = conv(net, filters * stage.expansion, f'{name}.expand', stage.level)
        net = DepthwiseConv2D(
            stage.kernel,
            strides=stride,
            dilation_rate=dilation,
            use_bias=False,
            trainable=trainable,
            name=f'{name}.depthwise',
        )(net)
        net = relu6(norm(net, f'{name}.depthwise', stage.level), f'{name}.depthwise')
        options = {'use_bias': False, 'trainable': trainable, 'name': f'{name}.project'}
        net = Conv2D(scaled(stage.filters, width), 1, **options)(net)
        return norm(net, f'{name}.project', stage.level, ends_branch=True)

    net = keras.layers.Rescaling(PIXEL_SCALE, name='pixel_scale')(image)
    net = conv(net, FIRST_FILTERS, 'stem', level=1, size=3, strides=2)
    filters, level, dilation, number = FIRST_FILTERS, 1, 1, 0
    for stage in STAGES:
        for unit in range(stage.blocks):
            reduces = stage.level > level
            stride = 2 if reduces and stage.level <= last_level else 1
            after = bottleneck(net, filters, stage, f'block{number}', stride, dilation)
            net = keras.layers.Add(name=f'block{number}.add')([net, after]) if unit else after
            if reduces and stride == 1 and dilate:
                dilation *= 2  # of what comes behind the stride that is left out
            filters, level, number = stage.filters, stage.level, number + 1
    return conv(net, FEATURES, 'features', level=5)


NETWORKS = {
    'lite0': NetworkSpec(
        build=deeplab_lite0,
        build_classifier=tag_classifier,
        variable_name=slashed_name,
        width_kernel='features/weights',
        width_filters=FEATURES,
        last_bias='decoder/aspp/conv4/biases',
        head='decoder',
        recipes=dict.fromkeys(('caffe', 'authors'), Recipe(classifier='decoder')),
        affinity_layers=AFFINITY_LAYERS,
    )
}

"""DeepLab v2 on VGG16: LargeFOV and ASPP.

Output stride 8: pool4 and pool5 do not reduce, and conv5 and fc6 are dilated instead.
"""

from typing import NamedTuple

from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.layers import ASPP_DILATIONS, Conv2D, scaled, tag_layer
from deeplablib.network.network_spec import NetworkSpec, Recipe
from deeplablib.utils.backend import keras, tf


class Block(NamedTuple):
    """Convolutions with one dilation, and the stride of the max-pool after them; None: no pool."""

    filters: int
    convolutions: int
    dilation: int
    stride: int | None


BLOCKS = {
    1: Block(filters=64, convolutions=2, dilation=1, stride=2),
    2: Block(filters=128, convolutions=2, dilation=1, stride=2),
    3: Block(filters=256, convolutions=3, dilation=1, stride=2),
    4: Block(filters=512, convolutions=3, dilation=1, stride=1),
    5: Block(filters=512, convolutions=3, dilation=2, stride=1),
}
# Of the tag classifier: the strides of the ImageNet network up to pool4, and no dilation.
CLASSIFIER_BLOCKS = BLOCKS | {
    4: Block(filters=512, convolutions=3, dilation=1, stride=2),
    5: Block(filters=512, convolutions=3, dilation=1, stride=None),
}
# By network: of each head what the names of its layers end in, and the dilation of its fc6.
HEADS = {
    'vgg': {'': 12},  # LargeFOV, the network of SPSM
    'vgg_aspp': {f'_{i}': dilation for i, dilation in enumerate(ASPP_DILATIONS, 1)},
}

MIN_PROBABILITY = 1e-4


def tag_classifier(
    num_tags: int = NUM_CLASSES - 1, width: float = 1.0, frozen: int = 0
) -> keras.Model:
    """The convolutions of VGG16 and what each tag responds to: NetworkSpec.build_classifier.

    The output stride is 16: pool5 is left out, and nothing is dilated.
    """
    image = keras.Input((None, None, 3), name='image')
    net = _convolutions(image, CLASSIFIER_BLOCKS, width, frozen)
    return keras.Model(image, tag_layer(num_tags)(net))


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Class probabilities that are never quite zero: softmax, plus 1e-4, renormalised.

    logits: [..., classes]. Returns float32 of the same shape. The released networks do this; it
    comes from SEC (Kolesnikov and Lampert, 2016).
    """
    positive = tf.nn.softmax(tf.cast(logits, tf.float32)) + MIN_PROBABILITY
    return positive / tf.reduce_sum(positive, -1, keepdims=True)


def variable_name(path: str) -> str:
    """The TensorFlow 1 name of a Keras variable: 'conv1_1/kernel' gives 'conv1_1_weights'."""
    return path.replace('/', '_').replace('kernel', 'weights')


def _convolutions(net, blocks, width, frozen):
    """The five blocks; blocks: as BLOCKS."""
    for number, block in blocks.items():
        for i in range(1, block.convolutions + 1):
            net = Conv2D(
                scaled(block.filters, width),
                3,
                dilation_rate=block.dilation,
                trainable=number > frozen,
                name=f'conv{number}_{i}',
            )(net)
            net = keras.layers.ReLU(name=f'relu{number}_{i}')(net)
        if block.stride is not None:
            pool = keras.layers.MaxPooling2D(3, block.stride, padding='same', name=f'pool{number}')
            net = pool(net)
    return net


def _head(net, suffix, dilation, num_classes, width, dropout_rate):
    for number, size, rate in ((6, 3, dilation), (7, 1, 1)):
        name = f'{number}{suffix}'
        net = Conv2D(scaled(1024, width), size, dilation_rate=rate, name=f'fc{name}')(net)
        net = keras.layers.ReLU(name=f'relu{name}')(net)
        net = keras.layers.Dropout(dropout_rate, name=f'drop{name}')(net)
    return Conv2D(num_classes, 1, name=f'fc8{suffix}')(net)


RECIPES = {
    # DeepLab v2's own, which SPSM names: fc6 and fc7 come from VGG16, only fc8 is new.
    'caffe': Recipe(classifier='fc8', bias_rate=2.0),
    # The TensorFlow trainer of SPSM's group: its softmax cross entropy takes the network's
    # probabilities for logits, in effect a second softmax.
    'authors': Recipe(classifier='fc', outputs=probabilities),
}


def _network(heads):
    """The NetworkSpec with heads as in HEADS; the logits of several are summed."""

    def build(num_classes=NUM_CLASSES, width=1.0, dropout_rate=0.5, frozen=0):
        image = keras.Input((None, None, 3), name='image')
        net = _convolutions(image, BLOCKS, width, frozen)
        net = keras.layers.AveragePooling2D(3, 1, padding='same', name='pool5a')(net)
        logits = [
            _head(net, suffix, dilation, num_classes, width, dropout_rate)
            for suffix, dilation in heads.items()
        ]
        summed = keras.layers.Add(name='fc_sum')(logits) if len(logits) > 1 else logits[0]
        return keras.Model(image, summed)

    return NetworkSpec(
        build=build,
        build_classifier=tag_classifier,
        variable_name=variable_name,
        to_score_map=probabilities,
        score_map_kind='probabilities',
        width_kernel='conv1_1_weights',
        last_bias=f'fc8{list(heads)[-1]}_bias',
        head='fc',
        recipes=RECIPES,
    )


NETWORKS = {name: _network(heads) for name, heads in HEADS.items()}

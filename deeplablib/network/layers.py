"""The layers that the networks are made of."""

from collections.abc import Sequence

from deeplablib.network.convolution import conv2d
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError

BATCH_NORM_EPSILON = 1e-3  # tf.contrib.slim's default, which the originals leave in place
BATCH_NORM_MOMENTUM = 0.9  # statistics over some ten steps: runs from scratch are short
TAG_LAYER = 'classifier'
STEM_FILTERS = 64  # channels of the first convolution, of ResNet and VGG16 alike
ASPP_DILATIONS = (6, 12, 18, 24)
ASPP_PART_NAMES = tuple(f'decoder.aspp.conv{i}' for i in range(1, 5))  # of zmbhou's networks


class Convolution(keras.layers.Layer):
    """What the kinds of convolution share: padding SAME, and a call by way of `convolve`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{'padding': 'same', **kwargs})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolve [batch, height, width, in] and add the bias, if any."""
        outputs = self.convolve(inputs, self.kernel)
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs


class Conv2D(Convolution, keras.layers.Conv2D):
    """A convolution whose dilation is done by the convolution kernel itself.

    Keras' own layer rearranges a dilated convolution into space-to-batch, a plain convolution and
    batch-to-space on a CPU, as TensorFlow 1 does: the same values, about a fifth slower.
    """

    def convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve with another kernel of the same shape and type as inputs, without a bias."""
        return conv2d(inputs, kernel, self.strides, self.dilation_rate)


class DepthwiseConv2D(Convolution, keras.layers.DepthwiseConv2D):
    """A convolution of each channel by itself."""

    def convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve with another kernel of the same shape and type as inputs, without a bias."""
        strides = (1, *self.strides, 1)
        return tf.nn.depthwise_conv2d(inputs, kernel, strides, 'SAME', dilations=self.dilation_rate)


def batch_norm(
    name: str, train: bool, ends_branch: bool = False
) -> keras.layers.BatchNormalization:
    """A batch normalisation with scale and offset.

    train: whether it learns and gathers statistics; the originals never let it: they normalise by
    the stored statistics in training too, and leave scale and offset as they are. One that learns
    gathers quickly, for short runs, and begins with a scale of 0 where it ends a residual branch
    (Goyal et al., 2017): without that a narrow, deep network hardly trains.
    """
    return keras.layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON,
        momentum=BATCH_NORM_MOMENTUM,
        gamma_initializer='zeros' if train and ends_branch else 'ones',
        trainable=train,
        name=name,
    )


def aspp(
    net: keras.KerasTensor,
    num_classes: int,
    name: str = 'decoder.aspp',
    part_names: Sequence[str] = ASPP_PART_NAMES,
    dilations: Sequence[int] = ASPP_DILATIONS,
) -> keras.KerasTensor:
    """Atrous spatial pyramid pooling: four parallel classifiers with large dilations, summed.

    net: float32 [batch, height, width, channels]. num_classes: channels of the logits.
    name: of the sum. part_names, dilations: of the classifiers; these are for output stride 8.
    Returns float32 logits [batch, height, width, num_classes]. Source: DeepLab v2 (Chen et al.,
    2017).
    """
    parts = [
        Conv2D(num_classes, 3, dilation_rate=dilation, name=part)(net)
        for part, dilation in zip(part_names, dilations, strict=True)
    ]
    return keras.layers.Add(name=name)(parts)


def tag_layer(num_tags: int) -> keras.layers.Layer:
    """The last layer of a tag classifier: a 1x1 convolution without bias into the tags.

    Its mean over the map is what the mean of the features would give, because it is linear and has
    no bias: global average pooling may come before it or after it. Its kernels begin as small as
    those of DeepLab v2's own classifiers: the features of a VGG16 are large.
    """
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    return Conv2D(num_tags, 1, use_bias=False, kernel_initializer=initializer, name=TAG_LAYER)


def ends_in_classes(layer: keras.layers.Layer, model: keras.Model) -> bool:
    """Whether a layer gives scores of classes: those stay float32 in a bfloat16 network, which is
    faster there (few channels) and keeps the scores exact."""
    last = model.output._keras_history.operation
    parts = last.input if isinstance(last, keras.layers.Add) else []
    return layer in (last, *(part._keras_history.operation for part in parts))


def scaled(filters: int, width: float) -> int:
    """The number of channels of a layer in a narrower or wider network.

    filters: channels at width 1. width: a multiple of 1/64, so that a layer whose channels are a
    multiple of 64 at width 1 tells the width of a checkpoint (NetworkSpec.width_kernel).
    Raises InputError for another width.
    """
    if width <= 0 or STEM_FILTERS * width % 1:
        raise InputError(f'width {width} is not a positive multiple of 1/{STEM_FILTERS}')
    return max(1, round(filters * width))

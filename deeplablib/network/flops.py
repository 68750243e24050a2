"""How much arithmetic a network does, counted in its graph, and how fast a device does it."""

import math
import time

from deeplablib.utils.backend import keras, tf

TRAINING = 3  # a step's cost over the forward pass's: a convolution has two gradients like itself
CONVOLUTIONS = ('Conv2D', 'DepthwiseConv2dNative')
# The same where the classifier alone learns: that of EfficientNet-Lite0 has 22 % of the operations.
FROZEN_TRAINING = 1.2
SHORTEST = 0.01  # seconds that a product must take for its start not to matter


def forward_flops(model: keras.Model, height: int, width: int) -> int:
    """The floating-point operations of one image's forward pass, in the convolutions.

    A multiplication and an addition count as two; taps that fall on the padding count too. What is
    left out (batch norm, activations, pooling) is under one percent of these networks.

    model: Keras model of [batch, height, width, 3]. height, width: of the image, pixels.
    """
    image = tf.TensorSpec([1, height, width, 3])
    graph = tf.function(model).get_concrete_function(image, training=False).graph
    return sum(_flops(op) for op in graph.get_operations() if op.type in CONVOLUTIONS)


def matmul_rate(dtype: str = 'float32', seconds: float = 1.0) -> float:
    """The floating-point operations a second of matrix products on the first GPU, or else the CPU.

    dtype: 'float32' or 'bfloat16'. seconds: how long to measure; the best time counts.
    """
    size, shortest, end = 512, 0.0, time.monotonic() + seconds
    while shortest < SHORTEST or time.monotonic() < end:
        if shortest < SHORTEST:
            size, shortest = 2 * size, math.inf
            matrix = tf.cast(tf.random.normal([size, size]), dtype)
            float(tf.matmul(matrix, matrix)[0, 0])  # the first one of a size is slow
        start = time.monotonic()
        float(tf.matmul(matrix, matrix)[0, 0])
        shortest = min(shortest, time.monotonic() - start)
    return 2 * size**3 / shortest


def _flops(convolution):
    kernel, output = convolution.inputs[1].shape, convolution.outputs[0].shape
    # A dilated depthwise convolution is one of a batch of parts of the image.
    return 2 * math.prod(kernel) * math.prod(output[:3])

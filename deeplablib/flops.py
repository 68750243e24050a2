"""How much arithmetic a network does, counted in its graph."""

import math

from deeplablib.backend import tf

TRAINING = 3  # a step's cost over the forward pass's: a convolution has two gradients like itself


def forward_flops(model, height, width):
    """The floating-point operations of one image's forward pass, in the convolutions.

    A multiplication and an addition count as two; taps that fall on the padding count too. What is
    left out (batch norm, activations, pooling) is under one percent of these networks.

    model: Keras model of [batch, height, width, 3]. height, width: of the image, pixels.
    Returns an int.
    """
    image = tf.TensorSpec([1, height, width, 3])
    graph = tf.function(model).get_concrete_function(image, training=False).graph
    return sum(_flops(op) for op in graph.get_operations() if op.type == 'Conv2D')


def _flops(convolution):
    kernel, output = convolution.inputs[1].shape, convolution.outputs[0].shape
    return 2 * math.prod(kernel) * math.prod(output[1:3])

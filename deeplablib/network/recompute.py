"""Less memory for training: inner activations are computed again when their gradient is due.

Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

import math
from collections.abc import Callable

from deeplablib.utils.backend import keras, tf

# They draw or gather something: a second call would not do the same again.
_UNREPEATABLE = (keras.layers.Dropout, keras.layers.BatchNormalization)


def recomputed(model: keras.Model) -> Callable[[tf.Tensor, bool], tf.Tensor]:
    """A function like a model that keeps, for the gradient, only what passes between its blocks.

    model: a network. Returns a function of (images, training) that gives the model's logits and
    gradients.
    """
    blocks = [_repeatable(block) for block in _blocks(model)]

    def call(images, training):
        net = images
        for block in blocks:
            net = block(net, training)
        return net

    return call


def _repeatable(block):
    if any(isinstance(layer, _UNREPEATABLE) for layer in block.layers):
        return lambda net, training: block(net, training=training)
    return lambda net, training: tf.recompute_grad(lambda x: block(x, training=training))(net)


def _blocks(model):
    """Cut a model into models in a row, at places where all that follows depends on one tensor.

    Each has about the square root of all layers: then what passes between blocks, which is kept,
    and what is within one, which is there while its gradient is taken, need about the same memory.
    """
    operations = [op for op in model.operations if not isinstance(op, keras.layers.InputLayer)]
    least = math.isqrt(len(operations))
    last_use = {
        id(tensor): position
        for position, operation in enumerate(operations)
        for tensor in keras.tree.flatten(operation.input)
    }
    start, first, alive = model.input, 0, {id(model.input)}
    for position, operation in enumerate(operations):
        alive = {tensor for tensor in alive if last_use[tensor] > position}
        is_last = operation.output is model.output
        whole = not isinstance(operation, keras.layers.Add)  # its activation goes with it
        if is_last or whole and not alive and position - first + 1 >= least:
            yield keras.Model(start, operation.output)
            start, first = operation.output, position + 1
        alive.add(id(operation.output))

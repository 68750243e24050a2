"""Our networks as the originals' graphs are, for comparison."""

from deeplablib.network.layers import Conv2D
from deeplablib.utils.backend import keras


def plain_form(model: keras.Model) -> keras.Model:
    """Copy a model into the originals' form.

    Batch norm stays a step of its own, and a dilated convolution is Keras' own layer, which on a
    CPU is TensorFlow 1's too: space-to-batch, a plain convolution, batch-to-space.

    model: a network with its weights. Returns a Keras model with the same input and output.
    """

    def copy(layer):
        kind = keras.layers.Conv2D if isinstance(layer, Conv2D) else type(layer)
        return kind.from_config(layer.get_config())

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied

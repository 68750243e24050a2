"""The form of a network that predicts fastest."""

from deeplablib.network.layers import CONVOLUTIONS, ends_in_classes, folded, norms_after
from deeplablib.utils.backend import keras


def prediction_model(model: keras.Model, precision: str = 'float32') -> keras.Model:
    """Copy a model into the form that predicts fastest.

    Each batch norm is folded into the convolution before it (layers.folded). In bfloat16 every
    convolution keeps its weights in that type but the ones into the classes.

    model: a network with its weights; it is left as it is. precision: 'float32' or 'bfloat16'.
    Returns a Keras model with the same input and float32 logits.
    """
    norms = norms_after(model)

    def copy(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            return layer
        config = layer.get_config()
        if isinstance(layer, CONVOLUTIONS):
            config['use_bias'] = layer.use_bias or layer.name in norms
        if not isinstance(layer, keras.layers.InputLayer):
            config['dtype'] = 'float32' if ends_in_classes(layer, model) else precision
        return type(layer).from_config(config)

    def call(layer, inputs, **_):
        return inputs if isinstance(layer, keras.layers.BatchNormalization) else layer(inputs)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if isinstance(layer, CONVOLUTIONS):
            weights = layer.weights
            if layer.name in norms:
                weights = folded(layer.kernel, layer.bias, norms[layer.name])
            copied.get_layer(layer.name).set_weights(weights)
    return copied

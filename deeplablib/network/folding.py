"""Networks whose batch norms are folded into the convolutions before them: they are faster so."""

from deeplablib.network.layers import Convolution, ends_in_classes
from deeplablib.utils.backend import keras, tf


def fold_for_prediction(model: keras.Model, precision: str = 'float32') -> keras.Model:
    """Copy a network with its weights, each batch norm folded into the convolution before it.

    In bfloat16 every convolution keeps its weights in that type but the ones into the classes.

    model: a network; it is left as it is. precision: 'float32' or 'bfloat16'.
    Returns a Keras model with the same input and float32 logits.
    """
    norms = _norms_after(model)

    def copy(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            return layer
        config = layer.get_config()
        if isinstance(layer, Convolution):
            config['use_bias'] = layer.use_bias or layer.name in norms
        if not isinstance(layer, keras.layers.InputLayer):
            config['dtype'] = 'float32' if ends_in_classes(layer, model) else precision
        return type(layer).from_config(config)

    def call(layer, inputs, **_):
        return inputs if isinstance(layer, keras.layers.BatchNormalization) else layer(inputs)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if isinstance(layer, Convolution):
            weights = layer.weights
            if layer.name in norms:
                weights = _folded(layer.kernel, layer.bias, norms[layer.name])
            copied.get_layer(layer.name).set_weights(weights)
    return copied


def fold_for_training(model: keras.Model, precision: str = 'float32') -> keras.Model:
    """Copy a network over its own variables, each frozen batch norm folded as for prediction.

    It is folded again in every step: the gradient of the kernel passes through that product, so it
    is exact. In bfloat16 every layer but those that end in classes computes in that type, on
    variables that stay float32.

    model: a network; a step on the variables of either changes both. precision: 'float32' or
    'bfloat16'.
    Returns a Keras model with the same input and float32 logits.
    """
    norms = {conv: norm for conv, norm in _norms_after(model).items() if not norm.trainable}
    frozen = {norm.name for norm in norms.values()}

    def copy(layer):
        if isinstance(layer, keras.layers.InputLayer):
            return type(layer).from_config(layer.get_config())
        mixed = precision == 'bfloat16' and not ends_in_classes(layer, model)
        dtype = 'mixed_bfloat16' if mixed else 'float32'
        if isinstance(layer, Convolution):
            return _SharedConv2D(layer, norms.get(layer.name), name=layer.name, dtype=dtype)
        if layer.weights:
            return layer
        return type(layer).from_config(layer.get_config() | {'dtype': dtype})

    def call(layer, inputs, **_):
        return inputs if layer.name in frozen else layer(inputs)

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


class _SharedConv2D(keras.layers.Layer):
    """A convolution with the variables of another layer, and the batch norm after it, if any."""

    def __init__(self, conv, norm, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the product with the scale is taken in float32
        self.conv, self.norm = conv, norm
        self.built = True

    def call(self, inputs):
        kernel, bias = self.conv.kernel, self.conv.bias
        if self.norm is not None:
            kernel, bias = _folded(kernel, bias, self.norm)
        outputs = self.conv.convolve(
            tf.cast(inputs, self.compute_dtype), tf.cast(kernel, self.compute_dtype)
        )
        if bias is None:
            return outputs
        return tf.nn.bias_add(outputs, tf.cast(bias, self.compute_dtype))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)


def _norms_after(model):
    """The batch norms of a network: a dict from the name of the convolution before each."""
    return {
        layer.input._keras_history.operation.name: layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }


def _folded(kernel, bias, norm):
    """Fold a batch norm on its stored statistics into the convolution before it.

    With s = gamma / sqrt(variance + epsilon), the kernel is multiplied by s and the bias is
    beta + (bias - mean) * s.
    kernel: float32 [height, width, in, out], or [height, width, channels, 1] of a depthwise
    convolution. bias: float32 [channels of its output], or None. norm: the layer.
    Returns kernel and bias of the convolution that does both.
    """
    scale = norm.gamma / tf.sqrt(norm.moving_variance + norm.epsilon)
    bias = 0.0 if bias is None else bias
    of_kernel = tf.reshape(scale, [-1, 1]) if kernel.shape[-1] != scale.shape[0] else scale
    return kernel * of_kernel, norm.beta + (bias - norm.moving_mean) * scale

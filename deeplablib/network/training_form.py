"""The form of a network that trains fastest, over the variables of the network itself."""

from deeplablib.network.layers import CONVOLUTIONS, ends_in_classes, folded, norms_after
from deeplablib.utils.backend import keras, tf


def training_model(model: keras.Model, precision: str = 'float32') -> keras.Model:
    """Copy a model into the form that trains fastest; its convolutions share the model's variables.

    A batch norm that is frozen is folded into the convolution before it (layers.folded), again in
    every step: the gradient of the kernel passes through that product, so it is exact.
    In bfloat16 every layer but those that end in classes computes in that type, on variables that
    stay float32, as in prediction (prediction_form).

    model: a network; a step on the variables of either changes both. precision: 'float32' or
    'bfloat16'.
    Returns a Keras model with the same input and float32 logits.
    """
    norms = {conv: norm for conv, norm in norms_after(model).items() if not norm.trainable}
    frozen = {norm.name for norm in norms.values()}

    def copy(layer):
        if isinstance(layer, keras.layers.InputLayer):
            return type(layer).from_config(layer.get_config())
        mixed = precision == 'bfloat16' and not ends_in_classes(layer, model)
        dtype = 'mixed_bfloat16' if mixed else 'float32'
        if isinstance(layer, CONVOLUTIONS):
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
            kernel, bias = folded(kernel, bias, self.norm)
        outputs = self.conv.convolve(
            tf.cast(inputs, self.compute_dtype), tf.cast(kernel, self.compute_dtype)
        )
        if bias is None:
            return outputs
        return tf.nn.bias_add(outputs, tf.cast(bias, self.compute_dtype))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

"""From an image of any size to its label map: the network at several scales, fused."""

from deeplablib.data.images import IMG_MEAN
from deeplablib.data.network_input import preprocess
from deeplablib.network.layers import Conv2D, ends_in_classes, folded, norms_after
from deeplablib.network.resize import resize_bilinear
from deeplablib.run.backend import keras, tf

SCALES = (1.0, 0.75, 0.5)
SINGLE_SCALE = (1.0,)


def prediction_model(model, precision='float32'):
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
        if isinstance(layer, Conv2D):
            config['use_bias'] = layer.use_bias or layer.name in norms
        if not isinstance(layer, keras.layers.InputLayer):
            config['dtype'] = 'float32' if ends_in_classes(layer, model) else precision
        return type(layer).from_config(config)

    def call(layer, inputs, **_):
        return inputs if isinstance(layer, keras.layers.BatchNormalization) else layer(inputs)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if isinstance(layer, Conv2D):
            weights = layer.weights
            if layer.name in norms:
                weights = folded(layer.kernel, layer.bias, norms[layer.name])
            copied.get_layer(layer.name).set_weights(weights)
    return copied


def multi_scale_scores(model, scores, batch, scales=SCALES):
    """Fuse the scores of a network over scales of its input, as the released test scripts do.

    model: images to logits. scores: Network.scores. batch: float32 [1, height, width, 3],
    preprocessed. scales: factors, the first of them 1; a scaled size is truncated.
    Returns float32 [1, height / 8, width / 8, classes]: the scores of the smaller scales resized to
    those of the first, and the largest taken for each pixel and class.
    """
    fused = None
    for scale in scales:
        size = tf.cast(tf.cast(tf.shape(batch)[1:3], tf.float32) * scale, tf.int32)
        scaled = batch if scale == 1 else resize_bilinear(batch, tf.maximum(size, 1))
        part = scores(tf.cast(model(scaled, training=False), tf.float32))
        fused = part if fused is None else tf.maximum(fused, resize_bilinear(part, _size(fused)))
    return fused


def make_predictor(model, scores, scales=SCALES, img_mean=IMG_MEAN, precision='float32'):
    """Build the function that labels an image.

    model: a network with its weights. scores: Network.scores. scales, precision: as above.
    img_mean: mean colour, blue, green, red.
    Returns a tf.function of (image, allowed): uint8 RGB [height, width, 3] and bool [classes], the
    classes that may occur. It gives the labels, uint8 [height, width], and the fused scores of all
    classes at network resolution, float32 [height / 8, width / 8, classes]. It is traced once, for
    images of every size.
    """
    fast = prediction_model(model, precision)
    classes = model.output.shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([classes], tf.bool),
        ]
    )
    def predict(image, allowed):
        batch = preprocess(image, img_mean)[None]
        fused = multi_scale_scores(fast, scores, batch, scales)
        # Before resizing, where there are fewer pixels: a constant stays what it is.
        full_size = resize_bilinear(tf.where(allowed, fused, fused.dtype.min), _size(batch))
        return tf.cast(tf.argmax(full_size, -1, tf.int32)[0], tf.uint8), fused[0]

    return predict


def _size(batch):
    return tf.shape(batch)[1:3]

"""From an image of any size to its label map: the network at several scales, fused.

Training with --msc has a fusion of its own, pixel_loss in deeplablib/training/objective.py.
"""

from collections.abc import Callable, Sequence

from deeplablib.data.images import IMG_MEAN
from deeplablib.data.network_input import preprocess
from deeplablib.network.resize import resize_bilinear
from deeplablib.utils.backend import keras, tf

SCALES = (1.0, 0.75, 0.5)
SINGLE_SCALE = (1.0,)


def multi_scale_score_map(
    model: Callable,
    to_score_map: Callable,
    batch: tf.Tensor,
    scales: Sequence[float] = SCALES,
    flip: bool = False,
) -> tf.Tensor:
    """Fuse the score maps of a network over scales of its input, as the released scripts do.

    model: images to logits. to_score_map: of its NetworkSpec. batch: float32 [1, height, width, 3],
    preprocessed. scales: factors, the first of them 1; a scaled size is truncated.
    flip: fuse the mirror image too, at full size.
    Returns float32 [1, height / 8, width / 8, classes]: the maps of the smaller scales resized to
    those of the first, and the largest taken for each pixel and class.
    """
    fused = None
    for scale in scales:
        size = tf.cast(tf.cast(tf.shape(batch)[1:3], tf.float32) * scale, tf.int32)
        scaled = batch if scale == 1 else resize_bilinear(batch, tf.maximum(size, 1))
        part = to_score_map(tf.cast(model(scaled, training=False), tf.float32))
        fused = part if fused is None else tf.maximum(fused, resize_bilinear(part, _size(fused)))
    if flip:
        part = to_score_map(tf.cast(model(tf.reverse(batch, [2]), training=False), tf.float32))
        fused = tf.maximum(fused, tf.reverse(part, [2]))
    return fused


def make_predictor(
    model: keras.Model,
    to_score_map: Callable,
    scales: Sequence[float] = SCALES,
    img_mean: tuple[float, float, float] = IMG_MEAN,
    flip: bool = False,
) -> tf.types.experimental.PolymorphicFunction:
    """Build the function that labels an image.

    model: a network, which is called as it is: one in training, or, for speed, the copy that
    network.folding makes. to_score_map: of its NetworkSpec. scales, flip: as above.
    img_mean: mean colour, blue, green, red.
    Returns a tf.function of (image, allowed): uint8 RGB [height, width, 3] and bool [classes], the
    classes that may occur. It gives the labels, uint8 [height, width], and the fused score map
    of all classes at network resolution, float32 [height / 8, width / 8, classes]. It is traced
    once, for images of every size.
    """
    classes = model.output.shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([classes], tf.bool),
        ]
    )
    def predict(image, allowed):
        batch = preprocess(image, img_mean)[None]
        fused = multi_scale_score_map(model, to_score_map, batch, scales, flip)
        # Before resizing, where there are fewer pixels: a constant stays what it is.
        full_size = resize_bilinear(tf.where(allowed, fused, fused.dtype.min), _size(batch))
        return tf.cast(tf.argmax(full_size, -1, tf.int32)[0], tf.uint8), fused[0]

    return predict


def _size(batch):
    return tf.shape(batch)[1:3]

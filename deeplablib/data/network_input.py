"""Images as the networks take them, in graph operations."""

from deeplablib.data.images import IMG_MEAN
from deeplablib.utils.backend import tf


def decode_image(path: tf.Tensor | str) -> tf.Tensor:
    """Read one image file.

    path: string tensor; a JPEG or PNG file. Grey is repeated, alpha left out, CMYK converted.
    Returns uint8 [height, width, 3], RGB. JPEG is decoded as the originals decode it: Pillow's
    decoder differs by a level or two.
    """
    # In spite of its name this reads PNG too, so the kind need not be known in the graph.
    return tf.io.decode_jpeg(tf.io.read_file(path), channels=3)


def preprocess(image: tf.Tensor, img_mean: tuple[float, float, float] = IMG_MEAN) -> tf.Tensor:
    """Turn an image into what the networks expect.

    image: uint8 [..., 3], RGB. img_mean: mean colour, in the order blue, green, red.
    Returns float32 [..., 3]: BGR, minus the mean, not scaled.
    """
    return tf.cast(tf.reverse(image, [-1]), tf.float32) - tf.constant(img_mean, tf.float32)

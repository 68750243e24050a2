"""Images as the networks take them, in graph operations."""

from pathlib import Path

from deeplablib.data.images import IMG_MEAN, image_contents
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError, tensorflow_reason


def decode_image(contents: tf.Tensor | bytes) -> tf.Tensor:
    """Decode one image.

    contents: the bytes of a JPEG or PNG, as a string tensor or from images.image_contents. Grey is
    repeated, alpha left out.
    Returns uint8 [height, width, 3], RGB. JPEG is decoded as the originals decode it: Pillow's
    decoder differs by a level or two.
    """
    # In spite of its name this reads PNG too, so the kind need not be known in the graph.
    return tf.io.decode_jpeg(contents, channels=3)


def load_image(path: str | Path) -> tf.Tensor:
    """Read one image as decode_image does, of any of images.FORMATS.

    Raises InputError when it cannot be read.
    """
    try:
        return decode_image(image_contents(path))
    except tf.errors.OpError as error:
        reason = tensorflow_reason(error)
        raise InputError(f'cannot read the image {path} ({reason})') from None


def preprocess(image: tf.Tensor, img_mean: tuple[float, float, float] = IMG_MEAN) -> tf.Tensor:
    """Turn an image into what the networks expect.

    image: uint8 [..., 3], RGB. img_mean: mean colour, in the order blue, green, red.
    Returns float32 [..., 3]: BGR, minus the mean, not scaled.
    """
    return tf.cast(tf.reverse(image, [-1]), tf.float32) - tf.constant(img_mean, tf.float32)

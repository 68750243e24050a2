"""TensorFlow 1's resizing, which every stage of the originals uses.

A TF1 resize maps target pixel i to source position i * (old / new): no half-pixel centres, no
aligned corners. `tf.image.resize` of TensorFlow 2 uses half-pixel centres and gives other values.
"""

from collections.abc import Sequence

from deeplablib.utils.backend import tf


def resize_bilinear(images: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Resize images or scores bilinearly.

    images: [batch, height, width, channels], any real dtype.
    size: the new (height, width), ints or an int32 tensor [2].
    Returns float32 [batch, *size, channels].
    """
    return tf.raw_ops.ResizeBilinear(images=images, size=size)


def resize_nearest(labels: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Resize label maps: each target pixel takes the source pixel at the floor of its position.

    labels: [batch, height, width, channels], any dtype. size: as for resize_bilinear.
    Returns the dtype of labels, [batch, *size, channels].
    """
    return tf.raw_ops.ResizeNearestNeighbor(images=labels, size=size)

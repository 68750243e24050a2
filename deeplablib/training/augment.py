"""Augmentation of training samples, in graph operations.

Nothing here draws a random number by itself: draw gives the numbers of one sample, a function of
the run's seed and the sample's position alone, so that a resumed run sees what it would have seen.
"""

from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.network.resize import resize_bilinear, resize_nearest
from deeplablib.utils.backend import tf

MIN_SCALE, MAX_SCALE = 0.5, 1.5
# For tags, which are labels of a whole image: the longer side of the image over that of the crop. A
# crop of a small part might not show what the tag says. irn takes 320 to 640 pixels for 512.
MIN_SHARE, MAX_SHARE = 0.625, 1.25


def draw(random_seed: int | tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """The random numbers of one sample.

    random_seed: int. position: int64 scalar, how many samples the run has drawn before this one.
    Returns float32 [4], each uniform in [0, 1).
    """
    seed = tf.stack([tf.cast(random_seed, tf.int64), position])
    return tf.random.stateless_uniform([4], seed, alg='philox')


def augment(
    image: tf.Tensor,
    labels: tf.Tensor,
    numbers: tf.Tensor,
    size: tuple[int, int],
    scale: bool,
    mirror: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale, mirror, pad and crop a sample as the original trainer does.

    image: float32 [height, width, 3], preprocessed. labels: uint8 [height, width].
    numbers: made by draw. size: (height, width) of the crop. scale, mirror: whether to.
    Returns the image, float32 [*size, 3], and its labels, uint8 [*size].
    """
    if scale:
        factor = MIN_SCALE + (MAX_SCALE - MIN_SCALE) * numbers[0]
        image, labels = rescale(image, labels, factor)
    if mirror:
        image, labels = tf.cond(
            numbers[1] < 0.5,
            lambda: (tf.reverse(image, [1]), tf.reverse(labels, [1])),
            lambda: (image, labels),
        )
    return pad_and_crop(image, labels, size, numbers[2:])


def augment_image(
    image: tf.Tensor, numbers: tf.Tensor, size: tuple[int, int], scale: bool, mirror: bool
) -> tf.Tensor:
    """Augment an image whose labels are its tags.

    Arguments as for augment; without scale the longer side is made as long as the crop's.
    Returns float32 [*size, 3].
    """
    share = MIN_SHARE + (MAX_SHARE - MIN_SHARE) * numbers[0] if scale else 1.0
    image = scale_to_crop(image, size, share)
    no_labels = tf.zeros(tf.shape(image)[:2], tf.uint8)
    return augment(image, no_labels, numbers, size, scale=False, mirror=mirror)[0]


def scale_to_crop(image: tf.Tensor, size: tuple[int, int], share: float | tf.Tensor) -> tf.Tensor:
    """Resize an image so that its longer side is a share of the longer side of the crop.

    image: float32 [height, width, 3]. size: (height, width) of the crop. share: float or float32
    scalar. Returns float32 [new height, new width, 3]; the new size is truncated.
    """
    old = tf.cast(tf.shape(image)[:2], tf.float32)
    new = tf.cast(old * (share * max(size) / tf.reduce_max(old)), tf.int32)
    return resize_bilinear(image[None], tf.maximum(new, 1))[0]


def rescale(image: tf.Tensor, labels: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize an image bilinearly and its labels to the nearest.

    image, labels: as for augment. factor: float32 scalar; the new size is truncated.
    Returns both, float32 [new height, new width, 3] and uint8 [new height, new width].
    """
    size = tf.cast(tf.cast(tf.shape(labels), tf.float32) * factor, tf.int32)
    size = tf.maximum(size, 1)
    image = resize_bilinear(image[None], size)[0]
    return image, resize_nearest(labels[None, ..., None], size)[0, ..., 0]


def pad_and_crop(
    image: tf.Tensor, labels: tf.Tensor, size: tuple[int, int], place: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pad at the bottom and the right up to the crop, then cut the crop out.

    image, labels: as for augment; padded with 0 (the mean colour) and IGNORE_LABEL.
    size: (height, width) of the crop.
    place: float32 [2] in [0, 1), how far down and right the crop is among its possible places.
    Returns both, float32 [*size, 3] and uint8 [*size].
    """
    padding = tf.maximum(tf.constant(size) - tf.shape(labels), 0)
    padding = tf.stack([tf.zeros_like(padding), padding], axis=1)
    image = tf.pad(image, tf.concat([padding, [[0, 0]]], axis=0))
    labels = tf.pad(labels, padding, constant_values=IGNORE_LABEL)
    places = tf.shape(labels) - tf.constant(size) + 1
    corner = tf.cast(place * tf.cast(places, tf.float32), tf.int32)
    image = tf.slice(image, tf.concat([corner, [0]], axis=0), [*size, 3])
    return image, tf.slice(labels, corner, size)

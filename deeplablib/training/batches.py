"""The batches of a training run: which samples, in which order, read and augmented in tf.data.

The order and the augmentation are functions of the random seed and the position alone. A sample's
position counts the samples of the whole run before it: step 7 of batches of 10 begins at 70. A
resumed run starts at a later position, without replaying what came before.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, masks_of
from deeplablib.data.images import IMG_MEAN, image_contents
from deeplablib.data.masks import check_size, read_indices
from deeplablib.data.network_input import decode_image, load_image, preprocess
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.training.augment import augment, augment_image, draw
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError


def sample_order(
    positions: npt.NDArray[np.int64], num_samples: int, random_seed: int, shuffle: bool
) -> npt.NDArray[np.int64]:
    """Which sample stands at each position of a run.

    positions: int64 array of any shape, from 0. num_samples: of the list. random_seed: of the
    orders. shuffle: whether each epoch passes over the samples in an order of its own, and not in
    that of the list.
    Returns an int64 array of their shape, indices into the list.
    """
    epochs, places = np.divmod(positions, num_samples)
    if not shuffle:
        return places
    order = np.empty_like(places)
    for epoch in np.unique(epochs):
        permutation = np.random.default_rng([random_seed, epoch]).permutation(num_samples)
        order[epochs == epoch] = permutation[places[epochs == epoch]]
    return order


def samples_of_step(step: int, samples: Sequence[Sample], settings: Any) -> list[Sample]:
    """The samples that a step trains on, over all replicas; settings: as for make_dataset."""
    count = settings.batch_size * settings.grad_update_every
    positions = np.arange(step * count, (step + 1) * count)
    order = sample_order(positions, len(samples), settings.random_seed, settings.shuffle)
    return [samples[i] for i in order]


def make_dataset(
    samples: Sequence[Sample],
    settings: Any,
    steps: range,
    img_mean: tuple[float, float, float] = IMG_MEAN,
    replicas: int = 1,
    local_replicas: slice = slice(None),
    tag_labels: npt.NDArray[np.uint8] | None = None,
) -> tf.data.Dataset:
    """Read the samples of some steps.

    samples: with masks unless there are tag_labels. settings: the flags of main.py, or what else
    has them as attributes. steps: range of steps. img_mean: blue, green, red.
    replicas: how many share a batch. local_replicas: slice, those that this process feeds.
    tag_labels: uint8 [samples, tags], the labels in place of masks; the scale of an image is
    then drawn around that at which the crop holds the whole of it (augment.scale_to_crop).
    Returns a tf.data.Dataset with one element a step and replica, the replicas of a step one after
    the other: images, float32 [grad_update_every, batch_size / replicas, height, width, 3], and
    labels, uint8 [grad_update_every, batch_size / replicas, height, width] or [..., tags].
    """
    size = settings.input_height, settings.input_width
    scale, mirror = settings.random_scale, settings.random_mirror
    parts, share = settings.grad_update_every, settings.batch_size // replicas
    count = parts * settings.batch_size
    positions = np.arange(steps.start * count, steps.stop * count)
    positions = positions.reshape(-1, parts, replicas, share)
    positions = positions.transpose(0, 2, 1, 3)[:, local_replicas].reshape(-1)
    order = sample_order(positions, len(samples), settings.random_seed, settings.shuffle)
    if tag_labels is None:
        masks_of(samples)

    def read(index):
        sample = samples[index]
        if tag_labels is not None:
            return image_contents(sample.image), tag_labels[index]
        labels, _ = read_indices(sample.mask)
        labels[labels == settings.ignore_label] = IGNORE_LABEL
        return image_contents(sample.image), labels

    def load(position, index):
        # Python opens the files: TensorFlow has its own idea of a path.
        contents, labels = tf.numpy_function(read, [index], [tf.string, tf.uint8], stateful=False)
        image = preprocess(decode_image(tf.ensure_shape(contents, [])), img_mean)
        numbers = draw(settings.random_seed, position)
        if tag_labels is not None:
            image = augment_image(image, numbers, size, scale, mirror)
            return image, tf.ensure_shape(labels, tag_labels.shape[1:])
        labels = tf.ensure_shape(labels, [None, None])
        return augment(image, labels, numbers, size, scale, mirror)

    dataset = tf.data.Dataset.from_tensor_slices((positions, order))
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(share, drop_remainder=True)
    dataset = dataset.batch(parts, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)


def raise_unreadable(samples: Sequence[Sample]) -> None:
    """Find the file that the reading of a batch failed on.

    samples: those of the batch. Returns when every file can be read.
    Raises InputError naming the first that cannot.
    """
    for sample in samples:
        try:
            size = load_image(sample.image).shape[:2]
            if sample.mask is not None:
                check_size(sample.mask, read_indices(sample.mask)[0], size)
        except InputError as error:
            raise InputError(f'{sample.origin}: {error}') from None

"""The batches of a training run: which samples, in which order, read and augmented in tf.data.

The order and the augmentation are functions of the random seed and the position alone. A sample's
position counts the samples of the whole run before it: step 7 of batches of 10 begins at 70. A
resumed run starts at a later position, without replaying what came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, masks_of
from deeplablib.data.images import IMG_MEAN, image_contents
from deeplablib.data.masks import check_size, read_indices
from deeplablib.data.network_input import decode_image, load_image, preprocess
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.training.augment import augment, augment_image, draw
from deeplablib.training.training_settings import TrainingSettings
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError


@dataclass(frozen=True)
class BatchSettings:
    """How samples become batches.

    size: (height, width) of the crops. batch_size: samples of one gradient, over all replicas.
    grad_update_every: gradients of one step. random_seed: what everything is drawn from.
    shuffle: each epoch in an order of its own, otherwise that of the list. random_scale,
    random_mirror: whether to. ignore_label: of masks, what belongs to no class. img_mean: mean
    colour, blue, green, red.
    """

    size: tuple[int, int]
    batch_size: int
    grad_update_every: int = 1
    random_seed: int = 1234
    shuffle: bool = True
    random_scale: bool = True
    random_mirror: bool = True
    ignore_label: int = IGNORE_LABEL
    img_mean: tuple[float, float, float] = IMG_MEAN

    @property
    def samples_a_step(self) -> int:
        """How many samples one step takes."""
        return self.batch_size * self.grad_update_every


def batch_settings(
    settings: TrainingSettings, img_mean: tuple[float, float, float] = IMG_MEAN
) -> BatchSettings:
    """The part of a training's settings that makes its batches; img_mean: blue, green, red."""
    return BatchSettings(
        size=(settings.input_height, settings.input_width),
        batch_size=settings.batch_size,
        grad_update_every=settings.grad_update_every,
        random_seed=settings.random_seed,
        shuffle=settings.shuffle,
        random_scale=settings.random_scale,
        random_mirror=settings.random_mirror,
        ignore_label=settings.ignore_label,
        img_mean=img_mean,
    )


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


def samples_of_step(step: int, samples: Sequence[Sample], batches: BatchSettings) -> list[Sample]:
    """The samples that a step trains on, over all replicas: a list of Sample."""
    positions = np.arange(step * batches.samples_a_step, (step + 1) * batches.samples_a_step)
    order = sample_order(positions, len(samples), batches.random_seed, batches.shuffle)
    return [samples[i] for i in order]


def make_dataset(
    samples: Sequence[Sample],
    batches: BatchSettings,
    steps: range,
    replicas: int = 1,
    local_replicas: slice = slice(None),
    tag_labels: npt.NDArray[np.uint8] | None = None,
) -> tf.data.Dataset:
    """Read the samples of some steps.

    samples: with masks unless there are tag_labels. batches: how to. steps: range of steps.
    replicas: how many share a batch. local_replicas: slice, those that this process feeds.
    tag_labels: uint8 [samples, tags], the labels in place of masks; the scale of an image is
    then drawn around that at which the crop holds the whole of it (augment.scale_to_crop).
    Returns a tf.data.Dataset with one element a step and replica, the replicas of a step one after
    the other: images, float32 [grad_update_every, batch_size / replicas, *size, 3], and labels,
    uint8 [grad_update_every, batch_size / replicas, *size] or [..., tags].
    """
    share = batches.batch_size // replicas
    positions = np.arange(steps.start, steps.stop)[:, None] * batches.samples_a_step
    positions = positions + np.arange(batches.samples_a_step)
    positions = positions.reshape(-1, batches.grad_update_every, replicas, share)
    positions = positions.transpose(0, 2, 1, 3)[:, local_replicas].reshape(-1)
    order = sample_order(positions, len(samples), batches.random_seed, batches.shuffle)
    if tag_labels is None:
        masks_of(samples)

    def read(index):
        sample = samples[index]
        if tag_labels is not None:
            return image_contents(sample.image), tag_labels[index]
        labels, _ = read_indices(sample.mask)
        labels[labels == batches.ignore_label] = IGNORE_LABEL
        return image_contents(sample.image), labels

    def load(position, index):
        # Python opens the files: TensorFlow has its own idea of a path.
        contents, labels = tf.numpy_function(read, [index], [tf.string, tf.uint8], stateful=False)
        image = preprocess(decode_image(tf.ensure_shape(contents, [])), batches.img_mean)
        numbers = draw(batches.random_seed, position)
        if tag_labels is not None:
            image = augment_image(
                image,
                numbers,
                batches.size,
                scale=batches.random_scale,
                mirror=batches.random_mirror,
            )
            return image, tf.ensure_shape(labels, tag_labels.shape[1:])
        return augment(
            image,
            tf.ensure_shape(labels, [None, None]),
            numbers,
            batches.size,
            scale=batches.random_scale,
            mirror=batches.random_mirror,
            ignore_label=IGNORE_LABEL,
        )

    dataset = tf.data.Dataset.from_tensor_slices((positions, order))
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(share, drop_remainder=True)
    dataset = dataset.batch(batches.grad_update_every, drop_remainder=True)
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

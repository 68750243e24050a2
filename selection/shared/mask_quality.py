"""Mask quality: how good masks seem to be, without knowing the truth.

Reconstructed: of SPSM's own score we only know that lists of samples were cut at 0.8 (ResNet) and
0.55 (VGG). Every measure lies in [0, 1]. It is a mean over the image's tags and background, so that
a small object counts as much as a large one. A tag without a pixel counts 0: it was missed.
Background without a pixel is left out: an object may fill the image.
"""

import numpy as np
import numpy.typing as npt

from deeplablib.prediction.metrics import agreement, mean_over_classes

# What `measure` gives: of a mask that the CRF made, and of one that the network was trained on.
OF_REFINED = ('crf_agreement', 'max_probability', 'mask_probability', 'all_tags')
OF_ANNOTATION = ('annotation_agreement', *OF_REFINED[1:])


def class_mean(
    values: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], allowed: npt.NDArray[np.bool_]
) -> float:
    """The mean of values over the pixels of each class, then over the classes.

    With the largest probability and its argmax it is `max_probability`; with the probability of the
    mask's own label, `mask_probability`.

    values: float [height, width]. labels: uint8 [height, width]. allowed: bool [classes].
    Returns the mean, 0 to 1 for probabilities.
    """
    sums = np.bincount(labels.reshape(-1), values.reshape(-1), minlength=256)
    counts = np.bincount(labels.reshape(-1), minlength=256)
    return mean_over_classes(sums[: len(allowed)], counts[: len(allowed)], allowed)


def all_tags(mask: npt.NDArray[np.uint8], allowed: npt.NDArray[np.bool_]) -> float:
    """1.0 when every tag has a pixel in the mask, otherwise 0.0."""
    return float(np.isin(np.flatnonzero(allowed[1:]) + 1, mask).all())


def measure(
    mask: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.bool_],
) -> tuple[float, ...]:
    """All measures of the quality of a mask.

    mask: uint8 [height, width], 255 for ignored pixels. probabilities: float [height, width,
    classes], of the network. allowed: bool [classes].
    Returns a tuple of floats in the order of OF_REFINED and OF_ANNOTATION.
    """
    predicted = probabilities.argmax(-1).astype(np.uint8)
    highest = probabilities.max(-1)
    index = np.where(mask < len(allowed), mask, 0)
    of_mask = np.take_along_axis(probabilities, index[..., None], -1)[..., 0]
    return (
        agreement(mask, predicted, allowed),
        class_mean(highest, predicted, allowed),
        class_mean(of_mask, mask, allowed),
        all_tags(mask, allowed),
    )

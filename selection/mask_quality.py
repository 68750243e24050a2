"""Mask quality: how good masks seem to be, without knowing the truth, and tables of it.

Reconstructed: of SPSM's own score we only know that lists of samples were cut at 0.8 (ResNet) and
0.55 (VGG). Every measure lies in [0, 1]. It is a mean over the image's tags and background, so that
a small object counts as much as a large one. A tag without a pixel counts 0: it was missed.
Background without a pixel is left out: an object may fill the image.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.prediction.metrics import confusion_matrix
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import replacing

# What `measure` gives: of masks that the CRF made, and of those that a network was trained on.
REFINED_MEASURES = ('crf_agreement', 'max_probability', 'mask_probability', 'all_tags')
ANNOTATION_MEASURES = ('annotation_agreement', *REFINED_MEASURES[1:])
TABLE = 'quality.csv'  # beside the masks


def agreement(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], allowed: npt.NDArray[np.bool_]
) -> float:
    """The mean IoU of two label maps of one image; pixels that are 255 in either are left out.

    Between the network's argmax and the CRF's labels it is `crf_agreement`; between an annotation
    and the network's argmax it is `annotation_agreement`.

    first, second: uint8 [height, width]. allowed: bool [classes], tags and background.
    Returns a float; 0 when nothing is left to compare.
    """
    counts = confusion_matrix(first, second, len(allowed))
    hits = np.diag(counts)
    return mean_over_classes(hits, counts.sum(0) + counts.sum(1) - hits, allowed)


def mean_over_classes(
    sums: npt.NDArray, counts: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_]
) -> float:
    """The mean over an image's classes of sums / counts.

    sums, counts: [classes]. allowed: bool [classes], tags and background. A tag that counts nothing
    counts as 0; background is then left out. Returns a float; 0 when nothing is left.
    """
    counted = allowed.copy()
    counted[0] &= counts[0] > 0
    means = sums[counted] / np.maximum(counts[counted], 1)
    return float(means.mean()) if means.size else 0.0


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
    classes], of the network. allowed: bool [classes], tags and background.
    Returns a tuple of floats in the order of REFINED_MEASURES and ANNOTATION_MEASURES.
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


def write_table(
    path: str | Path, measures: Sequence[str], rows: Mapping[str, Sequence[float]]
) -> None:
    """Write a table of mask quality, CSV, an image a line, whole or not at all.

    path: where it goes. measures: names of the columns. rows: dict from image name to their values.
    """
    with (
        replacing(path) as temporary,
        temporary.open('w', newline='', errors='surrogateescape') as file,  # names may not be UTF-8
    ):
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['name', *measures])
        writer.writerows([name, *(f'{value:.6f}' for value in row)] for name, row in rows.items())


def read_measure(path: str | Path, measure: str, names: Sequence[str]) -> npt.NDArray[np.floating]:
    """Read one measure of the masks of a table that write_table wrote.

    path: of the table. measure: name of the column. names: the images that are needed.
    Returns float [names], in [0, 1].
    Raises InputError for a table or a measure that is not there, an image without a row, and a
    value that is not from 0 to 1.
    """
    try:
        with open(path, newline='', errors='surrogateescape') as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = {row.get('name'): row.get(measure) for row in reader}
    except OSError as error:
        raise InputError(f'{path}: cannot read the mask quality ({error.strerror})') from None
    if measure not in columns:
        raise InputError(f'{path}: no measure {measure}; there are: {", ".join(columns[1:])}')
    raise_all([f'{path}: no quality of {name}' for name in names if name not in rows])
    values = [_number(rows[name]) for name in names]
    wrong = [name for name, value in zip(names, values, strict=True) if not 0 <= value <= 1]
    raise_all([f'{path}: {measure} of {name} is not a number from 0 to 1' for name in wrong])
    return np.array(values)


def _number(text):
    try:
        return float(text or 'nan')
    except ValueError:
        return np.nan

"""How good predictions are: IoU, as PASCAL VOC measures it, and the average precision of tags."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, masks_of
from deeplablib.data.masks import read_mask
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.utils.progress import progress


def confusion_matrix(
    truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], num_classes: int = NUM_CLASSES
) -> npt.NDArray[np.int64]:
    """Count the pixels of each pair of classes; pixels whose truth is no class are left out.

    truth, prediction: uint8 arrays of one shape; prediction holds classes only.
    Returns int64 [num_classes, num_classes]: rows are the truth, columns the prediction.
    """
    pairs = truth.astype(np.intp).reshape(-1) * 256 + prediction.reshape(-1)
    counts = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    return counts[:num_classes, :num_classes].copy()  # a view would keep all 65,536 counts


def evaluate(
    pairs: Sequence[tuple[Path, Path]],
    num_classes: int = NUM_CLASSES,
    ignore_label: int = IGNORE_LABEL,
) -> npt.NDArray[np.int64]:
    """Sum the confusion matrices of predictions on disk, on all cores.

    pairs: list of (path of the mask, path of the prediction); one that is there twice counts once,
    and a note says so. ignore_label: in masks, no class.
    Returns int64 [num_classes, num_classes].
    Raises InputError for a file that cannot be read, a prediction of another size than its mask or
    with a value that is no class.
    """

    def one(mask_path, prediction_path):
        truth = read_mask(mask_path, num_classes, ignore_label=ignore_label)
        prediction = read_mask(prediction_path, num_classes, truth.shape, ignore_label=None)
        return confusion_matrix(truth, prediction, num_classes)

    given, pairs = pairs, list(dict.fromkeys(pairs))
    if len(pairs) < len(given):
        first = next(pair for pair, count in Counter(given).items() if count > 1)
        print(
            f'note: {len(given)} predictions are named, {len(given) - len(pairs)} of them again, '
            f'such as {first[1]}; each counts once'
        )
    # Threads: decoding, where the time goes, runs outside Python's lock.
    parallel = joblib.Parallel(n_jobs=-1, prefer='threads', return_as='generator')
    matrices = parallel(joblib.delayed(one)(*pair) for pair in pairs)
    return sum(progress(matrices, len(pairs), 'evaluating'))


def iou_table_of(
    samples: Sequence[Sample],
    folder: Path,
    classes: Sequence[str],
    ignore_label: int = IGNORE_LABEL,
) -> str:
    """The iou_table of the predictions FOLDER/NAME.png of samples that all have masks.

    classes: their names. ignore_label: in masks, no class. Raises InputError as evaluate does.
    """
    predictions = [folder / f'{sample.name}.png' for sample in samples]
    pairs = list(zip(masks_of(samples), predictions, strict=True))
    return iou_table(evaluate(pairs, len(classes), ignore_label), classes)


def report(samples: Sequence[Sample], folder: Path, classes: Sequence[str]) -> None:
    """Say where predictions are and, when every sample has a mask, print their iou_table.

    Arguments as for iou_table_of, as is what it raises.
    """
    print(f'The segmentation masks have been saved to {folder}')
    if all(sample.mask for sample in samples):
        print(iou_table_of(samples, folder, classes))


def iou_per_class(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """TP / (TP + FP + FN) of each class.

    confusion: as confusion_matrix gives. Returns float64 [classes]; NaN for a class that does not
    occur in the truth: it has no part in the mean.
    """
    hits = np.diag(confusion).astype(np.float64)
    occurs = confusion.sum(1) > 0
    union = confusion.sum(1) + confusion.sum(0) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=occurs)


def mean_iou(confusion: npt.NDArray[np.int64]) -> float:
    """The mean IoU over the classes that occur in the truth (mIoU), 0 to 1; NaN without any."""
    occurring = iou_per_class(confusion)
    occurring = occurring[~np.isnan(occurring)]
    return float(occurring.mean()) if occurring.size else float('nan')


def pixel_accuracy(confusion: npt.NDArray[np.int64]) -> float:
    """The fraction of labelled pixels that are right, 0 to 1; NaN when no pixel is labelled."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float('nan')


def iou_table(confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> str:
    """The IoU of each class in percent, their mean and the pixel accuracy, as lines of text.

    A last line says so when the truth has one class only: nothing can be read off the numbers.
    classes: their names.
    """
    rows = [
        (name, 'absent' if np.isnan(iou) else f'{100 * iou:.2f}')
        for name, iou in zip(classes, iou_per_class(confusion), strict=True)
    ]
    rows += [
        ('mean IoU', f'{100 * mean_iou(confusion):.2f}'),
        ('pixel accuracy', f'{100 * pixel_accuracy(confusion):.2f}'),
    ]
    width = max(16, *(len(name) + 1 for name, _ in rows))
    lines = [f'{name:<{width}}{value:>8}' for name, value in rows]
    occurring = np.flatnonzero(confusion.sum(1))
    if len(occurring) == 1:
        lines.append(
            f'note: the labelled pixels of all masks have one class only, {classes[occurring[0]]}'
        )
    return '\n'.join(lines)


def iou_summary(confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """The same numbers as a dict for JSON: 0 to 1, None for a class that does not occur."""

    def number(value):
        return None if np.isnan(value) else float(value)

    return {
        'mean_iou': number(mean_iou(confusion)),
        'pixel_accuracy': number(pixel_accuracy(confusion)),
        'iou': {
            name: number(iou) for name, iou in zip(classes, iou_per_class(confusion), strict=True)
        },
    }


def average_precision(labels: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating]) -> float:
    """The mean, over the images that have a tag, of the precision down to their rank.

    labels: bool or 0 and 1 [images]. scores: float [images], the higher the surer.
    Returns 0 to 1; NaN when no image has the tag. Images of equal scores share the last one's rank,
    so that their order does not matter; scikit-learn's average_precision_score is the same.
    """
    positive = np.sort(scores[labels > 0])
    # How many images, and how many of them with the tag, have a score at least as high.
    found = len(positive) - np.searchsorted(positive, positive)
    ranks = len(scores) - np.searchsorted(np.sort(scores), positive)
    return float(np.mean(found / ranks)) if len(positive) else float('nan')


def mean_average_precision(
    labels: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating]
) -> float:
    """The mean of the average precision over the tags that some image has.

    labels: [images, tags], 1 where an image has the tag. scores: float [images, tags].
    Returns 0 to 1; NaN when no image has any tag.
    """
    columns = zip(labels.T, scores.T, strict=True)
    per_tag = [average_precision(truth, score) for truth, score in columns if truth.any()]
    return float(np.mean(per_tag)) if per_tag else float('nan')

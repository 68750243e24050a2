"""How good masks truly are, where the truth is known: on generated data, and for reports."""

from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import read_list
from deeplablib.data.images import read_mask
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.prediction.metrics import confusion_matrix, mean_iou
from deeplablib.run.errors import InputError
from deeplablib.run.parallel import for_each


def mask_confusion(mask, truth, num_classes=NUM_CLASSES):
    """The confusion matrix of a mask; its ignored pixels and those of the truth are left out.

    mask, truth: uint8 [height, width]. Returns int64 [num_classes, num_classes], rows: truth.
    """
    known = mask != IGNORE_LABEL
    return confusion_matrix(truth[known], mask[known], num_classes)


def compare(paths):
    """Compare a mask on disk with its true mask.

    paths: of the mask and of the true mask. Returns (the confusion matrix as from mask_confusion,
    the fraction of pixels that have a label).
    """
    mask = read_mask(paths[0])
    truth = read_mask(paths[1], size=mask.shape)
    return mask_confusion(mask, truth), np.mean(mask != IGNORE_LABEL)


def list_quality(train_list, data_dir, truth):
    """The true quality of the masks of a list.

    train_list: list with masks. data_dir: the folder its paths start from. truth: folder of the
    true masks, NAME.png.
    Returns (number of images, mean IoU of their masks, fraction of pixels that have a label).
    Raises InputError when a sample has no mask or a mask cannot be read.
    """
    samples = read_list(train_list, data_dir)
    without = [sample.origin for sample in samples if sample.mask is None]
    if without:
        raise InputError(f'{without[0]}: no mask is named')
    pairs = [(sample.mask, Path(truth) / f'{sample.name}.png') for sample in samples]
    confusions, labelled = zip(*for_each(compare, pairs, 'quality'), strict=True)
    return len(samples), mean_iou(sum(confusions)), float(np.mean(labelled))

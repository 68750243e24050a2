"""The classes of PASCAL VOC 2012 and their colours."""

import numpy as np
import numpy.typing as npt

CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip
NUM_CLASSES = len(CLASSES)
IGNORE_LABEL = 255


def colour_map() -> npt.NDArray[np.uint8]:
    """The VOC colour of every label value.

    Bit 3k + c of a label is bit 7 - k of its colour channel c (VOCdevkit, VOClabelcolormap.m).
    Returns a uint8 array [256, 3], RGB.
    """
    labels = np.arange(256)[:, None]
    channels = np.arange(3)
    colours = np.zeros((256, 3), np.uint8)
    for k in range(3):
        colours |= (((labels >> (3 * k + channels)) & 1) << (7 - k)).astype(np.uint8)
    return colours

"""Photographs as cameras make them: turned upright, made smaller, labelled at their own size."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from deeplablib.data.images import LYING, exif_turn, open_image, to_rgb
from deeplablib.data.score_maps import image_probabilities
from deeplablib.utils.errors import InputError

BAND = 1 << 20  # pixels that are labelled at once: a photograph has more than memory has room for


def read_max_size(text: str) -> int:
    """Read the value of a flag --max-size.

    Raises InputError for what is no whole number, and for less than one pixel.
    """
    try:
        number = int(text)
    except ValueError:
        raise InputError(f'value {text} of --max-size: not a whole number') from None
    if number < 1:
        raise InputError(f'value {number} of --max-size: at least one pixel is needed')
    return number


def prepared(
    path: str | Path, max_size: int | None, turn: bool = False
) -> tuple[npt.NDArray[np.uint8] | None, tuple[int, int]]:
    """Turn a photograph (EXIF), and make it smaller, for the network where that is to be done.

    path: a photograph. max_size: pixels of the longer side that may stay; None: all of them.
    turn: hold it upright. Returns uint8 [height, width, 3], RGB, or None where nothing is to be
    done; and (height, width) of the photograph itself, upright if it is turned.
    Raises InputError when it cannot be read.
    """
    with open_image(path) as image:
        turned = exif_turn(image) if turn else None
        width, height = image.size
        size = (width, height) if turned in LYING else (height, width)
        longest = max_size or max(size)
        if not turned and max(size) <= longest:
            return None, size
        small = image if image.format in ('JPEG', 'MPO') else to_rgb(image)
        if max(size) > longest:
            # A JPEG is decoded at an eighth of its size where that is enough.
            small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return np.array(to_rgb(ImageOps.exif_transpose(small) if turned else small)), size


def upright(path: Path) -> Image.Image:
    """A photograph as it is to be shown, RGB, at its own size; turned where prepared turns it."""
    with open_image(path) as image:
        # Asked before the pixels are read: Pillow then finds what other programs do not look for.
        turned = exif_turn(image) is not None
        return to_rgb(ImageOps.exif_transpose(image) if turned else image)


def label_photograph(
    score_map: npt.NDArray[np.float32],
    size: tuple[int, int],
    kind: str,
    allowed: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Label a photograph of any size from its score map, band by band.

    score_map, kind, allowed: as for score_maps.image_probabilities. size: (height, width).
    Returns the labels and the largest probability of each pixel, 255 for 1: uint8 [height, width].
    """
    labels, confidence = np.empty((2, *size), np.uint8)
    rows = max(1, BAND // size[1])
    for top in range(0, size[0], rows):
        band = slice(top, min(top + rows, size[0]))
        probabilities = image_probabilities(score_map, size, kind, allowed, band)
        labels[band] = probabilities.argmax(-1)
        confidence[band] = np.rint(255 * probabilities.max(-1))
    return labels, confidence


def shrink(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A picture, uint8 [height, width] or [height, width, 3], at a smaller (height, width)."""
    if image.shape[:2] == tuple(size):
        return image
    small = Image.fromarray(image)
    return np.array(small.resize(size[::-1], Image.Resampling.LANCZOS, reducing_gap=2.0))


def enlarge(labels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels, uint8 [height, width], at another (height, width).

    Each pixel takes the nearest, rounded down.
    """
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(labels.shape, size, strict=True)
    )
    return labels[rows][:, columns]

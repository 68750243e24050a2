"""Photographs as cameras make them: turned upright, made smaller, labelled at their own size."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from deeplablib.data.image_headers import exif_turn
from deeplablib.data.image_lists import Sample
from deeplablib.data.images import UNREADABLE, to_rgb, unreadable_reason
from deeplablib.data.score_maps import image_probabilities
from deeplablib.run.errors import InputError

BAND = 1 << 20  # pixels that are labelled at once: a photograph has more than memory has room for


def prepared(sample: Sample, folder: Path, max_size: int) -> tuple[Sample, tuple[int, int]]:
    """Make a copy for the network where a photograph is to be turned (EXIF) or made smaller.

    sample: without a mask. folder: where a copy goes. max_size: of the longer side, pixels.
    Returns the Sample of the copy, or the one given when nothing is to be done, and the (height,
    width) of the photograph when it is held upright. Raises InputError when it cannot be read.
    """
    try:
        with Image.open(sample.image) as image:
            width, height = image.size
            if image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9):
                height, width = width, height
            if exif_turn(image) is None and max(image.size) <= max_size:
                return sample, (height, width)
            small = image if image.format in ('JPEG', 'MPO') else to_rgb(image)
            # A JPEG is decoded at an eighth of its size where that is enough.
            small.thumbnail((max_size, max_size), Image.Resampling.LANCZOS, reducing_gap=2.0)
            copy = folder / f'{sample.name}.png'
            to_rgb(ImageOps.exif_transpose(small)).save(copy)
    except UNREADABLE as error:
        reason = unreadable_reason(error)
        raise InputError(f'{sample.image}: cannot read the image ({reason})') from None
    return Sample(copy, None, sample.origin), (height, width)


def upright(path: Path) -> Image.Image:
    """A photograph as it is to be shown, RGB, at its own size."""
    with Image.open(path) as image:
        return to_rgb(ImageOps.exif_transpose(image))


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


def enlarge(labels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels at another (height, width): each pixel takes the nearest, rounded down."""
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(labels.shape, size, strict=True)
    )
    return labels[rows][:, columns]

"""Label maps and other maps of one value a pixel: read by their values, and written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplablib.data.images import UNREADABLE, size_text, unreadable_reason
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES, colour_map
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import replacing
from deeplablib.utils.unpickling import read_npy

_BIT_DEPTH = 24  # of a PNG: the byte that says how many bits a sample has
_PALETTE = colour_map().tobytes()


def read_grey(path: str | Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Read a localization cue or a saliency map.

    path: an 8-bit grey PNG. size: (height, width) of its image.
    Returns a uint8 array [height, width].
    Raises InputError when it cannot be read, is of another kind or has another size.
    """
    try:
        with Image.open(path) as image:
            if image.mode != 'L':
                raise InputError(f'{path}: expected an 8-bit grey PNG, this is {image.mode}')
            grey = np.array(image)
    except UNREADABLE as error:
        raise InputError(f'{path}: cannot read the map ({unreadable_reason(error)})') from None
    if grey.shape != tuple(size):
        raise InputError(f'{path}: the map is {size_text(grey.shape)}, its image {size_text(size)}')
    return grey


def read_cams(path: str | Path, size: tuple[int, int]) -> dict[int, npt.NDArray[np.uint8]]:
    """Read the class activation maps of an image as IRN and the programs around it save them.

    path: a dictionary that NumPy has saved (.npy), {'keys': classes, 'high_res': maps} or
    {class: map}, the classes counted from 0 without background, the maps 0 to 1.
    size: (height, width) of the image.
    Returns a dict from class id, background being 0, to uint8 [height, width], 255 for 1.
    Raises OSError when it cannot be read, InputError when it is another dictionary or the maps
    have another size.
    """
    cams = read_npy(path)
    keys, high_res = (np.atleast_1d(cams.get(key, ())) for key in ('keys', 'high_res'))
    if len(keys) == len(high_res) > 0:
        cams = dict(zip(keys, high_res, strict=True))
    maps = {}
    for key, values in cams.items():
        if np.shape(values) != tuple(size) or not isinstance(key, int | np.integer):
            raise InputError(
                f'{path}: expected maps of {size_text(size)}, the size of the image, under '
                f'"keys" and "high_res" or the number of a class; {key} is {np.shape(values)}'
            )
        maps[int(key) + 1] = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return maps


def read_mask(
    path: str | Path,
    num_classes: int = NUM_CLASSES,
    size: tuple[int, int] | None = None,
    ignore_label: int | None = IGNORE_LABEL,
) -> npt.NDArray[np.uint8]:
    """Read a label map by its indices, and check them.

    path: as for read_indices, with values 0 .. num_classes - 1 and ignore_label.
    size: expected (height, width), or None for any.
    ignore_label: value of pixels that belong to no class; None when there must be none.
    Returns a uint8 array [height, width] of classes, and 255 where there is none.
    Raises InputError when the file cannot be read, is no label map, has another size, holds
    another value, or shows other classes by its palette; the message names the file and the value.
    """
    mask, palette = read_indices(path)
    if size is not None:
        check_size(path, mask, size)
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    wrong = [value for value in values if value >= num_classes and value != ignore_label]
    if wrong:
        legal = f'0 to {num_classes - 1}'
        legal += f' or {ignore_label}' if ignore_label is not None else ''
        raise InputError(f'{path}: value {wrong[0]} is no class (legal: {legal})')
    shown = reordered(values, palette, num_classes)
    if shown:
        index, label = next(pair for pair in shown.items() if pair[0] != pair[1])
        raise InputError(
            f'{path}: its palette has the VOC colours in another order: index {index} is shown in '
            f'the colour of class {label}; save it as a grey PNG of class ids'
        )
    if ignore_label is not None:
        mask[mask == ignore_label] = IGNORE_LABEL
    return mask


def check_size(path: str | Path, mask: npt.NDArray[np.uint8], size: tuple[int, int]) -> None:
    """Raise InputError when a mask, read from path, has not the (height, width) it should have."""
    if mask.shape != tuple(size):
        raise InputError(
            f'{path}: the mask is {size_text(mask.shape)}, its image or prediction is '
            f'{size_text(size)}'
        )


def read_indices(
    path: str | Path,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """Read a label map by its indices, whatever its bit depth, grey or with a palette.

    path: a PNG, whose values are at most 255. Returns a uint8 array [height, width] and the
    palette, uint8 [colours, 3], or None.
    Raises InputError when it cannot be read, has a larger value or is another kind of picture.
    """
    try:
        with open(path, 'rb') as file, Image.open(file) as image:
            if image.mode not in ('1', 'L', 'P', 'I;16') or image.format != 'PNG':
                raise InputError(
                    f'{path}: a mask must be an 8-bit grey or palette PNG, this is {image.mode} '
                    f'{image.format}'
                )
            file.seek(_BIT_DEPTH)
            bits = file.read(1)[0]
            indices = np.array(image)
            palette = image.getpalette()
    except UNREADABLE as error:
        raise InputError(f'{path}: cannot read the mask ({unreadable_reason(error)})') from None
    if indices.max() > IGNORE_LABEL:
        raise InputError(f'{path}: value {indices.max()} is no class')
    indices = indices.astype(np.uint8)
    if palette is not None:
        return indices, np.array(palette, np.uint8).reshape(-1, 3)
    # Pillow stretches 2 and 4 bits of grey over 0 to 255.
    return (indices // (255 // (2**bits - 1)) if bits in (2, 4) else indices), None


def reordered(
    values: npt.NDArray[np.integer],
    palette: npt.NDArray[np.uint8] | None,
    num_classes: int = NUM_CLASSES,
) -> Mapping[int, int | None]:
    """Find out whether a palette has the VOC colours, but not each at its own index.

    Programs that reduce the colours of a picture give them new numbers. Such a mask looks right and
    is wrong. Nothing is said of a palette with any other colour among those that are used.

    values: the indices that occur. palette: uint8 [colours, 3], or None. num_classes: only the
    colours of so many classes, and of ignored pixels, count.
    Returns a dict from each index to the class whose colour it has; empty when nothing is wrong.
    """
    if palette is None or max(values) >= len(palette):
        return {}
    voc = colour_map()
    classes = {tuple(voc[label]): int(label) for label in (*range(num_classes), IGNORE_LABEL)}
    shown = {int(value): classes.get(tuple(palette[value])) for value in values}
    distinct = None not in shown.values() and len(set(shown.values())) == len(shown)
    return shown if distinct and any(i != label for i, label in shown.items()) else {}


def write_mask(path: str | Path, labels: npt.NDArray[np.uint8]) -> None:
    """Write a label map as an 8-bit palette PNG with the VOC colours, whole or not at all.

    path: where it goes. labels: uint8 array [height, width].
    """
    image = Image.fromarray(labels)
    image.putpalette(_PALETTE)
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')

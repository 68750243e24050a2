"""Reading images and masks, and writing predictions, in the formats that the lists name."""

import os

import numpy as np
from PIL import Image, UnidentifiedImageError

from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES, colour_map
from deeplablib.run.errors import InputError
from deeplablib.run.files import replacing

# Blue, green, red: the mean colour that the released weights were trained with.
IMG_MEAN = (104.00698793, 116.66876762, 122.67891434)

# What Pillow raises for a file that is no image, is damaged, or is too large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

_PALETTE = colour_map().tobytes()
_ENDS = {'JPEG': b'\xff\xd9', 'MPO': b'\xff\xd9', 'PNG': b'IEND'}  # MPO: JPEGs in one file
_TAIL = 4096  # where the end must be; some cameras pad a JPEG behind it


def image_size(path):
    """The (height, width) of an image that looks whole; only its header and its end are read.

    path: a JPEG or PNG. Raises InputError when it is neither, cannot be read or is cut off.
    """
    try:
        with Image.open(path) as image:
            kind, (width, height) = image.format, image.size
        if kind not in _ENDS:
            raise InputError(f'cannot read the image {path} ({kind}, expected JPEG or PNG)')
        with open(path, 'rb') as file:
            file.seek(-min(_TAIL, os.path.getsize(path)), os.SEEK_END)
            if _ENDS[kind] not in file.read():
                raise InputError(f'cannot read the image {path} (it is cut off)')
    except UNREADABLE as error:
        reason = unreadable_reason(error)
        raise InputError(f'cannot read the image {path} ({reason})') from None
    return height, width


def read_image(path):
    """Read an image where TensorFlow is not at hand.

    A JPEG differs by a level or two from that of network_input.decode_image.
    path: a JPEG or PNG; grey is repeated, alpha left out.
    Returns a uint8 array [height, width, 3], RGB. Raises InputError when it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert('RGB'))
    except UNREADABLE as error:
        raise InputError(f'{path}: cannot read the image ({unreadable_reason(error)})') from None


def read_grey(path, size):
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


def read_mask(path, num_classes=NUM_CLASSES, size=None, ignore_label=IGNORE_LABEL):
    """Read a label map by its indices, whether the PNG is grey or has a palette.

    path: an 8-bit PNG with values 0 .. num_classes - 1 and ignore_label.
    size: expected (height, width), or None for any.
    ignore_label: value of pixels that belong to no class; None when there must be none.
    Returns a uint8 array [height, width].
    Raises InputError when the file cannot be read, is no label map, has another size, or holds
    another value; the message names the file and the value.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ('L', 'P') or image.format != 'PNG':
                raise InputError(
                    f'{path}: a mask must be an 8-bit grey or palette PNG, this is {image.mode} '
                    f'{image.format}'
                )
            mask = np.array(image)
    except UNREADABLE as error:
        raise InputError(f'{path}: cannot read the mask ({unreadable_reason(error)})') from None
    if size is not None and mask.shape != tuple(size):
        raise InputError(
            f'{path}: the mask is {size_text(mask.shape)}, its image or prediction is '
            f'{size_text(size)}'
        )
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    wrong = [value for value in values if value >= num_classes and value != ignore_label]
    if wrong:
        legal = f'0 to {num_classes - 1}' + (f' or {ignore_label}' if ignore_label else '')
        raise InputError(f'{path}: value {wrong[0]} is no class (legal: {legal})')
    return mask


def write_mask(path, labels):
    """Write a label map as an 8-bit palette PNG with the VOC colours, whole or not at all.

    path: where it goes. labels: uint8 array [height, width].
    """
    image = Image.fromarray(labels)
    image.putpalette(_PALETTE)
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


def write_image(path, pixels):
    """Write a grey or colour PNG, whole or not at all.

    path: where it goes. pixels: uint8 array [height, width] or [height, width, 3].
    """
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format='PNG')


def size_text(shape):
    """The size of an array [height, width, ...] as people write it: WIDTHxHEIGHT."""
    return f'{shape[1]}x{shape[0]}'


def unreadable_reason(error):
    """What to tell a user of one of UNREADABLE."""
    if isinstance(error, UnidentifiedImageError):
        return 'not a JPEG or PNG'
    return getattr(error, 'strerror', None) or str(error)

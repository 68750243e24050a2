"""Photographs: every one is opened here, by what it holds; what it is called does not matter."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from deeplablib.utils.errors import InputError
from deeplablib.utils.files import replacing

# Blue, green, red: the mean colour that the released weights were trained with.
IMG_MEAN = (104.00698793, 116.66876762, 122.67891434)

# What is read; of an animation, of TIFF's pages and of MPO's several JPEGs, the first picture.
FORMATS = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'AVIF')
_JPEGS = ('JPEG', 'MPO')

# What Pillow raises for a file that is no image, is damaged, or is too large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

_SCAN, _JPEG_END = b'\xff\xda', b'\xff\xd9'
_PNG_START = b'\x89PNG\r\n\x1a\n'

# What EXIF's orientation, 2 to 8, says of how the stored picture has to be shown.
TURNS = {
    2: 'mirrored',
    3: 'turned by 180 degrees',
    4: 'upside down and mirrored',
    5: 'on its side and mirrored',
    6: 'on its side',
    7: 'on its side and mirrored',
    8: 'on its side',
}
LYING = (TURNS[5], TURNS[6])  # those that have height and width changed over

# Pillow warns of transparency, odd EXIF and large images: nothing that a user has to correct.
warnings.filterwarnings('ignore', module='PIL')


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open a photograph, for Pillow to decode.

    path: one of FORMATS. Yields a PIL.Image, whose pixels to_rgb gives.
    Raises InputError, also out of the block, when it is of another kind or cannot be read.
    """
    try:
        with Image.open(path) as image:
            if image.format not in FORMATS or image.mode in ('I', 'F'):
                raise InputError(
                    f'cannot read the image {path} ({image.format} {image.mode}, expected '
                    f'{", ".join(FORMATS)} of 8 or 16 bits)'
                )
            # The programs that write the inks inverted say so by Adobe's marker; Pillow takes
            # every CMYK JPEG for one of these.
            negative = image.format in _JPEGS and image.mode == 'CMYK'
            image.info['negative'] = negative and 'adobe' not in image.info
            yield image
    except UNREADABLE as error:
        reason = unreadable_reason(error)
        raise InputError(f'cannot read the image {path} ({reason})') from None


def is_image(path: str | Path) -> bool:
    """Whether open_image takes a file."""
    try:
        with open_image(path):
            return True
    except InputError:
        return False


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image as TensorFlow's decoders do.

    image: PIL.Image, from open_image. Grey is repeated, alpha left out, 16 bits cut to the upper 8.
    Returns a PIL.Image of mode RGB.
    """
    if image.mode.startswith('I;16'):  # Pillow would make white of all but the darkest
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    if image.info.get('negative'):
        image = ImageChops.invert(image)
    return image.convert('RGB')


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read an image where TensorFlow is not at hand.

    A JPEG differs by a level or two from that of network_input.load_image.
    path: one of FORMATS. Returns a uint8 array [height, width, 3], RGB.
    Raises InputError when it cannot be read.
    """
    with open_image(path) as image:
        return np.array(to_rgb(image))


def image_contents(path: str | Path) -> bytes:
    """The bytes of an image, for TensorFlow to decode: the picture that read_image reads.

    path: one of FORMATS. Returns a JPEG or PNG: the file as it is, or a PNG made of it where
    TensorFlow does not read its kind. Raises InputError when it cannot be read.
    """
    with open_image(path) as image:
        if image.format == 'PNG' or image.format in _JPEGS and image.mode != 'CMYK':
            return Path(path).read_bytes()
        buffer = io.BytesIO()
        to_rgb(image).save(buffer, 'PNG', compress_level=1)
        return buffer.getvalue()


def read_header(path: str | Path) -> tuple[tuple[int, int], str | None]:
    """The size of an image that has an end, and how it would have to be turned.

    path: one of FORMATS; what stands behind its end, such as the video of a phone, does not matter.
    The pixels of a JPEG or PNG are not decoded.
    Returns ((height, width), one of TURNS or None).
    Raises InputError when it cannot be read or is cut off.
    """
    with open_image(path) as image:
        kind, (width, height), turn = image.format, image.size, exif_turn(image)
        if kind not in (*_JPEGS, 'PNG'):
            image.load()
        elif not (_png_ends(path) if kind == 'PNG' else _jpeg_ends(path)):
            raise InputError(f'cannot read the image {path} (it is cut off)')
    return (height, width), turn


def _jpeg_ends(path):
    """Whether the marker of the end is there, behind the start of the first scan.

    Segments before it are passed over by their lengths: one may hold a whole JPEG as thumbnail. In
    a scan the two bytes of the marker stand for nothing else (ITU T.81, B.1.1.5).
    """
    with open(path, 'rb') as file:
        file.seek(-len(_JPEG_END), os.SEEK_END)
        if file.read() == _JPEG_END:
            return True
        file.seek(len(_JPEG_END))
        while (marker := file.read(2)) != _SCAN:
            if len(marker) < 2 or marker[0] != 0xFF:
                return False
            if marker[1] == 0xFF:  # any number of them may stand before a marker
                file.seek(-1, os.SEEK_CUR)
                continue
            file.seek(int.from_bytes(file.read(2), 'big') - 2, os.SEEK_CUR)
        return _JPEG_END in file.read()


def _png_ends(path):
    """Whether the chunks lead to the last one, IEND."""
    with open(path, 'rb') as file:
        file.seek(len(_PNG_START))
        while len(head := file.read(8)) == 8:
            if head[4:] == b'IEND':
                return True
            file.seek(int.from_bytes(head[:4], 'big') + 4, os.SEEK_CUR)  # 4: the checksum
    return False


def exif_turn(image: Image.Image) -> str | None:
    """What EXIF says of how a photograph was held.

    image: an open PIL.Image. Returns one of TURNS, or None when it is upright or nothing is said.
    """
    if image.format == 'PNG' and 'exif' not in image.info:
        return None  # Pillow would decode the whole picture to look behind it
    if image.format == 'TIFF':
        return None  # Pillow turns it itself
    return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def write_image(path: str | Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a grey or colour PNG, whole or not at all.

    path: where it goes. pixels: uint8 array [height, width] or [height, width, 3].
    """
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format='PNG')


def size_text(shape: Sequence[int]) -> str:
    """The size of an array [height, width, ...] as people write it: WIDTHxHEIGHT."""
    return f'{shape[1]}x{shape[0]}'


def unreadable_reason(error: Exception) -> str:
    """What to tell a user of one of UNREADABLE."""
    if isinstance(error, UnidentifiedImageError):
        return 'not an image'
    if isinstance(error, Image.DecompressionBombError):
        pixels = str(error).split()[2].strip('(')
        return f'{pixels} pixels; at most {2 * (Image.MAX_IMAGE_PIXELS or 0)}'
    return getattr(error, 'strerror', None) or str(error)

"""What an image file says of itself, read without decoding its pixels."""

import os
from pathlib import Path

from PIL import ExifTags, Image

from deeplablib.data.images import UNREADABLE, unreadable_reason
from deeplablib.utils.errors import InputError

_SCAN, _JPEG_END = b'\xff\xda', b'\xff\xd9'
_PNG_START = b'\x89PNG\r\n\x1a\n'
_JPEGS = ('JPEG', 'MPO')  # MPO: several JPEGs in one file, of which the first is taken

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


def image_size(path: str | Path) -> tuple[int, int]:
    """The (height, width) of an image that has an end; its pixels are not decoded.

    path: a JPEG or PNG; what stands behind its end, such as the video of a phone, does not matter.
    Raises InputError when it is neither, cannot be read or is cut off.
    """
    return read_header(path)[0]


def read_header(path: str | Path) -> tuple[tuple[int, int], str | None]:
    """The size of an image and how it would have to be turned.

    path: as for image_size. Returns ((height, width), one of TURNS or None). Raises as image_size.
    """
    try:
        with Image.open(path) as image:
            kind, (width, height), turn = image.format, image.size, exif_turn(image)
        if kind not in (*_JPEGS, 'PNG'):
            raise InputError(f'cannot read the image {path} ({kind}, expected JPEG or PNG)')
        if not (_jpeg_ends(path) if kind in _JPEGS else _png_ends(path)):
            raise InputError(f'cannot read the image {path} (it is cut off)')
    except UNREADABLE as error:
        reason = unreadable_reason(error)
        raise InputError(f'cannot read the image {path} ({reason})') from None
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
    return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))

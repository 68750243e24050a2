"""List files: which images, and which masks, a script works on."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import replacing

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png')


@dataclass(frozen=True)
class Sample:
    """One line of a list.

    image: path of the image. mask: path of its mask, or None. origin: 'LIST, line N', for messages.
    """

    image: Path
    mask: Path | None
    origin: str

    @property
    def name(self) -> str:
        """The image's file name without its extension; predictions are saved under it."""
        return self.image.stem


def read_list(data_list: str | Path, data_dir: str | Path) -> list[Sample]:
    """Read a list file.

    A line is one of
    - an image and its mask, '/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png', with white space
      or a comma between;
    - an image alone;
    - a bare NAME, without a slash, of an image in JPEGImages or in the data directory.
    Blank lines do not count.

    data_list: path of the list. data_dir: folder that its paths start from.
    Returns a list of Sample, in the order of the file.
    Raises InputError when the list cannot be read, is empty, or a line has more than two fields.
    """
    data_list, data_dir = Path(data_list), Path(data_dir)
    try:
        # A path may not be UTF-8; a file with zeros in it is no list.
        text = data_list.read_text(encoding='utf-8-sig', errors='surrogateescape')
    except OSError as error:
        raise InputError(
            f"{data_list}: cannot read the list ({error.strerror}); VOC's are made by "
            'python -m deeplablib.data.prepare_voc'
        ) from None
    if '\0' in text:
        raise InputError(f'{data_list}: not a text file')
    samples, faults = [], []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if ',' in fields or ',' in line and not _find(data_dir, fields[0]).is_file():
            fields = line.replace(',', ' ').split()
        origin = f'{data_list}, line {number}'
        if len(fields) > 2:
            faults.append(f'{origin}: {len(fields)} fields, expected "IMAGE MASK" or "IMAGE"')
        elif fields:
            mask = data_dir / fields[1].lstrip('/') if fields[1:] else None
            samples.append(Sample(_find(data_dir, fields[0]), mask, origin))
    raise_all(faults)
    if not samples:
        raise InputError(f'{data_list}: the list is empty')
    return samples


def masks_of(samples: Sequence[Sample]) -> list[Path]:
    """The path of each sample's mask. Raises InputError naming every sample that has none."""
    raise_all([f'{s.origin}: no mask is named' for s in samples if s.mask is None])
    return [sample.mask for sample in samples if sample.mask is not None]


def check_files_of(
    samples: Sequence[Sample], folder: Path, kind: str, ending: str = '.png'
) -> None:
    """Check that each image has its file in a folder, FOLDER/NAME.png.

    folder: Path. kind: what the file is called in messages.
    ending: of the file, where it is not .png. Raises InputError naming every file that is missing.
    """
    paths = [(sample, folder / f'{sample.name}{ending}') for sample in samples]
    raise_all([f'{s.origin}: no {kind} at {path}' for s, path in paths if not path.is_file()])


def write_list(path: str | Path, pairs: Iterable[Sequence[Path]], data_dir: str | Path) -> None:
    """Write a list file that read_list reads back, whole or not at all.

    path: where it goes. pairs: list of (image, mask) paths. data_dir: the folder that the list's
    paths will start from; a file outside it is named by way of '..'.
    Raises InputError for paths with white space in them, where a line is cut: all of them at once.
    """
    pairs = list(pairs)
    files = [file for pair in pairs for file in pair]
    spaced = [file for file in files if any(c.isspace() for c in _from(data_dir, file))]
    raise_all([f'{file}: a list cannot hold a path with white space' for file in spaced])
    lines = [' '.join(_from(data_dir, file) for file in pair) for pair in pairs]
    with replacing(path) as temporary:
        text = ''.join(f'{line}\n' for line in lines)
        temporary.write_text(text, errors='surrogateescape')  # a path may not be UTF-8


def _from(data_dir, file):
    try:
        relative = file.relative_to(data_dir)
    except ValueError:
        # '..' leads out of where a link points to, so links are followed first.
        relative = os.path.relpath(file.resolve(), Path(data_dir).resolve())
    return f'/{Path(relative).as_posix()}'


def _find(data_dir, field):
    """The image that a list names: where it says, or for a bare name where it is."""
    if '/' in field:
        return data_dir / field.lstrip('/')
    folder = data_dir / 'JPEGImages'
    if field.lower().endswith(IMAGE_ENDINGS):
        places = [data_dir / field, folder / field]
    else:
        endings = [*IMAGE_ENDINGS, *(ending.upper() for ending in IMAGE_ENDINGS), '']
        places = [place / f'{field}{ending}' for place in (folder, data_dir) for ending in endings]
    return next((place for place in places if place.is_file()), places[0])

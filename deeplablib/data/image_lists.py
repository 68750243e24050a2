"""List files: which images, and which masks, a script works on."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplablib.data.images import is_image
from deeplablib.utils.errors import MOST_SHOWN, InputError, raise_all
from deeplablib.utils.files import list_files, read_lines, replacing

IMAGE_ENDINGS = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.mpo', '.png', '.webp', '.tif', '.tiff', '.bmp', '.gif',
    '.avif',
)  # fmt: skip


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


def find_images(place: str | Path) -> list[Path]:
    """The photographs of a folder, or those that a pattern such as 'photos/*.png' names, by name.

    They are known by their endings, or by what they hold; folders in a folder are not searched.
    Says so when anything else is there. Raises InputError when there is none.
    """
    if Path(place).is_dir():
        found = sorted(Path(place).glob('[!.]*'))
    else:
        named = glob.glob(str(place), recursive=True)
        found = sorted(path for path in map(Path, named) if path.is_file())
    images: list[Path] = []
    others: list[Path] = []
    for path in found:
        known = path.name.lower().endswith(IMAGE_ENDINGS) or is_image(path)
        (images if known and path.is_file() else others).append(path)
    left_out = f'{len(others)} others, such as {others[0]}' if others else ''
    if not images:
        held = f' ({left_out})' if others else ''
        raise InputError(f'{place}: no photographs here{held}')
    if others:
        print(f'note: {len(images)} photographs are in {place}; {left_out}, are left out')
    return images


def read_list(data_list: str | Path, data_dir: str | Path) -> list[Sample]:
    """Read a list file.

    A line is one of
    - an image and its mask, '/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png', with white space
      or a comma between, or a tab where a path has white space;
    - an image alone;
    - a bare NAME, without a slash, of an image in JPEGImages or in the data directory.
    Blank lines do not count. Says so when a line names the same files as an earlier one.

    data_list: path of the list. data_dir: folder that its paths start from.
    Returns a list of Sample, in the order of the file.
    Raises InputError when the list cannot be read, is empty, or a line has more than two fields.
    """
    data_list, data_dir = Path(data_list), Path(data_dir)
    try:
        lines = read_lines(data_list)
    except OSError as error:
        raise InputError(
            f"{data_list}: cannot read the list ({error.strerror}); VOC's are made by "
            'python -m deeplablib.data.prepare_voc'
        ) from None
    samples, faults = [], []
    first: dict[tuple[Path, Path | None], str] = {}
    again = []
    for number, line in enumerate(lines, 1):
        fields = _fields(line, data_dir)
        origin = f'{data_list}, line {number}'
        if len(fields) > 2:
            faults.append(
                f'{origin}: {len(fields)} fields, expected "IMAGE MASK" or "IMAGE" (with a tab '
                'between where a path has white space)'
            )
        elif fields:
            image = _find(data_dir, fields[0])
            mask = _place(data_dir, fields[1]) if fields[1:] else None
            samples.append(Sample(image, mask, origin))
            if first.setdefault((image, mask), origin) != origin:
                again.append(f'line {number} ({image})')
    raise_all(faults)
    if not samples:
        raise InputError(f'{data_list}: the list is empty')
    if again:
        print(
            f'note: {data_list}: {len(again)} of {len(samples)} lines stand there before, such as '
            + again[0]
        )
    return samples


def masks_of(samples: Sequence[Sample]) -> list[Path]:
    """The path of each sample's mask. Raises InputError naming every sample that has none."""
    raise_all([f'{s.origin}: no mask is named' for s in samples if s.mask is None])
    return [sample.mask for sample in samples if sample.mask is not None]


def check_files_of(
    samples: Sequence[Sample], folder: str | Path, kind: str, ending: str = '.png'
) -> None:
    """Check that each image has its file in a folder, FOLDER/NAME.png.

    kind: what the file is called in messages. ending: of the file, where it is not .png.
    Raises InputError naming every file that is missing.
    """
    check_files([(sample, kind, Path(folder, f'{sample.name}{ending}')) for sample in samples])


def check_files(files: Iterable[tuple[Sample, str, Path]]) -> None:
    """Check that files are there.

    files: of each the sample it belongs to, what it is called in messages, and its path.
    Raises InputError naming every file that is missing, and what is there in place of the first.
    """
    faults: list[str] = []
    for sample, kind, path in files:
        if not path.is_file():
            hint = _alike(path) if len(faults) < MOST_SHOWN else ''
            faults.append(f'{sample.origin}: no {kind} at {path}{hint}')
    raise_all(faults)


def write_list(path: str | Path, pairs: Iterable[Sequence[Path]], data_dir: str | Path) -> None:
    """Write a list file that read_list reads back, whole or not at all.

    path: where it goes. pairs: list of (image, mask) paths. data_dir: the folder that the list's
    paths will start from; a file outside it is named by way of '..'.
    A line has a tab between, or behind an image alone, where a path has white space or a comma.
    """
    lines = []
    for pair in pairs:
        fields = [_from(data_dir, file) for file in pair]
        plain = all(len(field.split()) == 1 and ',' not in field for field in fields)
        lines.append(' '.join(fields) if plain else '\t'.join([*fields, '']))
    with replacing(path) as temporary:
        text = ''.join(f'{line}\n' for line in lines)
        temporary.write_text(text, errors='surrogateescape')  # a path may not be UTF-8


def _fields(line, data_dir):
    """The paths on a line."""
    fields = line.split()
    if '\t' in line:
        fields = line.split('\t')
    elif ',' in fields or (fields[1:] or ',' in line) and not _find(data_dir, fields[0]).is_file():
        whole = line.strip()
        is_one = _find(data_dir, whole).is_file()
        fields = [whole] if is_one else line.split(',') if ',' in line else fields
    return [field.strip() for field in fields if field.strip()]


def _from(data_dir, file):
    try:
        relative = file.relative_to(data_dir)
    except ValueError:
        # '..' leads out of where a link points to, so links are followed first.
        relative = os.path.relpath(file.resolve(), Path(data_dir).resolve())
    return f'/{Path(relative).as_posix()}'


def _place(data_dir, field):
    """Where a path of a list leads: from the data directory, if anything is there.

    Otherwise from the root, and with Windows' backslashes taken for slashes.
    """
    place = data_dir / field.lstrip('/')
    if field[0] == '/' and not place.exists() and Path(field).exists():
        return Path(field)
    if '\\' in field and not place.exists():
        return _place(data_dir, field.replace('\\', '/'))
    return place


def _find(data_dir, field):
    """The image that a list names: where it says, or for a bare name where it is."""
    if '/' in field or '\\' in field:
        return _place(data_dir, field)
    folder = data_dir / 'JPEGImages'
    if field.lower().endswith(IMAGE_ENDINGS):
        places = [data_dir / field, folder / field]
    else:
        endings = [*IMAGE_ENDINGS, *(ending.upper() for ending in IMAGE_ENDINGS), '']
        places = [place / f'{field}{ending}' for place in (folder, data_dir) for ending in endings]
    return next((place for place in places if place.is_file()), places[0])


def _alike(path):
    """What to say of the place where a file is not."""
    if not path.parent.is_dir():
        return f' (no folder {path.parent}; a list starts from the data directory)'
    wanted = path.stem.lower()
    alike = [file.name for file in list_files(path.parent) if file.stem.lower() == wanted]
    return f' (there is {", ".join(alike[:3])})' if alike else ''

"""Image-level tags: which classes are in an image."""

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import class_ids
from deeplablib.data.image_lists import IMAGE_ENDINGS, Sample
from deeplablib.data.voc import CLASSES
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files, make_output_folder, read_lines, replacing
from deeplablib.utils.unpickling import read_npy

MOST_NAMED = 40  # classes that an error names
# What the first column of a CSV file of tags may be called.
CSV_NAMES = ('name', 'image', 'image_name', 'image_id', 'filename', 'file', 'file_name', 'id')


def read_tags(path: str | Path, classes: tuple[str, ...] = CLASSES) -> dict[str, tuple[int, ...]]:
    """Read the tags of many images, by class id or by name.

    path: one of
    - a folder of NAME.txt files, an id or a name a line;
    - a folder with a folder for each class, named after it, of the images that show it;
    - a text file, 'NAME tag tag ...' a line, or with commas or tabs: 'NAME, tag, tag';
    - a CSV file (.csv), whose first line names its columns: 'name' and one column of tags, or
      'name' and one column for each class, with 1 where the image shows it;
    - a dictionary that NumPy has saved (.npy), {name: 0 or 1 for each class}, as cls_labels.npy of
      IRN and the programs that follow it.
    NAME is the image's, with or without folder and extension.
    classes: names of the classes, background first; it is no tag.
    Returns a dict from image name to an ascending tuple of ids.
    Raises InputError when it cannot be read, or for a tag that is no class (all of them at once).
    """
    path = Path(path)
    try:
        if path.is_dir():
            rows = list(_rows_of_folder(path, classes))
        elif path.suffix.lower() == '.csv':
            rows = list(_rows_of_csv(path, classes))
        elif path.suffix.lower() == '.npy':
            rows = list(_rows_of_npy(path, classes))
        else:
            rows = list(_rows_of_text(path))
    except OSError as error:
        raise InputError(f'{path}: cannot read the tags ({error.strerror})') from None
    except UnicodeDecodeError:
        raise InputError(f'{path}: not a text file') from None
    except csv.Error as error:
        raise InputError(f'{path}: not a CSV file ({error})') from None
    tags: dict[str, tuple[int, ...]] = {}
    faults: list[str] = []
    for name, words, origin in rows:
        ids, wrong = class_ids(_apart(words, classes), classes)
        faults += [f'{origin}: {word} is no class ({_legal(classes)})' for word in wrong]
        name = _image_name(name)
        tags[name] = tuple(sorted({*tags.get(name, ()), *ids}))
    raise_all(faults)
    if not tags:
        raise InputError(f'{path}: no tags here')
    return tags


def _rows_of_text(path):
    """Name, tags and origin of each line of a text file."""
    for number, line in enumerate(read_lines(path), 1):
        apart = '\t' if '\t' in line else ',' if ',' in line else None
        name, *words = line.split(apart) or ['']
        if name.strip():
            yield name, words, f'{path}, line {number}'


def _rows_of_folder(path, classes):
    """The same of a folder with a file for each image, or with a folder for each class."""
    folders = sorted(inner for inner in path.glob('[!.]*') if inner.is_dir())
    for folder in folders:
        if class_ids([folder.name], classes)[1]:
            raise InputError(f'{folder}: {folder.name} is no class ({_legal(classes)})')
        yield from ((file.name, [folder.name], file) for file in list_files(folder))
    if not folders:
        for file in list_files(path, '.txt'):
            yield file.stem, read_lines(file), file


def _rows_of_csv(path, classes):
    """The same of a CSV file; tags that share a cell are apart by ; or |."""
    with path.open(newline='', encoding='utf-8-sig') as file:
        reader = csv.reader(file)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    first, *titles = rows[0][1] if rows else ['']
    if first.lower() not in CSV_NAMES or not titles:
        raise InputError(
            f'{path}: the first line must name the columns, "name,tags", or "name" and a class '
            f'each; it is "{",".join([first, *titles])}"'
        )
    unknown = class_ids(titles, classes)[1]
    by_class = len(titles) > 1 or not unknown
    if by_class and unknown:
        raise InputError(f'{path}: column {unknown[0]} is no class ({_legal(classes)})')
    for number, (name, *cells) in rows[1:]:
        origin = f'{path}, row {number}'
        if not by_class:
            yield name, re.split('[;|,]', ';'.join(cells)), origin
        elif len(cells) != len(titles) or not set(cells) <= {'0', '1', ''}:
            raise InputError(f'{origin}: expected 0 or 1 in each of {len(titles)} columns')
        else:
            shown = [title for title, cell in zip(titles, cells, strict=True) if cell == '1']
            yield name, shown, origin


def _rows_of_npy(path, classes):
    """The same of a dictionary from image name to 0 or 1 for each class, without background."""
    for name, shown in read_npy(path).items():
        origin = f'{path}, {name}'
        if np.shape(shown) != (len(classes) - 1,) or not set(np.unique(shown)) <= {0, 1}:
            raise InputError(f'{origin}: expected {len(classes) - 1} values, 0 or 1')
        # Programs that save names as numbers leave out VOC's underscore: 2007000032.
        name = re.sub(r'^(\d{4})(\d{6})$', r'\1_\2', str(name))
        yield name, [str(index + 1) for index in np.flatnonzero(shown)], origin


def _apart(words, classes):
    """Words without space around them, and cut at it where as a whole they are no class."""
    words = [word.strip() for word in words if word.strip()]
    whole = [[word] if not class_ids([word], classes)[1] else word.split() for word in words]
    return list(itertools.chain(*whole))


def _image_name(text):
    """The name of an image as its predictions have it: without folder and extension."""
    path = Path(text.strip().replace('\\', '/'))
    return path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name


def _legal(classes):
    named = classes[1 : 1 + MOST_NAMED]
    more = ', ...' if len(classes) - 1 > MOST_NAMED else ''
    return f'1 to {len(classes) - 1}: {", ".join(named)}{more}'


def write_tags(path: str | Path, tags: Mapping[str, Sequence[int]]) -> None:
    """Write tags in either format: a text file when the path ends in .txt, otherwise a folder.

    path: where they go. tags: as read_tags returns them. Each file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix == '.txt':
        apart = {name: '\t' if ',' in name or len(name.split()) > 1 else ' ' for name in tags}
        lines = [apart[name].join(map(str, (name, *ids))) for name, ids in sorted(tags.items())]
        files = {path: lines}
        make_output_folder(path.parent)
    else:
        folder = make_output_folder(path)
        files = {folder / f'{name}.txt': map(str, ids) for name, ids in tags.items()}
    for file, lines in files.items():
        with replacing(file) as temporary:
            text = ''.join(f'{line}\n' for line in lines)
            temporary.write_text(text, errors='surrogateescape')  # a name may not be UTF-8


def tags_of_annotation(path: str | Path, classes: tuple[str, ...] = CLASSES) -> tuple[int, ...]:
    """The classes of the objects in an annotation in VOC's format, `difficult` ones too.

    path: NAME.xml. classes: names of the classes, background first.
    Returns an ascending tuple of class ids.
    Raises InputError when it is no annotation or names an unknown class.
    """
    try:
        objects = ElementTree.parse(path).iter('object')
        names = [shown.findtext('name', '').strip() for shown in objects]
    except OSError as error:
        raise InputError(f'{path}: cannot read the annotation ({error.strerror})') from None
    except ElementTree.ParseError as error:
        raise InputError(f'{path}: not an XML file ({error})') from None
    wrong = [name for name in names if name not in classes[1:]]
    if wrong:
        raise InputError(f'{path}: {wrong[0]!r} is no class ({_legal(classes)})')
    return tuple(sorted({classes.index(name) for name in names}))


def read_allowed(
    path: str | Path, classes: tuple[str, ...], samples: Sequence[Sample]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Read the classes that may occur in each image: its tags and background.

    path, classes: as for read_tags. Returns a dict from image name to bool [classes].
    Raises InputError as read_tags does, and naming every sample without tags.
    """
    tags = read_tags(path, classes)
    some = ', '.join(itertools.islice(tags, 3))
    raise_all(
        [
            f'{s.origin}: no tags for {s.name} in {path}, which has {some}, ...'
            for s in samples
            if s.name not in tags
        ]
    )
    ids = np.arange(len(classes))
    return {s.name: np.isin(ids, (0, *tags[s.name])) for s in samples}

"""Image-level tags: which classes are in an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.voc import CLASSES, NUM_CLASSES
from deeplablib.run.errors import InputError, raise_all
from deeplablib.run.files import list_files, make_output_folder, replacing


def read_tags(path: str | Path, num_classes: int = NUM_CLASSES) -> dict[str, tuple[int, ...]]:
    """Read the tags of many images.

    path: a folder of NAME.txt files, one class id a line; or a text file, 'NAME id id ...' a line.
    num_classes: ids run from 1 to num_classes - 1.
    Returns a dict from image name to a sorted tuple of ids.
    Raises InputError when it cannot be read, or for an id that is no class (all of them at once).
    """
    path = Path(path)
    faults = []

    def ids(words, origin):
        wrong = [word for word in words if not (word.isdecimal() and 0 < int(word) < num_classes)]
        faults.extend(f'{origin}: {word} is no class (1 to {num_classes - 1})' for word in wrong)
        return tuple(sorted({int(word) for word in words} if not wrong else ()))

    try:
        if path.is_dir():
            files = list_files(path, '.txt')
            tags = {file.stem: ids(file.read_text('utf-8-sig').split(), file) for file in files}
        else:
            lines = [line.split() for line in path.read_text('utf-8-sig').splitlines()]
            tags = {
                words[0]: ids(words[1:], f'{path}, line {number}')
                for number, words in enumerate(lines, 1)
                if words
            }
    except OSError as error:
        raise InputError(f'{path}: cannot read the tags ({error.strerror})') from None
    except UnicodeDecodeError:
        raise InputError(f'{path}: not a text file') from None
    raise_all(faults)
    if not tags:
        raise InputError(f'{path}: no tags here')
    return tags


def write_tags(path: str | Path, tags: Mapping[str, Sequence[int]]) -> None:
    """Write tags in either format: a text file when the path ends in .txt, otherwise a folder.

    path: where they go. tags: as read_tags returns them. Each file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix == '.txt':
        lines = [' '.join(map(str, (name, *ids))) for name, ids in sorted(tags.items())]
        files = {path: lines}
        make_output_folder(path.parent)
    else:
        folder = make_output_folder(path)
        files = {folder / f'{name}.txt': map(str, ids) for name, ids in tags.items()}
    for file, lines in files.items():
        with replacing(file) as temporary:
            temporary.write_text(''.join(f'{line}\n' for line in lines))


def tags_of_annotation(path: str | Path) -> tuple[int, ...]:
    """The classes of the objects in a VOC annotation, `difficult` ones too.

    path: NAME.xml. Returns an ascending tuple of class ids.
    Raises InputError when it is no annotation or names an unknown class.
    """
    try:
        objects = ElementTree.parse(path).iter('object')
        names = [shown.findtext('name', '').strip() for shown in objects]
    except OSError as error:
        raise InputError(f'{path}: cannot read the annotation ({error.strerror})') from None
    except ElementTree.ParseError as error:
        raise InputError(f'{path}: not an XML file ({error})') from None
    wrong = [name for name in names if name not in CLASSES[1:]]
    if wrong:
        raise InputError(f'{path}: {wrong[0]!r} is no VOC class')
    return tuple(sorted({CLASSES.index(name) for name in names}))


def allowed_classes(
    tags: Mapping[str, Sequence[int]], samples: Sequence[Sample], num_classes: int = NUM_CLASSES
) -> dict[str, npt.NDArray[np.bool_]]:
    """The classes that may occur in each image: its tags and background.

    tags: from read_tags.
    Returns a dict from image name to a bool array [num_classes].
    Raises InputError naming every sample without tags.
    """
    raise_all([f'{s.origin}: no tags for {s.name}' for s in samples if s.name not in tags])
    classes = np.arange(num_classes)
    return {s.name: np.isin(classes, (0, *tags[s.name])) for s in samples}

"""The names of the classes, those of PASCAL VOC or a user's own, and how they are given."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from deeplablib.data.voc import CLASSES, IGNORE_LABEL, NUM_CLASSES
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import read_lines


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read the names of the classes from a file.

    path: a text file, a name a line, background first; blank lines do not count. LabelMe's first
    lines, __ignore__ and _background_, are no class and the background.
    Says so when the first name is another than background.
    Returns the names; each stands at its class id.
    Raises InputError when it cannot be read, for fewer than 2 or more than 255 names, for a name
    that is there twice or could not be told apart in tags, and for what is no list of names.
    """
    try:
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1)]
    except OSError as error:
        raise InputError(f'{path}: cannot read the classes ({error.strerror})') from None
    lines = [(number, name) for number, name in lines if name]
    if lines and lines[0][1] == '__ignore__':
        del lines[0]
    if not 2 <= len(lines) <= IGNORE_LABEL:
        raise InputError(
            f'{path}: {len(lines)} classes; expected 2 to {IGNORE_LABEL}, a name a line, '
            'background first'
        )
    first: dict[str, int] = {}
    faults = []
    for number, name in lines:
        if name in first:
            faults.append(f'{path}, line {number}: {name} is there already, line {first[name]}')
        if name.isdecimal() or re.search(r'[][,:=<>{}"]', name) or not name.isprintable():
            faults.append(
                f'{path}, line {number}: {name!r} is no name of a class; expected a name a line, '
                'without numbers and signs'
            )
        first.setdefault(name, number)
    raise_all(faults)
    names = [name for _, name in lines]
    names[0] = 'background' if names[0] == '_background_' else names[0]
    if names[0].lower() != 'background':
        print(f'note: {path}: class 0 is {names[0]}; where there is a background, it comes first')
    return tuple(names)


def default_classes(num_classes: int) -> tuple[str, ...]:
    """The names where none are given: those of VOC for 21 classes, otherwise 'class N'."""
    if num_classes == NUM_CLASSES:
        return CLASSES
    return tuple(f'class {index}' for index in range(num_classes))


def add_classes(
    parser: argparse._ActionsContainer,
    default: Sequence[str] | None = CLASSES,
    otherwise: str = "VOC's",
) -> None:
    """Add the flag --classes to a command line; it is read back as a tuple of names.

    default: without the flag. otherwise: what to call that.
    """
    parser.add_argument(
        '--classes',
        type=read_classes,
        default=default,
        metavar='FILE',
        help=f'names of the classes, one a line, background first (default: {otherwise})',
    )


def class_ids(words: list[str], classes: tuple[str, ...]) -> tuple[tuple[int, ...], list[str]]:
    """Turn what tags say, names or ids, into class ids.

    words: names of classes, in any case, with a space or an underscore between their words, or ids
    from 1 on. classes: names, background first; it is no tag.
    Returns the ids, ascending, and the words that are neither.
    """
    ids = {_plain(name): index for index, name in enumerate(classes)}
    ids |= {str(index): index for index in range(len(classes))}
    found = {word: ids.get(_plain(word)) for word in words}
    wrong = [word for word, index in found.items() if not index]
    return tuple(sorted({index for index in found.values() if index})), wrong


def _plain(name):
    return re.sub(r'[\s_]+', ' ', name.strip()).lower()

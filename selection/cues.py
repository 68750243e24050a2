"""Localization cues: NAME_<class id - 1>.png, where an image may show a class, 8-bit grey."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files


def cue_paths(folder: str | Path, name: str, allowed: npt.NDArray[np.bool_]) -> dict[int, Path]:
    """The cue of each tag of an image: a dict from class id to FOLDER/NAME_<class id - 1>.png.

    name: of the image. allowed: bool [classes], background first.
    """
    return {int(i): Path(folder) / f'{name}_{i - 1}.png' for i in np.flatnonzero(allowed[1:]) + 1}


def find_cues(folder: str | Path, num_classes: int) -> dict[str, dict[int, Path]]:
    """The cues of a folder: a dict from image name to a dict from class id to path.

    Says so when other files lie among them.
    Raises InputError when there are none, or for the number of no class.
    """
    cues: dict[str, dict[int, Path]] = {}
    others, faults = [], []
    for path in list_files(folder):
        name, _, number = path.stem.rpartition('_')
        numbered = number.isdecimal() and number == str(int(number))
        if path.suffix != '.png' or not name or not numbered:
            others.append(path)
            continue
        if int(number) >= num_classes - 1:
            faults.append(
                f'{path}: no class has the number {number} (0 to {num_classes - 2}, the class id '
                'less 1)'
            )
        cues.setdefault(name, {})[int(number) + 1] = path
    if not cues:
        raise InputError(f'{folder}: no cues (NAME_<class id - 1>.png) in this folder')
    raise_all(faults)
    if others:
        print(f'note: {len(others)} files are no cues, and are left out: {others[0]} ...')
    return cues


def check_numbering(
    folder: str | Path, pairs: Iterable[tuple[Collection[int], Collection[int]]]
) -> None:
    """See that cues are not numbered by the class id itself.

    folder: of the cues. pairs: for each image the class ids of its cues and those it truly shows.
    Raises InputError when numbers that are less by 1 would fit better.
    """
    fit = less = 0
    for cues, shown in pairs:
        fit += len(set(cues) & set(shown))
        less += len({index - 1 for index in cues} & set(shown))
    if less > fit:
        raise InputError(
            f'{folder}: the cues seem to be numbered by the class id; NAME_<class id - 1>.png is '
            f'read here, which fits {fit} classes of the images, the class id would fit {less}'
        )

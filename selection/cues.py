"""Localization cues: where an image may show a class.

NAME_<class id - 1>.png, 8-bit grey, or NAME.npy, the dictionary of class activation maps that irn
and the programs around it save (deeplablib.data.masks.read_cams).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.masks import read_cams, read_grey
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files


def cue_paths(folder: str | Path, name: str, allowed: npt.NDArray[np.bool_]) -> dict[int, Path]:
    """The cue of each tag of an image: a dict from class id to FOLDER/NAME_<class id - 1>.png.

    name: of the image. allowed: bool [classes], background first.
    """
    return {int(i): Path(folder) / f'{name}_{i - 1}.png' for i in np.flatnonzero(allowed[1:]) + 1}


def read_cues(
    folder: str | Path, name: str, allowed: npt.NDArray[np.bool_], size: tuple[int, int]
) -> dict[int, npt.NDArray[np.uint8]]:
    """Read the cues of an image in either form.

    name: of the image. allowed: bool [classes], those whose cues are read; a dictionary need not
    hold all. size: (height, width) of the image.
    Returns a dict from class id to uint8 [height, width].
    Raises InputError for a file that cannot be read, has another size or the number of no class.
    """
    path = Path(folder) / f'{name}.npy'
    if not path.is_file():
        paths = cue_paths(folder, name, allowed)
        return {index: read_grey(path, size) for index, path in paths.items()}
    cams = read_cams(path, size)
    for index in cams:
        if not 0 < index < len(allowed):
            raise InputError(f'{path}: {_no_class(index - 1, len(allowed))}')
    return {index: cam for index, cam in cams.items() if allowed[index]}


def find_cues(folder: str | Path, num_classes: int) -> dict[str, npt.NDArray[np.bool_]]:
    """The classes that images have cues of, as their names say: a dict from name to bool [classes].

    A dictionary may hold all. Says so when other files lie among them.
    Raises InputError when there are none, or for the number of no class.
    """
    cues: dict[str, npt.NDArray[np.bool_]] = {}
    others, faults = [], []
    for path in list_files(folder):
        name, _, number = path.stem.rpartition('_')
        numbered = name and number.isdecimal() and number == str(int(number))
        if path.suffix == '.npy':
            cues[path.stem] = np.arange(num_classes) > 0
        elif path.suffix != '.png' or not numbered:
            others.append(path)
        elif int(number) >= num_classes - 1:
            faults.append(f'{path}: {_no_class(number, num_classes)}')
        else:
            cues.setdefault(name, np.zeros(num_classes, bool))[int(number) + 1] = True
    raise_all(faults)
    if not cues:
        raise InputError(f'{folder}: no cues (NAME_<class id - 1>.png) in this folder')
    if others:
        print(f'note: {len(others)} files are no cues, and are left out: {others[0]} ...')
    return cues


def _no_class(number, num_classes):
    return f'no class has the number {number} (0 to {num_classes - 2}, the class id less 1)'


def check_numbering(
    folder: str | Path, pairs: Iterable[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]
) -> None:
    """See that cues are not numbered by the class id itself.

    folder: of the cues. pairs: for each image the classes of its cues and its true ones,
    bool [classes] each.
    Raises InputError when numbers that are less by 1 would fit better.
    """
    fit = less = 0
    for cues, truth in pairs:
        fit += int((cues & truth)[1:].sum())
        less += int((cues[2:] & truth[1:-1]).sum())
    if less > fit:
        raise InputError(
            f'{folder}: the cues seem to be numbered by the class id; the class id less 1 is '
            f'expected, which fits {fit} classes of the images, the class id would fit {less}'
        )

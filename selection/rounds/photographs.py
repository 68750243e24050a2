"""Somebody's own photographs: a folder of images, and the tags of each."""

from pathlib import Path

from deeplablib.data.image_lists import IMAGE_ENDINGS, write_list
from deeplablib.data.tags import read_tags
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files, make_output_folder
from selection.rounds.round_settings import DataPaths


def list_photographs(data: DataPaths) -> None:
    """Write the list of the photographs, data.train_list. Raises InputError as read_photographs."""
    photographs = read_photographs(data)
    make_output_folder(data.train_list.parent)
    write_list(data.train_list, [(path,) for path in photographs], photographs[0].parent)


def read_photographs(data: DataPaths) -> list[Path]:
    """The photographs in data.photographs, which must be those that have tags, in their order.

    Raises InputError for a photograph without tags, tags of one that is not there, for two of one
    name, and for a name with white space, which a list cannot hold: all of them at once.
    """
    folder, tags = data.photographs, data.tags
    if folder is None:
        raise ValueError('there are no photographs')
    paths = [path for path in list_files(folder) if path.name.lower().endswith(IMAGE_ENDINGS)]
    if not paths:
        raise InputError(
            f'{folder}: no images ({", ".join(IMAGE_ENDINGS)}) in this folder; folders in it are '
            'not searched: put all photographs into one'
        )
    known = read_tags(tags, data.class_names)
    by_name: dict[str, Path] = {}
    faults = []
    for path in paths:
        if path.stem in by_name:
            faults.append(f'{path}: has the name of {by_name[path.stem]}; rename one of them')
        if any(character.isspace() for character in path.name):
            faults.append(f'{path}: has white space in its name; rename it')
        elif path.stem not in known:
            faults.append(f'{path}: has no tags in {tags}')
        by_name.setdefault(path.stem, path)
    faults += [
        f'{tags}: has tags of {name}, and no image of that name is in {folder}'
        for name in known
        if name not in by_name
    ]
    raise_all(faults)
    return list(by_name.values())

"""Somebody's own photographs: a folder of images, and the tags of each."""

from pathlib import Path

from deeplablib.data.image_lists import IMAGE_ENDINGS, Sample
from deeplablib.data.tags import read_tags
from deeplablib.run.errors import InputError, raise_all
from deeplablib.run.files import list_files


def read_photographs(folder: Path, tags: Path, classes: tuple[str, ...]) -> list[Sample]:
    """The photographs of a folder, which must be those that have tags.

    folder: of images. tags: file or folder of tags, as for read_tags. classes: their names.
    Returns a list of Sample, in the order of their names.
    Raises InputError for a photograph without tags, tags of one that is not there, and for two of
    one name: all of them at once.
    """
    paths = [path for path in list_files(folder) if path.name.lower().endswith(IMAGE_ENDINGS)]
    if not paths:
        raise InputError(f'{folder}: no images ({", ".join(IMAGE_ENDINGS)}) in this folder')
    known = read_tags(tags, classes)
    by_name: dict[str, Path] = {}
    faults = []
    for path in paths:
        if path.stem in by_name:
            faults.append(f'{path}: has the name of {by_name[path.stem]}; rename one of them')
        if path.stem not in known:
            faults.append(f'{path}: has no tags in {tags}')
        by_name.setdefault(path.stem, path)
    faults += [
        f'{tags}: has tags of {name}, and no image of that name is in {folder}'
        for name in known
        if name not in by_name
    ]
    raise_all(faults)
    return [Sample(path, None, str(path)) for path in by_name.values()]

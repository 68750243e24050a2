"""Image-level tags from VOC annotations, or from masks.

python -m selection.make_tags --annotations ./VOC2012/Annotations --out ./result/tags.txt
python -m selection.make_tags --masks ./VOC2012/SegmentationClassAug --out ./result/ClassCategories
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import read_list
from deeplablib.data.images import read_mask
from deeplablib.data.tags import tags_of_annotation, write_tags
from deeplablib.data.voc import CLASSES, IGNORE_LABEL
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import list_files


def tags_of_mask(mask: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The classes in a mask: uint8 array, background and ignored pixels left out; a tuple."""
    return tuple(int(i) for i in np.unique(mask) if 0 < i < IGNORE_LABEL)


def make_tags(
    folder: str | Path,
    ending: str,
    names: Sequence[str] | None = None,
    jobs: int | str = -1,
    classes: Sequence[str] = CLASSES,
) -> dict[str, tuple[int, ...]]:
    """Read the tags of a folder.

    folder: of annotations or masks. ending: '.xml' or '.png'. names: images, or None for all.
    jobs: as for parallel.for_each. classes: their names.
    Returns a dict from image name to a tuple of class ids.
    Raises InputError for a missing folder or file.
    """
    folder = Path(folder)
    if names is None:
        names = [path.stem for path in list_files(folder, ending)]
    if not names:
        raise InputError(f'{folder}: no files *{ending} in this folder')
    paths = [folder / f'{name}{ending}' for name in names]
    errors.raise_all([f'no file {path}' for path in paths if not path.is_file()])
    found = parallel.for_each(partial(_tags, classes), paths, 'reading tags', jobs)
    return dict(zip(names, found, strict=True))


def _tags(classes, path):
    if path.suffix == '.xml':
        return tags_of_annotation(path, classes)
    return tags_of_mask(read_mask(path, len(classes)))


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--annotations', help='folder of VOC annotations, NAME.xml')
    source.add_argument('--masks', help='folder of masks, NAME.png')
    parser.add_argument('--data-list', help='images to make tags of (default: all in the folder)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('./result/tags.txt'),
        help='a .txt file, or a folder for one file an image (default: %(default)s)',
    )
    add_classes(parser)
    parallel.add_jobs(parser)
    return parser.parse_args()


def main() -> None:
    """Make the tags and write them."""
    args = get_arguments()
    parallel.check_workers(args.jobs)
    names = None
    if args.data_list:
        names = [sample.name for sample in read_list(args.data_list, '.')]
    if args.annotations:
        tags = make_tags(args.annotations, '.xml', names, args.jobs, args.classes)
    else:
        tags = make_tags(args.masks, '.png', names, args.jobs, args.classes)
    write_tags(args.out, tags)
    print(f'The tags of {len(tags)} images have been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

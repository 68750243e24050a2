"""Image-level tags from VOC annotations, or from masks.

python -m selection.make_tags --annotations ./VOC2012/Annotations --out ./result/tags.txt
python -m selection.make_tags --masks ./VOC2012/SegmentationClassAug --out ./result/ClassCategories
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import read_list
from deeplablib.data.masks import read_mask
from deeplablib.data.tags import tags_of_annotation, write_tags
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import files_by_name, list_files


def tags_of_mask(mask: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The classes in a mask: uint8 array, background and ignored pixels left out; a tuple."""
    return tuple(int(i) for i in np.unique(mask) if 0 < i < IGNORE_LABEL)


def tags_of_file(classes: tuple[str, ...], path: Path) -> tuple[int, ...]:
    """The classes of an annotation, NAME.xml, or of a mask; classes: their names."""
    if path.suffix.lower() == '.xml':
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
    folder, ending = Path(args.annotations or args.masks), '.xml' if args.annotations else '.png'
    files = files_by_name(folder, ending)
    if args.data_list:
        names = [sample.name for sample in read_list(args.data_list, '.')]
        files = {name: files.get(name, folder / f'{name}{ending}') for name in names}
        errors.raise_all([f'no file {path}' for path in files.values() if not path.is_file()])
    elif others := [p for p in list_files(folder) if p.suffix.lower() != ending]:
        print(f'note: {len(others)} files are no *{ending}, and are left out: {others[0]} ...')
    if not files:
        raise InputError(f'{folder}: no files *{ending} in this folder')
    work = partial(tags_of_file, args.classes)
    found = parallel.for_each(work, list(files.values()), 'reading tags', args.jobs)
    tags = dict(zip(files, found, strict=True))
    write_tags(args.out, tags)
    print(f'The tags of {len(tags)} images have been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

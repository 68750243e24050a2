r"""Photographs as cameras make them -> copies for the rounds: upright, no larger than needed.

python -m selection.copy_photographs --images ./photos --tags ./tags.txt \
    --out ./result/photos/photographs

The settings of the rounds are those of PASCAL VOC, whose photographs are 500 pixels long: a crop of
a camera's photograph would show a fraction of an object. OUT/photos.txt lists the copies.
"""

import argparse
import glob
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import Sample, find_images, write_list
from deeplablib.data.images import read_image
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import read_tags
from deeplablib.data.voc import CLASSES
from deeplablib.prediction.photographs import prepared, read_max_size
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import locked, make_output_folder, replacing

MAX_SIZE = 512
JPEG_QUALITY = 95
LIST = 'photos.txt'


def read_photographs(
    folder: str | Path, tags: str | Path, classes: tuple[str, ...] = CLASSES
) -> list[Path]:
    """The photographs in a folder, which must be those that have tags, in their order.

    folder: of photographs, or of folders of photographs alone, as of a folder for each class.
    tags: file or folder. classes: their names. Raises InputError for a photograph without tags,
    tags of one that is not there, and two of one name: all of them at once. Says so when the folder
    holds anything else.
    """
    in_folders = f'{glob.escape(str(folder))}/*/*'
    has_files = any(path.is_file() for path in Path(folder).glob('[!.]*'))
    paths = find_images(folder if has_files or not glob.glob(in_folders) else in_folders)
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
    return list(by_name.values())


def copy_name(path: Path) -> str:
    """The file name of a photograph's copy: what is neither JPEG nor PNG becomes PNG."""
    return path.name if path.suffix.lower() in ('.jpg', '.jpeg', '.png') else f'{path.stem}.png'


def copy_photograph(max_size: int, out: Path, path: Path) -> None:
    """Copy a photograph to the folder out, turned as it was held (EXIF), and made smaller.

    max_size: pixels of the longer side that may stay. path: of the photograph.
    What needs neither is copied as it is. Raises InputError when it cannot be read.
    """
    photograph, _ = prepared(path, max_size, turn=True)
    name = copy_name(path)
    with replacing(out / name) as copy:
        if photograph is None and name == path.name:
            shutil.copyfile(path, copy)
        else:
            image = Image.fromarray(read_image(path) if photograph is None else photograph)
            format = 'PNG' if name.lower().endswith('.png') else 'JPEG'
            image.save(copy, format, quality=JPEG_QUALITY)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m selection.copy_photographs',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--images', required=True, help='folder of photographs')
    parser.add_argument('--tags', required=True, help='their tags, ids or names: file or folder')
    add_classes(parser)
    parser.add_argument('--out', required=True, help='folder of the copies')
    parser.add_argument(
        '--max-size',
        type=read_max_size,
        default=MAX_SIZE,
        metavar='PIXELS',
        help='of the longer side of a copy (default: %(default)s)',
    )
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    return parser.parse_args()


def main() -> None:
    """Copy the photographs."""
    args = get_arguments()
    parallel.check_workers(args.jobs)
    if Path(args.out).resolve() == Path(args.images).resolve():
        raise InputError(f'{args.out}: the photographs would be overwritten; choose another folder')
    paths = read_photographs(args.images, args.tags, args.classes)
    samples = [Sample(path, None, str(args.images)) for path in paths]
    check_samples(samples, args.images, say_turned=False)
    out = make_output_folder(args.out)
    with locked(out):
        to_do = paths
        if args.resume:
            to_do = parallel.left_to_do(paths, lambda path: (out / copy_name(path)).is_file())
        for _ in parallel.for_each(
            partial(copy_photograph, args.max_size, out), to_do, 'copying', args.jobs
        ):
            pass
        write_list(out / LIST, [(out / copy_name(path),) for path in paths], out)
    print(f'The photographs have been copied to {out}')


if __name__ == '__main__':
    errors.run_script(main)

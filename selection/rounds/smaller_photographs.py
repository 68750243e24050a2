r"""Photographs as cameras make them -> copies for the rounds: upright, no larger than needed.

python -m selection.rounds.smaller_photographs --data-dir ./photos --data-list ./photos.txt \
    --out ./result/photos/photographs

The settings of the rounds are those of PASCAL VOC, whose photographs are 500 pixels long: a crop of
a camera's photograph would show a fraction of an object.
"""

import argparse
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from deeplablib.data.image_lists import Sample, read_list
from deeplablib.data.sample_check import check_samples
from deeplablib.prediction.photographs import prepared, read_max_size
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import make_output_folder, replacing

MAX_SIZE = 512
JPEG_QUALITY = 95


def copy_photograph(max_size: int, out: Path, path: Path) -> None:
    """Copy a photograph to the folder out, turned as it was held (EXIF), and made smaller.

    max_size: pixels of the longer side that may stay. path: a JPEG or PNG; the copy has its name.
    What needs neither is copied as it is. Raises InputError when it cannot be read.
    """
    photograph = prepared(path, max_size, turn=True)
    with replacing(out / path.name) as copy:
        if photograph is None:
            shutil.copyfile(path, copy)
        else:
            format = 'PNG' if path.suffix.lower() == '.png' else 'JPEG'
            Image.fromarray(photograph).save(copy, format, quality=JPEG_QUALITY)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m selection.rounds.smaller_photographs',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--data-dir', required=True, help='folder that the list starts from')
    parser.add_argument('--data-list', required=True, help='list of the photographs')
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


def read_samples(args: argparse.Namespace) -> list[Sample]:
    """The photographs of the list, checked.

    Raises InputError for each that cannot be read, for two of one name, and when the copies would
    stand in the place of the photographs.
    """
    samples = read_list(args.data_list, args.data_dir)
    check_samples(samples, args.data_dir, say_turned=False)
    if Path(args.out).resolve() in {sample.image.parent.resolve() for sample in samples}:
        raise InputError(f'{args.out}: the photographs would be overwritten; choose another folder')
    files: dict[str, Path] = {}
    faults = [
        f'{sample.origin}: {sample.image} has the file name of {files[sample.image.name]}'
        for sample in samples
        if files.setdefault(sample.image.name, sample.image) != sample.image
    ]
    raise_all(faults)
    return samples


def main() -> None:
    """Copy the photographs."""
    args = get_arguments()
    parallel.check_workers(args.jobs)
    paths = [sample.image for sample in read_samples(args)]
    out = make_output_folder(args.out)
    if args.resume:
        paths = parallel.left_to_do(paths, lambda path: (out / path.name).is_file())
    copy = partial(copy_photograph, args.max_size, out)
    for _ in parallel.for_each(copy, paths, 'copying', args.jobs):
        pass
    print(f'The photographs have been copied to {out}')


if __name__ == '__main__':
    errors.run_script(main)

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

from deeplablib.data.image_lists import read_list
from deeplablib.data.sample_check import check_samples
from deeplablib.prediction.photographs import prepared
from deeplablib.run import errors, parallel
from deeplablib.run.errors import InputError
from deeplablib.run.files import make_output_folder, replacing

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
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-dir', required=True, help='folder that the list starts from')
    parser.add_argument('--data-list', required=True, help='list of the photographs')
    parser.add_argument('--out', required=True, help='folder of the copies')
    parser.add_argument(
        '--max-size',
        type=int,
        default=MAX_SIZE,
        metavar='PIXELS',
        help='of the longer side of a copy (default: %(default)s)',
    )
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    args = parser.parse_args()
    if args.max_size < 1:
        raise InputError(f'value {args.max_size} of --max-size: at least one pixel is needed')
    return args


def main() -> None:
    """Copy the photographs."""
    args = get_arguments()
    samples = read_list(args.data_list, args.data_dir)
    check_samples(samples, args.data_dir, say_turned=False)
    out = make_output_folder(args.out)
    paths = [sample.image for sample in samples]
    if args.resume:
        paths = [path for path in paths if not (out / path.name).is_file()]
    copy = partial(copy_photograph, args.max_size, out)
    for _ in parallel.for_each(copy, paths, 'copying', args.jobs):
        pass
    print(f'The photographs have been copied to {out}')


if __name__ == '__main__':
    errors.run(main)

"""The flags that the steps have in common."""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import Sample, read_list
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.tags import allowed_classes, read_tags
from deeplablib.utils import parallel
from deeplablib.utils.errors import InputError

# Change these to your own paths; each is the default of a flag.
DATA_DIRECTORY = './VOC2012/'
DATA_LIST_PATH = './dataset/train.txt'
TAGS_PATH = './dataset/tags.txt'


def step_parser(description: str | None, out: str, out_help: str) -> argparse.ArgumentParser:
    """The parser of a step, with the list of images, their tags and where the result goes.

    description: the step's docstring. out, out_help: default and meaning of --out.
    Returns an argparse.ArgumentParser to add the step's own flags to.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(flag, default, help):
        parser.add_argument(flag, default=default, help=f'{help} (default: %(default)s)')

    add('--data-dir', DATA_DIRECTORY, 'folder that the paths of the list start from')
    add('--data-list', DATA_LIST_PATH, 'list of images, "IMAGE", "IMAGE MASK" or "NAME" a line')
    add('--tags', TAGS_PATH, 'tags of the images, ids or names: file or folder')
    add_classes(parser)
    add('--out', out, out_help)
    return parser


def add_work_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a step that works image by image."""
    parallel.add_jobs(parser)
    parallel.add_resume(parser)


def read_samples(
    args: argparse.Namespace,
) -> tuple[list[Sample], dict[str, npt.NDArray[np.bool_]]]:
    """Read and check what step_parser names.

    Returns the list of Sample and, by image name, the bool array of classes that may occur.
    Raises InputError for everything that is wrong with them.
    """
    parallel.check_workers(getattr(args, 'jobs', None))  # not every step has this flag
    samples = read_list(args.data_list, args.data_dir)
    num_classes = len(args.classes)
    tags = read_tags(args.tags, args.classes)
    allowed_by_image = allowed_classes(tags, samples, num_classes, args.tags)
    check_samples(samples, args.data_dir, num_classes)
    out = Path(args.out)
    check_outputs(samples, out)
    if out.resolve() in (Path(args.data_list).resolve(), Path(args.tags).resolve()):
        raise InputError(f'{out}: the result would overwrite what it is made from')
    return samples, allowed_by_image

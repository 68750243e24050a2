"""What the steps share: their flags, the images with their tags, and the work on each image."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import Sample, check_files_of, read_list
from deeplablib.data.masks import read_mask, write_mask
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.score_maps import read_probabilities
from deeplablib.data.tags import read_allowed
from deeplablib.utils import parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from selection.mask_quality import TABLE, measure, write_table

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


def read_samples(args: argparse.Namespace) -> tuple[list[Sample], npt.NDArray[np.bool_]]:
    """Read and check what step_parser names, and that the score files are there where args has any.

    Returns the list of Sample, and the classes that each image may show, its tags and background:
    bool [images, classes].
    Raises InputError for everything that is wrong with them.
    """
    parallel.check_workers(getattr(args, 'jobs', None))  # not every step has this flag
    samples = read_list(args.data_list, args.data_dir)
    by_name = read_allowed(args.tags, args.classes, samples)
    check_samples(samples, args.data_dir, len(args.classes))
    if getattr(args, 'scores', None):  # nor this one
        check_files_of(samples, args.scores, 'scores', '.npz')
    out = Path(args.out)
    check_outputs(samples, out)
    if out.resolve() in (Path(args.data_list).resolve(), Path(args.tags).resolve()):
        raise InputError(f'{out}: the result would overwrite what it is made from')
    return samples, np.array([by_name[sample.name] for sample in samples])


def check_masks(args: argparse.Namespace, samples: Sequence[Sample], folders: Sequence) -> None:
    """Check that each image has a mask in each folder, and that --out is none of the folders."""
    for folder in map(Path, folders):
        check_files_of(samples, folder, 'mask')
        if folder.resolve() == Path(args.out).resolve():
            raise InputError(f'{folder}: the result would overwrite the masks it is made from')


def make_masks(
    args: argparse.Namespace,
    make: Callable,
    samples: Sequence[Sample],
    allowed: npt.NDArray[np.bool_],
    label: str,
    measures: Sequence[str] = (),
) -> None:
    """Make the mask of each image, OUT/NAME.png, on all cores, and measure them if asked.

    args: with out, jobs and resume, which keeps the masks that are there.
    make: function of (sample, its allowed classes) that returns labels, uint8 [height, width].
    allowed: from read_samples. label: what is being done.
    measures: names of what mask_quality.measure gives, for OUT/quality.csv; the score maps are then
    in args.scores.
    Raises what make raises, and InputError when another process writes to OUT.
    """
    out = make_output_folder(args.out)
    items = list(zip(samples, allowed, strict=True))
    with locked(out):
        to_do = items
        if args.resume:
            to_do = parallel.left_to_do(items, lambda i: (out / f'{i[0].name}.png').is_file())
        for _ in parallel.for_each(partial(_make_mask, make, out), to_do, label, args.jobs):
            pass
        if measures:
            work = partial(_measure_mask, out, Path(args.scores))
            rows = parallel.for_each(work, items, 'measuring', args.jobs)
            names = [sample.name for sample in samples]
            write_table(out / TABLE, measures, dict(zip(names, rows, strict=True)))
    print(f'The masks have been saved to {out}')


def _make_mask(make, out, item):
    sample, allowed = item
    write_mask(out / f'{sample.name}.png', make(sample, allowed))


def _measure_mask(out, score_maps, item) -> Any:
    sample, allowed = item
    mask = read_mask(out / f'{sample.name}.png', len(allowed))
    return measure(
        mask, read_probabilities(score_maps / f'{sample.name}.npz', mask.shape, allowed), allowed
    )

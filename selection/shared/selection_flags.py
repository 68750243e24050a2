"""The flags that say which masks are kept, of select_masks and show_selection."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from selection.shared.quality_table import read_column

MEASURE = 'crf_agreement'
FRACTION = 0.7
CLASS_MINIMUM = 0.4


def add_selection_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command line."""
    parser.add_argument('--table', help='scores, CSV')
    parser.add_argument('--masks', required=True, help='folder of the masks that go on, NAME.png')
    parser.add_argument(
        '--measure', default=MEASURE, help='column of the table (default: %(default)s)'
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--fraction', type=float, default=FRACTION, help='keep the best (default: %(default)s)'
    )
    group.add_argument(
        '--threshold', type=float, help='keep every score from here on: 0.8 ResNet, 0.55 VGG'
    )
    parser.add_argument(
        '--class-minimum',
        type=float,
        default=CLASS_MINIMUM,
        help='of each class, keep at least this fraction of its images (default: %(default)s)',
    )


def mask_paths(args: argparse.Namespace, samples: Sequence[Sample]) -> list[Path]:
    """The path of each image's mask in the folder that --masks names, a list."""
    return [Path(args.masks) / f'{sample.name}.png' for sample in samples]


def read_quality(args: argparse.Namespace, samples: Sequence[Sample]) -> npt.NDArray[np.floating]:
    """Read the quality of the masks that a command line names.

    args: of a parser with add_selection_flags.
    Returns float [images].
    Raises InputError as read_column does.
    """
    return np.array(read_column(args.table, args.measure, [sample.name for sample in samples]))

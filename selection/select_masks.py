r"""Mask selection: which images, with which masks, the next round is trained on.

python -m selection.select_masks --table ./result/refined/quality.csv --masks ./result/refined \
    --out ./result/train_2.txt

Known: lists of the samples whose score passes a threshold, 0.8 (ResNet) or 0.55 (VGG).
Reconstructed: the measures of mask quality (selection.mask_quality), a fraction instead of a
threshold, and the minimum per class: a threshold alone can leave a class without any image.
Without --table, every mask that is there goes on.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of, write_list
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import files_by_name, make_output_folder
from selection.mask_quality import read_measure
from selection.step import read_samples, step_parser

MEASURE = 'crf_agreement'
FRACTION = 0.7
CLASS_MINIMUM = 0.4


def select_masks(
    quality: npt.NDArray[np.floating],
    allowed: npt.NDArray[np.bool_],
    fraction: float = FRACTION,
    threshold: float | None = None,
    class_minimum: float = CLASS_MINIMUM,
) -> npt.NDArray[np.bool_]:
    """Choose the masks that go on.

    These are the best `fraction` of all, or all from `threshold` on; and of each class the best
    `class_minimum` of the images that have its tag. Of equal ones the earlier comes first.

    quality: float [images]. allowed: bool [images, classes], tags and background (column 0).
    fraction, class_minimum: 0 to 1. threshold: 0 to 1, or None for the fraction.
    Returns bool [images].
    Raises InputError when a value is outside [0, 1] or nothing would be kept.
    """
    quality, allowed = np.asarray(quality, float), np.asarray(allowed, bool)
    values = {'fraction': fraction, 'threshold': threshold, 'class minimum': class_minimum}
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise InputError(f'{name} {value}: must be from 0 to 1')
    ranking = np.argsort(-quality, kind='stable')
    kept = np.zeros(len(quality), bool)
    if threshold is None:
        kept[ranking[: _count(fraction, ranking)]] = True
    else:
        kept = quality >= threshold
        if not kept.any():
            quartiles = ', '.join(f'{q:.3f}' for q in np.quantile(quality, (0, 0.25, 0.5, 0.75, 1)))
            raise InputError(
                f'no mask reaches the threshold {threshold}; minimum, quartiles and maximum are '
                f'{quartiles}: choose a lower threshold or a fraction'
            )
    for has_class in allowed.T[1:]:
        of_class = ranking[has_class[ranking]]
        kept[of_class[: _count(class_minimum, of_class)]] = True
    if not kept.any():
        raise InputError(f'fraction {fraction} and class minimum {class_minimum} keep no mask')
    return kept


def lowest_kept(
    quality: npt.NDArray[np.floating], fraction: float = FRACTION, threshold: float | None = None
) -> float:
    """The quality from which masks are kept whatever their classes: the threshold, or where the
    best fraction ends (infinite when it is empty)."""
    if threshold is not None:
        return threshold
    count = _count(fraction, quality)
    return float(np.sort(quality)[-count]) if count else np.inf


def _count(fraction, images):
    # Rounded first: 0.07 of 100 is 7, though 0.07 * 100 is a little more.
    return math.ceil(round(fraction * len(images), 6))


def class_counts(
    kept: npt.NDArray[np.bool_], allowed: npt.NDArray[np.bool_], classes: Sequence[str]
) -> str:
    """Lines of text: of each class, the images that have its tag and those that are kept."""
    rows = [('all', len(kept), kept.sum())]
    rows += [
        (classes[int(i)], allowed[:, i].sum(), (kept & allowed[:, i]).sum())
        for i in np.flatnonzero(allowed[:, 1:].any(0)) + 1
    ]
    return '\n'.join(
        f'{name:<12} {count:>6} images, {chosen:>6} kept' for name, count, chosen in rows
    )


def add_selection_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which masks are kept, those of select_masks and show_selection."""
    parser.add_argument('--table', help='mask quality, CSV')
    parser.add_argument('--masks', required=True, help='folder of the masks that go on, NAME.png')
    parser.add_argument(
        '--measure', default=MEASURE, help='column of the table (default: %(default)s)'
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--fraction', type=float, default=FRACTION, help='keep the best (default: %(default)s)'
    )
    group.add_argument(
        '--threshold', type=float, help='keep all from this quality on: 0.8 ResNet, 0.55 VGG'
    )
    parser.add_argument(
        '--class-minimum',
        type=float,
        default=CLASS_MINIMUM,
        help='of each class, keep at least this fraction of its images (default: %(default)s)',
    )


def quality_and_kept(
    args: argparse.Namespace, samples: Sequence[Sample], allowed: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
    """The selection that a command line asks for.

    args: of a parser with add_selection_flags. allowed: bool [images, classes].
    Returns the quality of each mask, float [images], and whether it is kept, bool [images].
    Raises InputError as read_measure and select_masks do, and for a mask that is missing.
    """
    quality = read_measure(args.table, args.measure, [sample.name for sample in samples])
    kept = select_masks(quality, allowed, args.fraction, args.threshold, args.class_minimum)
    check_files_of(samples, Path(args.masks), 'mask')
    return quality, kept


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/train.txt', 'list of the selected samples')
    add_selection_flags(parser)
    args = parser.parse_args()
    choice = ('measure', 'fraction', 'threshold', 'class_minimum')
    if args.table is None and any(getattr(args, f) != parser.get_default(f) for f in choice):
        raise InputError('without --table there is no quality to choose masks by')
    return args


def main() -> None:
    """Select and write the list."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    masks = files_by_name(args.masks)
    paths = [masks.get(s.name, Path(args.masks) / f'{s.name}.png') for s in samples]
    if args.table is None:
        kept = np.array([path.is_file() for path in paths])
        if not kept.any():
            raise InputError(f'{args.masks}: no mask of any image of {args.data_list}')
        if not kept.all():
            first = samples[int(np.argmin(kept))].name
            print(f'note: {np.sum(~kept)} images have no mask in {args.masks}: {first} ...')
    else:
        _, kept = quality_and_kept(args, samples, allowed)
    pairs = [(s.image, path) for s, path, keep in zip(samples, paths, kept, strict=True) if keep]
    make_output_folder(Path(args.out).parent)
    write_list(args.out, pairs, args.data_dir)
    print(class_counts(kept, allowed, args.classes))
    print(f'The list has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

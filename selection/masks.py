"""Mask selection: which images, with which masks, the next round is trained on.

python -m selection.masks --table ./result/refined/scores.csv --masks ./result/refined \
    --out ./result/train_2.txt

Known: lists of the samples whose score passes a threshold, 0.8 (ResNet) or 0.55 (VGG).
Reconstructed: the scores (selection.shared.mask_quality), a fraction instead of a threshold, and
the minimum per class: a threshold alone can leave a class without any image.
"""

import math
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import check_files_of, write_list
from deeplablib.data.voc import CLASSES
from deeplablib.run import errors
from deeplablib.run.errors import InputError
from deeplablib.run.files import make_output_folder
from selection.shared.quality_table import read_column
from selection.shared.step_flags import read_samples, step_parser

MEASURE = 'crf_agreement'
FRACTION = 0.7
CLASS_MINIMUM = 0.4


def select_masks(scores, allowed, fraction=FRACTION, threshold=None, class_minimum=CLASS_MINIMUM):
    """Choose the masks that go on.

    Kept are the best `fraction` of all, or every score from `threshold` on, and of each class the
    best `class_minimum` of the images that show it. Of equal scores the earlier comes first.

    scores: float [images]. allowed: bool [images, classes]; column 0 is the background.
    fraction, class_minimum: 0 to 1. threshold: 0 to 1, or None for the fraction.
    Returns bool [images].
    Raises InputError when a value is outside [0, 1] or nothing would be kept.
    """
    scores, allowed = np.asarray(scores, float), np.asarray(allowed, bool)
    _check(fraction=fraction, threshold=threshold, class_minimum=class_minimum)
    ranking = np.argsort(-scores, kind='stable')
    kept = np.zeros(len(scores), bool)
    if threshold is None:
        kept[ranking[: _count(fraction, ranking)]] = True
    else:
        kept = scores >= threshold
        if not kept.any():
            quartiles = ', '.join(f'{q:.3f}' for q in np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)))
            raise InputError(
                f'no score reaches the threshold {threshold}; minimum, quartiles and maximum are '
                f'{quartiles}: choose a lower threshold or a fraction'
            )
    for shown in allowed.T[1:]:
        of_class = ranking[shown[ranking]]
        kept[of_class[: _count(class_minimum, of_class)]] = True
    if not kept.any():
        raise InputError(f'fraction {fraction} and class minimum {class_minimum} keep no mask')
    return kept


def cut(scores, fraction=FRACTION, threshold=None):
    """The score from which masks are kept whatever their classes: the threshold, or where the best
    fraction ends (above 1 when nothing is kept for its score alone)."""
    if threshold is not None:
        return threshold
    count = _count(fraction, scores)
    return float(np.sort(scores)[-count]) if count else np.inf


def kept_table(kept, allowed):
    """Lines of text: of each class, the images that show it and those that are kept."""
    rows = [('all', len(kept), kept.sum())]
    rows += [
        (CLASSES[i], allowed[:, i].sum(), (kept & allowed[:, i]).sum())
        for i in np.flatnonzero(allowed[:, 1:].any(0)) + 1
    ]
    return '\n'.join(
        f'{name:<12} {count:>6} images, {chosen:>6} kept' for name, count, chosen in rows
    )


def _count(fraction, images):
    # Rounded first: 0.07 of 100 is 7, though 0.07 * 100 is a little more.
    return math.ceil(round(fraction * len(images), 6))


def _check(**values):
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise InputError(f'{name.replace("_", " ")} {value}: must be from 0 to 1')


def add_selection_flags(parser, need_table=False):
    """Add the flags that say which masks are kept; read_selection reads them back."""
    parser.add_argument(
        '--table',
        required=need_table,
        help='scores, CSV' + '; without it every mask that is there goes on' * (not need_table),
    )
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


def read_selection(args, samples, allowed):
    """Score and select the masks that a command line names.

    args: of a parser with add_selection_flags. samples: list of Sample. allowed: bool
    [images, classes].
    Returns (scores, float [images]; kept, bool [images]; the list of the masks' paths).
    Raises InputError as select_masks and read_column do, and for every missing mask.
    """
    names = [sample.name for sample in samples]
    masks = [Path(args.masks) / f'{name}.png' for name in names]
    if args.table is None:
        kept = np.array([path.is_file() for path in masks])
        if not kept.any():
            raise InputError(f'{args.masks}: no mask of any image of {args.data_list}')
        return np.ones(len(names)), kept, masks
    scores = np.array(read_column(args.table, args.measure, names))
    kept = select_masks(scores, allowed, args.fraction, args.threshold, args.class_minimum)
    check_files_of(samples, Path(args.masks), 'mask')
    return scores, kept, masks


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/train.txt', 'list of the selected samples')
    add_selection_flags(parser)
    args = parser.parse_args()
    choice = ('measure', 'fraction', 'threshold', 'class_minimum')
    if args.table is None and any(getattr(args, f) != parser.get_default(f) for f in choice):
        raise InputError('without --table there are no scores to choose masks by')
    return args


def main():
    """Select and write the list."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    allowed = np.array([allowed[sample.name] for sample in samples])
    _, kept, paths = read_selection(args, samples, allowed)
    pairs = [(s.image, path) for s, path, keep in zip(samples, paths, kept, strict=True) if keep]
    make_output_folder(Path(args.out).parent)
    write_list(args.out, pairs, args.data_dir)
    print(kept_table(kept, allowed))
    print(f'The list has been saved to {args.out}')


if __name__ == '__main__':
    errors.run(main)

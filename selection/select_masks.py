r"""Mask selection: which images, with which masks, the next round is trained on.

python -m selection.select_masks --table ./result/refined/scores.csv --masks ./result/refined \
    --out ./result/train_2.txt

Known: lists of the samples whose score passes a threshold, 0.8 (ResNet) or 0.55 (VGG).
Reconstructed: the measures of mask quality (selection.shared.mask_quality), a fraction instead of a
threshold, and the minimum per class: a threshold alone can leave a class without any image.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import check_files_of, write_list
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder
from selection.shared.selection_flags import (
    CLASS_MINIMUM,
    FRACTION,
    add_selection_flags,
    mask_paths,
    read_quality,
)
from selection.shared.step_flags import read_samples, step_parser


def select_masks(
    quality: npt.NDArray[np.floating],
    shown: npt.NDArray[np.bool_],
    fraction: float = FRACTION,
    threshold: float | None = None,
    class_minimum: float = CLASS_MINIMUM,
) -> npt.NDArray[np.bool_]:
    """Choose the masks that go on.

    These are the best `fraction` of all, or every score from `threshold` on; and of each class the
    best `class_minimum` of the images that show it. Of equal ones the earlier comes first.

    quality: float [images]. shown: bool [images, classes]; column 0 is the background.
    fraction, class_minimum: 0 to 1. threshold: 0 to 1, or None for the fraction.
    Returns bool [images].
    Raises InputError when a value is outside [0, 1] or nothing would be kept.
    """
    quality, shown = np.asarray(quality, float), np.asarray(shown, bool)
    _check(fraction=fraction, threshold=threshold, class_minimum=class_minimum)
    ranking = np.argsort(-quality, kind='stable')
    kept = np.zeros(len(quality), bool)
    if threshold is None:
        kept[ranking[: _count(fraction, ranking)]] = True
    else:
        kept = quality >= threshold
        if not kept.any():
            quartiles = ', '.join(f'{q:.3f}' for q in np.quantile(quality, (0, 0.25, 0.5, 0.75, 1)))
            raise InputError(
                f'no score reaches the threshold {threshold}; minimum, quartiles and maximum are '
                f'{quartiles}: choose a lower threshold or a fraction'
            )
    for shows_class in shown.T[1:]:
        of_class = ranking[shows_class[ranking]]
        kept[of_class[: _count(class_minimum, of_class)]] = True
    if not kept.any():
        raise InputError(f'fraction {fraction} and class minimum {class_minimum} keep no mask')
    return kept


def cut(
    quality: npt.NDArray[np.floating], fraction: float = FRACTION, threshold: float | None = None
) -> float:
    """The score from which masks are kept whatever their classes: the threshold, or where the best
    fraction ends (above 1 when nothing is kept for its score alone)."""
    if threshold is not None:
        return threshold
    count = _count(fraction, quality)
    return float(np.sort(quality)[-count]) if count else np.inf


def kept_table(
    kept: npt.NDArray[np.bool_], shown: npt.NDArray[np.bool_], classes: Sequence[str]
) -> str:
    """Lines of text: of each class, the images that show it and those that are kept."""
    rows = [('all', len(kept), kept.sum())]
    rows += [
        (classes[int(i)], shown[:, i].sum(), (kept & shown[:, i]).sum())
        for i in np.flatnonzero(shown[:, 1:].any(0)) + 1
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


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/train.txt', 'list of the selected samples')
    add_selection_flags(parser)
    args = parser.parse_args()
    choice = ('measure', 'fraction', 'threshold', 'class_minimum')
    if args.table is None and any(getattr(args, f) != parser.get_default(f) for f in choice):
        raise InputError('without --table there are no scores to choose masks by')
    return args


def main() -> None:
    """Select and write the list."""
    args = get_arguments()
    samples, allowed_by_image = read_samples(args)
    shown = np.array([allowed_by_image[sample.name] for sample in samples])
    paths = mask_paths(args, samples)
    if args.table is None:
        kept = np.array([path.is_file() for path in paths])
        if not kept.any():
            raise InputError(f'{args.masks}: no mask of any image of {args.data_list}')
    else:
        quality = read_quality(args, samples)
        kept = select_masks(quality, shown, args.fraction, args.threshold, args.class_minimum)
        check_files_of(samples, Path(args.masks), 'mask')
    pairs = [(s.image, path) for s, path, keep in zip(samples, paths, kept, strict=True) if keep]
    make_output_folder(Path(args.out).parent)
    write_list(args.out, pairs, args.data_dir)
    print(kept_table(kept, shown, args.classes))
    print(f'The list has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

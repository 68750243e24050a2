r"""Pixel selection in masks: pixels that are not sure become 255.

python -m selection.select_pixels --masks ./result/refined --scores ./result/scores \
    --threshold 0.7 --out ./result/pixels
python -m selection.select_pixels --masks ./result/refined --agree-with ./result/refined_3_scales \
    --out ./result/pixels

Reconstructed. A pixel stays where the network gives its label enough probability, or where several
masks of the image have the same label. The default rounds do without it: the threshold makes labels
better, but takes away object boundaries and the very pixels that the CRF corrected.
docs/selection.md says what it did to networks.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import class_ids
from deeplablib.data.image_lists import Sample
from deeplablib.data.masks import read_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from selection.step import check_masks, make_masks, read_samples, step_parser


def confident_pixels(
    mask: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    thresholds: npt.NDArray[np.floating],
) -> npt.NDArray[np.uint8]:
    """Ignore the pixels whose label has too low a probability.

    mask: uint8 [height, width] of class ids and 255. probabilities: float [height, width, classes].
    thresholds: float [classes]; a pixel of class c stays when its probability is at least
    thresholds[c].
    Returns a new uint8 [height, width].
    """
    known = mask != IGNORE_LABEL
    index = np.where(known, mask, 0)
    probability = np.take_along_axis(probabilities, index[..., None], -1)[..., 0]
    kept = known & (probability >= np.asarray(thresholds, np.float32)[index])
    return np.where(kept, mask, np.uint8(IGNORE_LABEL))


def agreeing_pixels(masks: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Ignore the pixels that masks label differently, or that one of them ignores.

    masks: uint8 [height, width] each. Returns a new uint8 [height, width].
    """
    return np.where((np.array(masks) == masks[0]).all(0), masks[0], np.uint8(IGNORE_LABEL))


def selected_pixels(
    args: argparse.Namespace,
    thresholds: npt.NDArray[np.floating],
    sample: Sample,
    allowed: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """The mask of one image with its unsure pixels ignored, uint8 [height, width].

    args: of get_arguments. thresholds: as for confident_pixels. allowed: bool [classes].
    """
    mask = read_mask(Path(args.masks) / f'{sample.name}.png', len(allowed))
    if args.agree_with:
        paths = [Path(folder) / f'{sample.name}.png' for folder in args.agree_with]
        mask = agreeing_pixels([mask, *(read_mask(p, len(allowed), mask.shape) for p in paths)])
    if args.scores:
        scores = Path(args.scores) / f'{sample.name}.npz'
        mask = confident_pixels(mask, read_probabilities(scores, mask.shape, allowed), thresholds)
    return mask


def thresholds_of(args: argparse.Namespace) -> npt.NDArray[np.floating]:
    """The probability from which pixels of each class stay, float [classes].

    Raises InputError for a value that is none or of no class.
    """
    thresholds = np.full(len(args.classes), args.threshold)
    for text in args.class_threshold:
        word, _, value = text.rpartition('=')
        background = word in ('0', args.classes[0])
        try:
            index = 0 if background else class_ids([word], args.classes)[0][0]
            thresholds[index] = float(value)
        except (IndexError, ValueError):
            raise InputError(
                f'--class-threshold {text}: not CLASS=VALUE with a class from 0 to '
                f'{len(args.classes) - 1} or its name'
            ) from None
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise InputError('a threshold must be from 0 to 1')
    return thresholds


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/pixels', 'where masks go, NAME.png')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument(
        '--agree-with',
        nargs='+',
        default=[],
        metavar='DIR',
        help='folders of other masks of these images: pixels stay where all have the same label',
    )
    parser.add_argument('--scores', help='folder of score files, NAME.npz, for --threshold')
    parser.add_argument('--threshold', type=float, help='of every class, 0 to 1')
    parser.add_argument(
        '--class-threshold',
        action='append',
        default=[],
        metavar='CLASS=VALUE',
        help='of one class (background: 0), instead; may be repeated',
    )
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    args = parser.parse_args()
    if (args.scores is None) != (args.threshold is None):
        parser.error('--scores and --threshold go together')
    if not args.scores and not args.agree_with:
        parser.error('give --agree-with, or --scores and --threshold')
    return args


def main() -> None:
    """Select the pixels."""
    args = get_arguments()
    thresholds = thresholds_of(args) if args.scores else np.zeros(len(args.classes))
    samples, allowed = read_samples(args)
    check_masks(args, samples, [args.masks, *args.agree_with])
    make = partial(selected_pixels, args, thresholds)
    make_masks(args, make, samples, allowed, 'selecting pixels')


if __name__ == '__main__':
    errors.run_script(main)

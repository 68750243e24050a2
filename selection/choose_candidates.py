r"""The best of several masks of each image: its proxy annotation, refined, refined with saliency.

python -m selection.refine_masks --scores ./result/scores --saliency ./saliency \
    --out ./result/salient
python -m selection.choose_candidates --masks ./result/proxies ./result/refined ./result/salient \
    --scores ./result/scores --out ./result/best

Known: the same group's later work chooses among these three for each image. Reconstructed: the
choice, by agreement with the network. It favours the mask that was made from the network's own
labels, and proxy annotations because they are compared only where they are sure. OUT/quality.csv
holds the quality of the chosen masks; with one folder, the step only measures its masks.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.masks import read_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.utils import errors, parallel
from selection.mask_quality import ANNOTATION_MEASURES, agreement
from selection.step import check_masks, make_masks, read_samples, step_parser


def best_candidate(
    masks: Sequence[npt.NDArray[np.uint8]],
    probabilities: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Choose the mask that agrees best with the network, and of equal ones the first.

    masks: list of uint8 [height, width]. probabilities, allowed: as for mask_quality.measure.
    """
    predicted = probabilities.argmax(-1).astype(np.uint8)
    return max(masks, key=lambda mask: agreement(mask, predicted, allowed))


def chosen_mask(
    args: argparse.Namespace, sample: Sample, allowed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """The best candidate of one image, uint8 [height, width].

    args: of get_arguments. allowed: bool [classes].
    """
    first, *others = (folder / f'{sample.name}.png' for folder in args.masks)
    masks = [read_mask(first, len(allowed))]
    masks += [read_mask(path, len(allowed), masks[0].shape) for path in others]
    scores = Path(args.scores) / f'{sample.name}.npz'
    return best_candidate(masks, read_probabilities(scores, masks[0].shape, allowed), allowed)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/best', 'where masks and quality.csv go')
    parser.add_argument(
        '--masks', nargs='+', type=Path, required=True, help='folders of masks, NAME.png'
    )
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    return parser.parse_args()


def main() -> None:
    """Choose."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    check_masks(args, samples, args.masks)
    make = partial(chosen_mask, args)
    make_masks(args, make, samples, allowed, 'choosing', ANNOTATION_MEASURES)


if __name__ == '__main__':
    errors.run_script(main)

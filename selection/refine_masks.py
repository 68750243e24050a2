"""Refined masks: the network's score maps, restricted to the image's tags, after the CRF.

python test_vocspsm_resnet.py --data-list ./dataset/train.txt --save-scores ./result/scores
python -m selection.refine_masks --scores ./result/scores --out ./result/refined

Known: predictions are restricted to the image's tags; the same group's later work also chooses
from masks that were refined with saliency (selection.choose_candidates). Reconstructed: that the
CRF's labels go on, and how --saliency changes them. OUT/quality.csv holds the quality of each mask
(selection.mask_quality) for selection.select_masks: its agreement with the network alone.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_image
from deeplablib.data.masks import read_grey
from deeplablib.data.score_maps import read_probabilities
from deeplablib.prediction import crf
from deeplablib.utils import errors, parallel
from selection.mask_quality import REFINED_MEASURES
from selection.step import make_masks, read_samples, step_parser

LEAST_SALIENCY = 0.05  # 1 - it is the largest: no pixel of a saliency map is taken as certain


def with_saliency(
    probabilities: npt.NDArray[np.float32], saliency: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Let a saliency map speak for objects and against background, as independent evidence.

    The probability of background is multiplied by 1 - s and that of each object by s, where s is
    saliency / 255 within [0.05, 0.95]; then they are renormalised.

    probabilities: float32 [height, width, classes]. saliency: uint8 [height, width].
    Returns float32 [height, width, classes].
    """
    salient = (saliency / np.float32(255)).clip(LEAST_SALIENCY, 1 - LEAST_SALIENCY)
    weighted = probabilities * salient[..., None]
    weighted[..., 0] = probabilities[..., 0] * (1 - salient)
    return weighted / weighted.sum(-1, keepdims=True)


def refined_mask(
    args: argparse.Namespace,
    parameters: crf.Parameters,
    sample: Sample,
    allowed: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """The refined mask of one image, uint8 [height, width].

    args: of get_arguments. parameters: of the CRF. allowed: bool [classes].
    """
    image = read_image(sample.image)
    size = image.shape[:2]
    probabilities = read_probabilities(Path(args.scores) / f'{sample.name}.npz', size, allowed)
    if args.saliency:
        saliency = read_grey(Path(args.saliency) / f'{sample.name}.png', size)
        probabilities = with_saliency(probabilities, saliency)
    return crf.crf_labels(image, probabilities, parameters, args.prune)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/refined', 'where masks and quality.csv go')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parser.add_argument('--saliency', help='folder of saliency maps, NAME.png, to refine with')
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    crf.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Refine the list."""
    args = get_arguments()
    parameters = crf.parameters_from(args)
    samples, allowed = read_samples(args)
    if args.saliency:
        check_files_of(samples, Path(args.saliency), 'saliency map')
    make = partial(refined_mask, args, parameters)
    make_masks(args, make, samples, allowed, 'refining', REFINED_MEASURES)


if __name__ == '__main__':
    errors.run_script(main)

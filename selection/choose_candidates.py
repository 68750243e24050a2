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
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.masks import read_mask, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.utils import errors, parallel
from deeplablib.utils.files import locked, make_output_folder
from selection.mask_quality import ANNOTATION_MEASURES, TABLE, measure, write_table
from selection.step import check_masks, read_samples, step_parser


def best_candidate(
    masks: Sequence[npt.NDArray[np.uint8]],
    probabilities: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.bool_],
) -> tuple[int, tuple[float, ...]]:
    """Choose the mask that agrees best with the network, and of equal ones the first.

    masks: list of uint8 [height, width]. probabilities, allowed: as for mask_quality.measure.
    Returns (index of the mask, its qualities in the order of ANNOTATION_MEASURES).
    """
    qualities = [measure(mask, probabilities, allowed) for mask in masks]
    best = max(range(len(masks)), key=lambda i: qualities[i][0])
    return best, qualities[best]


def choose(
    args: argparse.Namespace, item: tuple[Sample, npt.NDArray[np.bool_]]
) -> tuple[int, tuple[float, ...]]:
    """Save the best candidate of one image as OUT/NAME.png. Returns what best_candidate does."""
    sample, allowed = item
    first, *others = (folder / f'{sample.name}.png' for folder in args.masks)
    masks = [read_mask(first, len(allowed))]
    masks += [read_mask(path, len(allowed), masks[0].shape) for path in others]
    scores = Path(args.scores) / f'{sample.name}.npz'
    best, quality = best_candidate(
        masks, read_probabilities(scores, masks[0].shape, allowed), allowed
    )
    write_mask(Path(args.out) / f'{sample.name}.png', masks[best])
    return best, quality


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/best', 'where masks and quality.csv go')
    parser.add_argument(
        '--masks', nargs='+', type=Path, required=True, help='folders of masks, NAME.png'
    )
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parallel.add_jobs(parser)
    return parser.parse_args()


def main() -> None:
    """Choose and count."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    check_masks(args, samples, args.masks)
    out = make_output_folder(args.out)
    items = list(zip(samples, allowed, strict=True))
    with locked(out):
        chosen, rows = zip(
            *parallel.for_each(partial(choose, args), items, 'choosing', args.jobs), strict=True
        )
        names = [sample.name for sample in samples]
        write_table(out / TABLE, ANNOTATION_MEASURES, dict(zip(names, rows, strict=True)))
    for index, count in sorted(Counter(chosen).items()):
        print(f'{args.masks[index]}: {count} of {len(samples)}')
    print(f'The masks and their quality have been saved to {out}')


if __name__ == '__main__':
    errors.run_script(main)

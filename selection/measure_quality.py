r"""Measure masks that are there already, such as the annotations that a round was trained on.

python -m selection.measure_quality --masks ./result/proxies --scores ./result/scores \
    --out ./result/kept.csv

Reconstructed (selection.shared.mask_quality). selection.refine_masks measures refined masks
itself, by another score: the agreement with the network ranks what the network was given, not
what it gives.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder
from selection.shared.mask_quality import OF_ANNOTATION, measure
from selection.shared.quality_table import read_table, write_table
from selection.shared.step_flags import add_work_flags, read_samples, step_parser

SAVE_EVERY = 500  # images, some ten seconds of work


def measure_masks(
    samples: Sequence[Sample],
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]],
    masks: str | Path,
    score_maps: str | Path,
    out: str | Path,
    resume: bool = False,
    jobs: int | str = -1,
) -> None:
    """Write the quality of each mask of a folder.

    allowed_by_image: dict from image name to bool [classes]. masks: folder of NAME.png.
    score_maps: folder of score files of the network. out: path of the table, CSV; it is saved
    again and again on the way. resume: keep what is in it. jobs: as for parallel.for_each.
    Raises InputError for every missing or unfitting file.
    """
    masks, score_maps = Path(masks), Path(score_maps)
    check_files_of(samples, score_maps, 'scores', '.npz')
    check_files_of(samples, masks, 'mask')
    rows: dict[str, tuple[float, ...]] = {}
    if resume and Path(out).is_file():
        columns, rows = read_table(out)
        if tuple(columns) != OF_ANNOTATION:
            raise InputError(f'{out}: a table of other scores; choose another --out')
    items = [(s.name, allowed_by_image[s.name]) for s in samples if s.name not in rows]
    made = parallel.for_each(partial(_measure_one, masks, score_maps), items, 'scoring', jobs)
    for (name, _), row in zip(items, made, strict=True):
        rows[name] = row
        if len(rows) % SAVE_EVERY == 0:
            write_table(out, OF_ANNOTATION, rows)
    write_table(out, OF_ANNOTATION, rows)


def _measure_one(masks, score_maps, item):
    name, allowed = item
    mask = read_mask(masks / f'{name}.png', len(allowed))
    probabilities = read_probabilities(score_maps / f'{name}.npz', mask.shape, allowed)
    return measure(mask, probabilities, allowed)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/scores.csv', 'where the table goes')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    add_work_flags(parser)
    return parser.parse_args()


def main() -> None:
    """Score the list."""
    args = get_arguments()
    samples, allowed_by_image = read_samples(args)
    make_output_folder(Path(args.out).parent)
    measure_masks(
        samples,
        allowed_by_image,
        masks=args.masks,
        score_maps=args.scores,
        out=args.out,
        resume=args.resume,
        jobs=args.jobs,
    )
    print(f'The scores of {len(samples)} masks have been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

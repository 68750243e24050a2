r"""The best of several masks of each image: its proxy annotation, refined, refined with saliency.

python -m selection.refine_masks --scores ./result/scores --saliency ./saliency \
    --out ./result/salient
python -m selection.choose_candidates --masks ./result/proxies ./result/refined ./result/salient \
    --scores ./result/scores --out ./result/best

Known: the same group's later work chooses among these three for each image. Reconstructed: the
choice, by agreement with the network. It favours the mask that was made from the network's own
labels, and proxy annotations because they are compared only where they are sure.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_mask, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from selection.refine_masks import TABLE
from selection.shared.mask_quality import OF_ANNOTATION, measure
from selection.shared.quality_table import write_table
from selection.shared.step_flags import add_work_flags, read_samples, step_parser


def best_candidate(
    masks: Sequence[npt.NDArray[np.uint8]],
    probabilities: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.bool_],
) -> tuple[int, tuple[float, ...]]:
    """Choose the mask that agrees best with the network, and of equal ones the first.

    masks: list of uint8 [height, width]. probabilities, allowed: as for mask_quality.measure.
    Returns (index of the mask, its qualities in the order of OF_ANNOTATION).
    """
    qualities = [measure(mask, probabilities, allowed) for mask in masks]
    best = max(range(len(masks)), key=lambda i: qualities[i][0])
    return best, qualities[best]


def choose(
    samples: Sequence[Sample],
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]],
    folders: Sequence[Path],
    score_maps: str | Path,
    out: str | Path,
    resume: bool = False,
    jobs: int | str = -1,
) -> Counter[str]:
    """Save the best candidate of each image as OUT/NAME.png, and the table OUT/scores.csv.

    allowed_by_image: dict from image name to bool [classes]. folders: of NAME.png, one for each
    candidate. score_maps: folder of score files of the network. out: an existing folder, none of
    folders. resume: keep the choices that are there; they are only measured. jobs: as for
    parallel.for_each.
    Returns how often each folder was chosen.
    Raises InputError for every missing or unfitting file.
    """
    score_maps, out = Path(score_maps), Path(out)
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise InputError(f'{out}: the result would overwrite the masks it is made from')
    check_files_of(samples, score_maps, 'scores', '.npz')
    for folder in folders:
        check_files_of(samples, folder, 'mask')
    items = [(sample.name, allowed_by_image[sample.name]) for sample in samples]
    with locked(out):
        work = partial(_choose_one, folders, score_maps, out, resume)
        indices, rows = zip(*parallel.for_each(work, items, 'choosing', jobs), strict=True)
        names = [name for name, _ in items]
        write_table(out / TABLE, OF_ANNOTATION, dict(zip(names, rows, strict=True)))
    return Counter(str(folders[index]) for index in indices)


def _choose_one(folders, score_maps, out, resume, item):
    name, allowed = item
    masks = [read_mask(folder / f'{name}.png', len(allowed)) for folder in folders]
    errors.raise_all(
        [
            f'{folder}/{name}.png: another size than in {folders[0]}'
            for folder, mask in zip(folders, masks, strict=True)
            if mask.shape != masks[0].shape
        ]
    )
    probabilities = read_probabilities(score_maps / f'{name}.npz', masks[0].shape, allowed)
    path = out / f'{name}.png'
    if resume and path.is_file():
        kept = read_mask(path, len(allowed))
        for index, mask in enumerate(masks):
            if np.array_equal(mask, kept):
                return index, measure(mask, probabilities, allowed)
    best, row = best_candidate(masks, probabilities, allowed)
    write_mask(path, masks[best])
    return best, row


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/best', 'where masks and scores.csv go')
    parser.add_argument(
        '--masks', nargs='+', type=Path, required=True, help='folders of masks, NAME.png'
    )
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    add_work_flags(parser)
    return parser.parse_args()


def main() -> None:
    """Choose and count."""
    args = get_arguments()
    samples, allowed_by_image = read_samples(args)
    out = make_output_folder(args.out)
    counts = choose(
        samples,
        allowed_by_image,
        folders=args.masks,
        score_maps=args.scores,
        out=out,
        resume=args.resume,
        jobs=args.jobs,
    )
    for folder in args.masks:
        print(f'{folder}: {counts[str(Path(folder))]} of {len(samples)}')
    print(f'The masks and their scores have been saved to {out}')


if __name__ == '__main__':
    errors.run_script(main)

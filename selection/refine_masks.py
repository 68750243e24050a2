"""Refined masks: the network's score maps, restricted to the image's tags, after the CRF.

python test_vocspsm_resnet.py --data-list ./dataset/train.txt --save-scores ./result/scores
python -m selection.refine_masks --scores ./result/scores --out ./result/refined

Known: predictions are restricted to the image's tags; the same group's later work also chooses
from masks that were refined with saliency (selection.choose_candidates). Reconstructed: that the
CRF's labels go on, and how --saliency changes them. OUT/scores.csv holds the quality of each mask
(selection.shared.mask_quality) for selection.select_masks.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_grey, read_image, read_mask, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.prediction import crf
from deeplablib.prediction.crf import Parameters, crf_labels
from deeplablib.utils import errors
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.utils.parallel import for_each
from selection.shared.mask_quality import OF_REFINED, measure
from selection.shared.quality_table import write_table
from selection.shared.step_flags import add_work_flags, read_samples, step_parser

TABLE = 'scores.csv'
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


def refine(
    samples: Sequence[Sample],
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]],
    score_maps: str | Path,
    out: str | Path,
    parameters: Parameters,
    prune: float = 0.0,
    saliency: str | Path | None = None,
    resume: bool = False,
    jobs: int | str = -1,
) -> None:
    """Save the refined mask of each image as OUT/NAME.png, and the table OUT/scores.csv.

    allowed_by_image: dict from image name to bool [classes].
    score_maps: folder of score files. out: an existing folder.
    parameters, prune: as for crf.crf_labels. saliency: folder of NAME.png, or None; the quality of
    a mask is its agreement with the network alone. resume: keep the masks that are there; they are
    only measured. jobs: as for parallel.for_each.
    Raises InputError for every missing score file or saliency map, and for one that does not fit
    its image.
    """
    score_maps, out = Path(score_maps), Path(out)
    check_files_of(samples, score_maps, 'scores', '.npz')
    if saliency:
        saliency = Path(saliency)
        check_files_of(samples, saliency, 'saliency map')
    work = partial(_refine_one, score_maps, out, parameters, prune, saliency, resume)
    items = [(sample, allowed_by_image[sample.name]) for sample in samples]
    with locked(out):
        rows = list(for_each(work, items, 'refining', jobs))
        names = [sample.name for sample in samples]
        write_table(out / TABLE, OF_REFINED, dict(zip(names, rows, strict=True)))


def _refine_one(score_maps, out, parameters, prune, saliency, resume, item):
    sample, allowed = item
    image = read_image(sample.image)
    size = image.shape[:2]
    probabilities = read_probabilities(score_maps / f'{sample.name}.npz', size, allowed)
    path = out / f'{sample.name}.png'
    if resume and path.is_file():
        labels = read_mask(path, len(allowed), size)
    else:
        evidence = probabilities
        if saliency:
            evidence = with_saliency(
                probabilities, read_grey(saliency / f'{sample.name}.png', size)
            )
        labels = crf_labels(image, evidence, parameters, prune)
        write_mask(path, labels)
    return measure(labels, probabilities, allowed)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/refined', 'where masks and scores.csv go')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parser.add_argument('--saliency', help='folder of saliency maps, NAME.png, to refine with')
    add_work_flags(parser)
    crf.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Refine the list."""
    args = get_arguments()
    parameters = crf.parameters_from(args)
    samples, allowed_by_image = read_samples(args)
    out = make_output_folder(args.out)
    refine(
        samples,
        allowed_by_image,
        score_maps=args.scores,
        out=out,
        parameters=parameters,
        prune=args.prune,
        saliency=args.saliency,
        resume=args.resume,
        jobs=args.jobs,
    )
    print(f'The refined masks and their scores have been saved to {out}')


if __name__ == '__main__':
    errors.run_script(main)

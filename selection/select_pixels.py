r"""Pixel selection in masks: pixels that the network is not sure of become 255.

python -m selection.select_pixels --masks ./result/refined --scores ./result/scores \
    --threshold 0.7 --out ./result/pixels

Reconstructed. The default rounds do without it: it makes labels better, but takes away object
boundaries and the very pixels that the CRF corrected. docs/selection.md says what it did to
networks.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import class_ids
from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_mask, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.utils.parallel import for_each, left_to_do
from selection.shared.step_flags import add_work_flags, read_samples, step_parser


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


def select_pixels(
    samples: Sequence[Sample],
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]],
    masks: str | Path,
    score_maps: str | Path,
    out: str | Path,
    thresholds: npt.NDArray[np.floating],
    jobs: int | str = -1,
) -> None:
    """Save each mask with the unsure pixels ignored as OUT/NAME.png.

    allowed_by_image: dict from image name to bool [classes]. masks: folder of NAME.png.
    score_maps: folder of score files. out: an existing folder, not masks. thresholds: as for
    confident_pixels. jobs: as for parallel.for_each.
    Raises InputError for every missing or unfitting file.
    """
    masks, score_maps, out = Path(masks), Path(score_maps), Path(out)
    if out.resolve() == masks.resolve():
        raise InputError(f'{out}: the result would overwrite the masks it is made from')
    check_files_of(samples, score_maps, 'scores', '.npz')
    check_files_of(samples, masks, 'mask')
    items = [(sample.name, allowed_by_image[sample.name]) for sample in samples]
    work = partial(_select_one, masks, score_maps, out, thresholds)
    with locked(out):
        for _ in for_each(work, items, 'pixels', jobs):
            pass


def _select_one(masks, score_maps, out, thresholds, item):
    name, allowed = item
    mask = read_mask(masks / f'{name}.png', len(allowed))
    probabilities = read_probabilities(score_maps / f'{name}.npz', mask.shape, allowed)
    write_mask(out / f'{name}.png', confident_pixels(mask, probabilities, thresholds))


def _class_threshold(text, classes):
    """Read CLASS=VALUE, where the class is its name or its id. Returns the id and the value."""
    word, _, value = text.rpartition('=')
    ids, _ = class_ids([word], classes)
    try:
        return 0 if word in ('0', classes[0]) else ids[0], float(value)
    except (IndexError, ValueError):
        raise InputError(
            f'--class-threshold {text}: not CLASS=VALUE with a class from 0 to {len(classes) - 1} '
            'or its name'
        ) from None


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/pixels', 'where masks go, NAME.png')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parser.add_argument('--threshold', type=float, required=True, help='of every class, 0 to 1')
    parser.add_argument(
        '--class-threshold',
        action='append',
        default=[],
        metavar='CLASS=VALUE',
        help='of one class (background: 0), instead; may be repeated',
    )
    add_work_flags(parser)
    return parser.parse_args()


def main() -> None:
    """Select the pixels."""
    args = get_arguments()
    thresholds = np.full(len(args.classes), args.threshold)
    for index, value in (_class_threshold(text, args.classes) for text in args.class_threshold):
        thresholds[index] = value
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise InputError('a threshold must be from 0 to 1')
    samples, allowed_by_image = read_samples(args)
    out = make_output_folder(args.out)
    if args.resume:
        samples = left_to_do(samples, lambda s: (out / f'{s.name}.png').is_file())
    select_pixels(
        samples,
        allowed_by_image,
        masks=args.masks,
        score_maps=args.scores,
        out=out,
        thresholds=thresholds,
        jobs=args.jobs,
    )
    print(f'The masks have been saved to {out}')


if __name__ == '__main__':
    errors.run_script(main)

r"""How well scores rank masks, and what selection keeps, where the true masks are known.

python -m experiments.evidence --masks ./result/refined --table ./result/refined/quality.csv \
    --truth ./VOC2012/SegmentationClassAug --out ./result/evidence.md
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from deeplablib.data.voc import NUM_CLASSES
from deeplablib.prediction.metrics import mean_iou
from deeplablib.utils import errors
from deeplablib.utils.files import check_output_file, replacing
from deeplablib.utils.parallel import add_jobs
from deeplablib.utils.text_tables import as_markdown
from selection.evaluate_masks import compare_all
from selection.mask_quality import REFINED_MEASURES, read_measure
from selection.select_masks import CLASS_MINIMUM, FRACTION, select_masks
from selection.step import read_samples, step_parser

FRACTIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
THRESHOLDS = (0.55, 0.7, 0.8, 0.9)
MINIMA = (0.0, CLASS_MINIMUM)


def true_confusions(
    names: Sequence[str],
    masks: str | Path,
    truth: str | Path,
    num_classes: int = NUM_CLASSES,
    jobs: int | str = -1,
) -> Sequence[npt.NDArray[np.int64]]:
    """The confusion matrix of each mask with its true mask; ignored pixels are left out.

    names: of images. masks, truth: folders of NAME.png. jobs: as for parallel.for_each.
    Returns int64 [classes, classes] of each. Raises InputError for a mask that cannot be read.
    """
    pairs = [(Path(masks) / f'{name}.png', Path(truth) / f'{name}.png') for name in names]
    return compare_all(pairs, num_classes, jobs)[0]


def true_quality(confusions: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.floating]:
    """The true mean IoU of each mask; 0 for one without a labelled pixel.

    confusions: as from true_confusions. Returns float [images].
    """
    return np.nan_to_num([mean_iou(counts) for counts in confusions])


def rank_correlation(
    quality: npt.NDArray[np.floating], confusions: Sequence[npt.NDArray[np.int64]]
) -> float:
    """Spearman's rank correlation of an estimated quality with the true mean IoU of the masks.

    quality: float [images]. confusions: as from true_confusions.
    """
    return float(spearmanr(quality, true_quality(confusions)).statistic)


def kept_quality(
    kept: npt.NDArray[np.bool_],
    confusions: Sequence[npt.NDArray[np.int64]],
    shown: npt.NDArray[np.bool_],
) -> tuple[int, float, float]:
    """What a choice of masks keeps.

    kept: bool [images]. confusions: as from true_confusions. shown: bool [images, classes].
    Returns (images, true mean IoU of their masks together, the kept fraction of the images of the
    class that loses most).
    """
    shown = shown[:, 1:]
    shown = shown[:, shown.any(0)]
    least = np.min(shown[kept].sum(0) / shown.sum(0))
    total = np.sum([counts for counts, keep in zip(confusions, kept, strict=True) if keep], 0)
    return int(kept.sum()), mean_iou(total), float(least)


def evidence_tables(
    estimates: Mapping[str, npt.NDArray[np.floating]],
    confusions: Sequence[npt.NDArray[np.int64]],
    shown: npt.NDArray[np.bool_],
) -> str:
    """Both tables, Markdown.

    estimates: dict from the name of a measure of mask quality to float [images].
    confusions, shown: as for kept_quality.
    """
    ranking = [
        (name, f'{rank_correlation(values, confusions):.2f}') for name, values in estimates.items()
    ]
    name, values = next(iter(estimates.items()))
    choices: list[tuple[str, float, float | None]] = [
        (f'best {fraction:.0%}', fraction, None) for fraction in FRACTIONS
    ]
    choices += [
        (f'from {threshold} on', FRACTION, threshold)
        for threshold in THRESHOLDS
        if max(values) >= threshold
    ]
    rows = []
    for label, fraction, threshold in choices:
        for minimum in MINIMA:
            kept = select_masks(values, shown, fraction, threshold, class_minimum=minimum)
            images, quality, least = kept_quality(kept, confusions, shown)
            figures = (str(minimum), str(images), f'{100 * quality:.1f}', f'{least:.0%}')
            rows.append((label, *figures))
    heading = (f'kept, by {name}', 'class minimum', 'images', 'true mean IoU', 'least class')
    return '\n\n'.join(
        [
            as_markdown(('score', 'Spearman with the true IoU'), ranking),
            as_markdown(heading, rows),
        ]
    )


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/evidence.md', 'where the tables go')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument('--table', required=True, help='their scores, CSV')
    parser.add_argument('--truth', required=True, help='folder of true masks, NAME.png')
    parser.add_argument(
        '--measures',
        nargs='+',
        default=REFINED_MEASURES,
        metavar='COLUMN',
        help=f'of the table; masks are kept by the first (default: {" ".join(REFINED_MEASURES)})',
    )
    add_jobs(parser)
    return parser.parse_args()


def main() -> None:
    """Compare and write the tables."""
    args = get_arguments()
    check_output_file(args.out)
    samples, allowed = read_samples(args)
    names = [sample.name for sample in samples]
    estimates = {c: read_measure(args.table, c, names) for c in args.measures}
    confusions = true_confusions(names, args.masks, args.truth, len(args.classes), args.jobs)
    text = evidence_tables(estimates, confusions, allowed)
    print(text)
    with replacing(args.out) as temporary:
        temporary.write_text(f'{text}\n')


if __name__ == '__main__':
    errors.run_script(main)

"""How well scores rank masks, and what selection keeps, where the true masks are known.

python -m experiments.evidence --masks ./result/refined --table ./result/refined/scores.csv \
    --truth ./VOC2012/SegmentationClassAug --out ./result/evidence.md
"""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from deeplablib.prediction.metrics import mean_iou
from deeplablib.run import errors
from deeplablib.run.files import make_output_folder, replacing
from deeplablib.run.parallel import add_jobs, for_each
from selection.masks import CLASS_MINIMUM, select_masks
from selection.quality import compare
from selection.shared.mask_quality import OF_REFINED
from selection.shared.quality_table import read_column
from selection.shared.step_flags import read_samples, step_parser

FRACTIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
THRESHOLDS = (0.55, 0.7, 0.8, 0.9)
MINIMA = (0.0, CLASS_MINIMUM)


def true_confusions(names, masks, truth, jobs=-1):
    """The confusion matrix of each mask with its true mask; ignored pixels are left out.

    names: of images. masks, truth: folders of NAME.png. jobs: as for parallel.for_each.
    Returns a list of int64 [classes, classes]. Raises InputError for a mask that cannot be read.
    """
    pairs = [(Path(masks) / f'{name}.png', Path(truth) / f'{name}.png') for name in names]
    return [counts for counts, _ in for_each(compare, pairs, 'comparing', jobs)]


def true_quality(confusions):
    """The true mean IoU of each mask; 0 for one without a labelled pixel.

    confusions: as from true_confusions. Returns float [images].
    """
    return np.nan_to_num([mean_iou(counts) for counts in confusions])


def rank_correlation(scores, confusions):
    """Spearman's rank correlation of scores with the true mean IoU of the masks.

    scores: float [images]. confusions: as from true_confusions. Returns a float.
    """
    return float(spearmanr(scores, true_quality(confusions)).statistic)


def kept_quality(kept, confusions, allowed):
    """What a choice of masks keeps.

    kept: bool [images]. confusions: as from true_confusions. allowed: bool [images, classes].
    Returns (images, true mean IoU of their masks together, the kept fraction of the images of the
    class that loses most).
    """
    shown = allowed[:, 1:]
    shown = shown[:, shown.any(0)]
    least = np.min(shown[kept].sum(0) / shown.sum(0))
    total = sum(counts for counts, keep in zip(confusions, kept, strict=True) if keep)
    return int(kept.sum()), mean_iou(total), float(least)


def evidence(scores, confusions, allowed):
    """Both tables, Markdown.

    scores: dict from the name of a score to float [images]. confusions, allowed: as for
    kept_quality.
    """
    lines = ['| score | Spearman with the true IoU |', '|---|---|']
    for name, values in scores.items():
        lines.append(f'| {name} | {rank_correlation(values, confusions):.2f} |')
    name, values = next(iter(scores.items()))
    lines += ['', f'| kept, by {name} | class minimum | images | true mean IoU | least class |']
    lines.append('|---' * 5 + '|')
    choices = [(f'best {fraction:.0%}', {'fraction': fraction}) for fraction in FRACTIONS]
    choices += [
        (f'from {threshold} on', {'threshold': threshold})
        for threshold in THRESHOLDS
        if max(values) >= threshold
    ]
    for label, choice in choices:
        for minimum in MINIMA:
            kept = select_masks(values, allowed, class_minimum=minimum, **choice)
            images, quality, least = kept_quality(kept, confusions, allowed)
            lines.append(f'| {label} | {minimum} | {images} | {100 * quality:.1f} | {least:.0%} |')
    return '\n'.join(lines)


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/evidence.md', 'where the tables go')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument('--table', required=True, help='their scores, CSV')
    parser.add_argument('--truth', required=True, help='folder of true masks, NAME.png')
    parser.add_argument(
        '--measures',
        nargs='+',
        default=OF_REFINED,
        metavar='COLUMN',
        help=f'of the table; masks are kept by the first (default: {" ".join(OF_REFINED)})',
    )
    add_jobs(parser)
    return parser.parse_args()


def main():
    """Compare and write the tables."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    names = [sample.name for sample in samples]
    scores = {column: read_column(args.table, column, names) for column in args.measures}
    confusions = true_confusions(names, args.masks, args.truth, args.jobs)
    text = evidence(scores, confusions, np.array([allowed[name] for name in names]))
    print(text)
    make_output_folder(Path(args.out).parent)
    with replacing(args.out) as temporary:
        temporary.write_text(f'{text}\n')


if __name__ == '__main__':
    errors.run(main)

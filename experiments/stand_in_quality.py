r"""A table of mask quality by the truth or by chance, for the arms of the ablation that choose so.

python -m experiments.stand_in_quality oracle --masks ./result/refined \
    --truth ./VOC2012/SegmentationClassAug --out ./result/oracle.csv
"""

import argparse
from pathlib import Path

import numpy as np

from deeplablib.data.classes import add_classes
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import list_files, make_output_folder
from experiments.evidence import true_confusions, true_quality
from selection.mask_quality import write_table
from selection.select_masks import MEASURE

KINDS = ('random', 'oracle')


def stand_in_quality(
    kind: str, masks: Path, truth: Path, seed: str, num_classes: int = NUM_CLASSES
) -> dict[str, float]:
    """The quality of each mask of a folder, by chance or by the truth.

    kind: 'random', or 'oracle' for the true IoU. masks, truth: folders of NAME.png.
    seed: what the random quality is drawn from.
    Returns a dict from image name to a number in [0, 1].
    """
    names = [path.stem for path in list_files(masks, '.png')]
    if not names:
        raise InputError(f'{masks}: no masks (*.png) in this folder')
    if kind == 'oracle':
        quality = true_quality(true_confusions(names, masks, truth, num_classes))
    else:
        random = np.random.default_rng([*seed.encode()])
        quality = random.permutation(len(names)) / len(names)
    return dict(zip(names, quality, strict=True))


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('kind', choices=KINDS, help='by chance, or by the true IoU')
    parser.add_argument('--masks', type=Path, required=True, help='folder of masks, NAME.png')
    parser.add_argument('--truth', type=Path, required=True, help='folder of true masks, NAME.png')
    parser.add_argument('--out', type=Path, required=True, help='where the table goes, CSV')
    parser.add_argument('--seed', default='', help='of a choice by chance (default: none)')
    add_classes(parser)
    return parser.parse_args()


def main() -> None:
    """Write the table."""
    args = get_arguments()
    # The name of the table is the seed: each round and arm makes a random choice of its own.
    quality = stand_in_quality(
        args.kind,
        args.masks,
        args.truth,
        seed=args.out.stem + args.seed,
        num_classes=len(args.classes),
    )
    make_output_folder(args.out.parent)
    write_table(args.out, [MEASURE], {name: (value,) for name, value in quality.items()})
    print(f'The table of {len(quality)} masks has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

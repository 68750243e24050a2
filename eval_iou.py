"""IoU of a folder of predictions: each class, their mean, and the pixel accuracy.

python eval_iou.py --pred ./result --gt ./VOC2012/SegmentationClassAug --list ./dataset/val.txt
"""

import argparse
import json
from pathlib import Path

from deeplablib.data.classes import add_classes, default_classes
from deeplablib.data.image_lists import read_list
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.prediction.metrics import evaluate, iou_summary, iou_table
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import check_output_file, files_by_name, list_files, replacing


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--pred', type=Path, required=True, help='folder of predictions, NAME.png')
    parser.add_argument('--gt', type=Path, required=True, help='folder of masks, NAME.png')
    parser.add_argument(
        '--list', help='list of images to evaluate; without it, every prediction in the folder'
    )
    group = parser.add_mutually_exclusive_group()
    add_classes(group)
    group.add_argument(
        '--num-classes', type=int, metavar='N', help='of classes without names of their own'
    )
    parser.add_argument('--json', type=Path, help='also write the numbers to this file')
    return parser.parse_args()


def find_pairs(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """The masks and predictions to compare; what the folders hold beside them is named.

    Raises InputError for what is missing.
    """
    for folder in (args.pred, args.gt):
        if not folder.is_dir():
            raise InputError(f'{folder}: no such folder')
    predictions, masks = files_by_name(args.pred), files_by_name(args.gt)
    if args.list:
        samples = read_list(args.list, args.gt)
        images: dict[str, Path] = {}
        faults = [
            f'{s.origin}: {s.image} has the name of {images[s.name]}; evaluate them separately'
            for s in samples
            if images.setdefault(s.name, s.image) != s.image
        ]
        errors.raise_all(faults)
        names = [sample.name for sample in samples]
    else:
        names = list(predictions)
        others = sorted(set(list_files(args.pred)) - set(predictions.values()))
        unpredicted = [path for name, path in masks.items() if name not in predictions]
        for kind, left_out in (('is no PNG', others), ('has no prediction', unpredicted)):
            if left_out and names:
                print(f'note: {len(left_out)} left out, such as {left_out[0]}, which {kind}')
    if not names:
        raise InputError(f'{args.pred}: no predictions (*.png) in this folder')
    pairs = [
        (masks.get(name, args.gt / f'{name}.png'), predictions.get(name, args.pred / f'{name}.png'))
        for name in names
    ]
    errors.raise_all([f'no file {path}' for pair in pairs for path in pair if not path.is_file()])
    return pairs


def main() -> None:
    """Evaluate, write the numbers and print the table."""
    args = get_arguments()
    if args.num_classes is not None and not 2 <= args.num_classes <= IGNORE_LABEL:
        raise InputError(f'--num-classes {args.num_classes}: expected 2 to {IGNORE_LABEL}')
    classes = default_classes(args.num_classes) if args.num_classes else args.classes
    if args.json:
        check_output_file(args.json)
    pairs = find_pairs(args)
    confusion = evaluate(pairs, len(classes))
    if args.json:
        summary = iou_summary(confusion, classes) | {'images': len(set(pairs))}
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + '\n')
    print(iou_table(confusion, classes))


if __name__ == '__main__':
    errors.run_script(main)

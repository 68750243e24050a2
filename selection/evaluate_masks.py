r"""How good cues or masks truly are, where the truth is known.

python -m selection.evaluate_masks --cues ./cues --truth ./VOC2012/SegmentationClassAug \
    --data-list ./dataset/train.txt
python -m selection.evaluate_masks --masks ./result/proxies --truth ./VOC2012/SegmentationClassAug \
    --data-list ./dataset/train.txt

Cues: the mean IoU of seeds. A seed is the largest cue, each divided by its maximum, where that
exceeds a threshold, and background elsewhere; the best of the thresholds from 0.05 to 0.6 is what
the field reports. Masks: their IoU without the ignored pixels (255), and how much is labelled.

For a report. No step of the method looks at the true mask of a training image.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import check_files_of, masks_of, read_list
from deeplablib.data.masks import read_mask
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.prediction.metrics import confusion_matrix, iou_summary, iou_table, mean_iou
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import check_output_file, files_by_name, replacing
from deeplablib.utils.parallel import add_jobs, for_each
from selection.cues import check_numbering, find_cues, read_cues

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 13))  # 0.05 to 0.6


def compare(
    paths: tuple[Path, Path], num_classes: int = NUM_CLASSES
) -> tuple[npt.NDArray[np.int64], float]:
    """Compare a mask on disk with its true mask.

    paths: of the mask and of the true mask. num_classes: that they have.
    Returns (int64 [classes, classes], the confusion matrix of the pixels that both label, rows: the
    truth; the fraction of pixels that the mask labels).
    """
    mask = read_mask(paths[0], num_classes)
    truth = read_mask(paths[1], num_classes, mask.shape)
    return confusion_matrix(truth, mask, num_classes), np.mean(mask != IGNORE_LABEL)


def compare_all(
    pairs: Sequence[tuple[Path, Path]], num_classes: int = NUM_CLASSES, jobs: int | str = -1
) -> tuple[Sequence[npt.NDArray[np.int64]], Sequence[float]]:
    """What compare gives for each pair, on all cores; jobs: as for parallel.for_each."""
    work = partial(compare, num_classes=num_classes)
    confusions, labelled = zip(*for_each(work, pairs, 'comparing', jobs), strict=True)
    return confusions, labelled


def list_quality(
    train_list: str | Path, data_dir: str | Path, truth: str | Path, num_classes: int = NUM_CLASSES
) -> tuple[int, float, float]:
    """The true quality of the masks of a list.

    train_list: list with masks. data_dir: the folder its paths start from. truth: folder of the
    true masks, NAME.png.
    Returns (number of images, mean IoU of their masks, fraction of pixels that have a label).
    Raises InputError when a sample has no mask or a mask cannot be read.
    """
    samples = read_list(train_list, data_dir)
    truths = [Path(truth) / f'{sample.name}.png' for sample in samples]
    pairs = list(zip(masks_of(samples), truths, strict=True))
    confusions, labelled = compare_all(pairs, num_classes)
    return len(samples), mean_iou(np.sum(confusions, 0)), float(np.mean(labelled))


def seed_labels(
    cues: Mapping[int, npt.NDArray[np.uint8]], size: tuple[int, int], threshold: float
) -> npt.NDArray[np.uint8]:
    """Turn cues into labels: the largest where it exceeds the threshold, background elsewhere.

    cues: dict from class id to uint8 [height, width]. size: (height, width). threshold: of a cue
    divided by its maximum. Returns uint8 [height, width].
    """
    classes = np.array([0, *sorted(cues)], np.uint8)
    scores = np.full((len(classes), *size), threshold, np.float32)
    for score, index in zip(scores[1:], classes[1:], strict=True):
        score[...] = cues[index] / max(cues[index].max(), np.uint8(1)).astype(np.float32)
    return classes[scores.argmax(0)]


def seed_confusions(
    folder: Path, item: tuple[Path, npt.NDArray[np.bool_]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Compare the seeds of one image with its true mask.

    folder: of cues. item: path of the true mask, and the classes whose cues are read, bool
    [classes]; without cues all is background.
    Returns (bool [classes], those that had a cue; int64 [thresholds, classes, classes], the
    confusion matrices).
    """
    path, classes = item
    truth = read_mask(path, len(classes))
    cues = read_cues(folder, path.stem, classes, truth.shape)
    seeds = [seed_labels(cues, truth.shape, threshold) for threshold in THRESHOLDS]
    confusions = [confusion_matrix(truth, labels, len(classes)) for labels in seeds]
    return np.isin(np.arange(len(classes)), [*cues]), np.stack(confusions)


def quality_of_cues(
    folder: Path, truths: Mapping[str, Path], classes: Sequence[str], jobs: int | str
) -> tuple[str, dict[str, Any]]:
    """The quality of seeds, as text and as a dict for JSON.

    folder: of cues. truths: dict from image name to the path of its true mask. classes: their
    names. jobs: as for parallel.for_each. Raises InputError for cues that fit no image or class.
    """
    found = find_cues(folder, len(classes))
    none = np.zeros(len(classes), bool)
    items = [(path, found.get(name, none)) for name, path in truths.items()]
    without = [name for name in truths if name not in found]
    if len(without) == len(truths):
        raise InputError(f'{folder}: no cue of any image of the list')
    if without:
        print(f'note: {len(without)} images have no cue, and count as background: {without[0]} ...')
    total, pairs = np.zeros((len(THRESHOLDS), len(classes), len(classes)), np.int64), []
    for cues, confusions in for_each(partial(seed_confusions, folder), items, 'quality', jobs):
        total += confusions
        pairs.append((cues, confusions[0].any(1)))
    check_numbering(folder, pairs)
    means = [mean_iou(confusion) for confusion in total]
    best = int(np.argmax(means))
    lines = ['threshold  mean IoU']
    for i, (threshold, mean) in enumerate(zip(THRESHOLDS, means, strict=True)):
        lines.append(f'{threshold:<9.2f}  {100 * mean:8.2f}' + ('  best' if i == best else ''))
    lines.append(f'\nat {THRESHOLDS[best]}:\n{iou_table(total[best], classes)}')
    return '\n'.join(lines), {
        **iou_summary(total[best], classes),
        'images': len(truths),
        'threshold': THRESHOLDS[best],
        'mean_iou_by_threshold': dict(zip(map(str, THRESHOLDS), means, strict=True)),
    }


def quality_of_masks(
    folder: Path, truths: Mapping[str, Path], classes: Sequence[str], jobs: int | str
) -> tuple[str, dict[str, Any]]:
    """The quality of masks, as text and as a dict for JSON; arguments as above."""
    masks = files_by_name(folder)
    pairs = [(masks.get(name, folder / path.name), path) for name, path in truths.items()]
    errors.raise_all([f'no mask at {path}' for path, _ in pairs if not path.is_file()])
    confusions, fractions = compare_all(pairs, len(classes), jobs)
    confusion, labelled = np.sum(confusions, 0), float(np.mean(fractions))
    text = f'{iou_table(confusion, classes)}\n{"labelled":<16}{100 * labelled:>8.2f}'
    return text, {
        **iou_summary(confusion, classes),
        'labelled': labelled,
        'images': len(truths),
    }


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--cues', type=Path, help='folder of cues, NAME_<class id - 1>.png')
    source.add_argument('--masks', type=Path, help='folder of masks, NAME.png')
    parser.add_argument('--truth', required=True, type=Path, help='folder of true masks, NAME.png')
    parser.add_argument('--data-list', required=True, help='list of the images')
    parser.add_argument('--json', type=Path, help='also write the numbers to this file')
    add_classes(parser)
    add_jobs(parser)
    return parser.parse_args()


def main() -> None:
    """Measure, save and print the quality."""
    args = get_arguments()
    folder = args.cues or args.masks
    for path in (folder, args.truth):
        if not path.is_dir():
            raise InputError(f'{path}: no such folder')
    if args.json:
        check_output_file(args.json)
    samples = read_list(args.data_list, args.truth)
    check_files_of(samples, args.truth, 'true mask')
    truths = {sample.name: args.truth / f'{sample.name}.png' for sample in samples}
    quality = quality_of_cues if args.cues else quality_of_masks
    text, summary = quality(folder, truths, args.classes, args.jobs)
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + '\n')
    print(text)


if __name__ == '__main__':
    errors.run_script(main)

"""The work on lists of files that needs no TensorFlow: CRF, mask quality, evaluation, start-up."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deeplablib.data.image_lists import read_list, write_list
from deeplablib.data.images import read_mask, write_mask
from deeplablib.data.score_maps import write_score_map
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.prediction import crf
from deeplablib.prediction.crf_list import crf_samples
from deeplablib.prediction.metrics import confusion_matrix, evaluate
from experiments.benchmarks.measure import Work
from selection.measure_quality import measure_masks


def write_data(folder: str | Path, count: int, height_width: tuple[int, int]) -> None:
    """Write made-up data: JPEGImages, SegmentationClassAug, scores (score maps) and list.txt.

    folder: an existing, empty folder. count: images. height_width: of each.
    """
    folder = Path(folder)
    for name in ('JPEGImages', 'SegmentationClassAug', 'scores'):
        (folder / name).mkdir()
    pairs = []
    for number in range(count):
        random = np.random.default_rng(number)
        name = f'made_up_{number:06d}'
        image, mask = (folder / f'{f}/{name}' for f in ('JPEGImages', 'SegmentationClassAug'))
        image, mask = image.with_suffix('.jpg'), mask.with_suffix('.png')
        Image.fromarray(_blobs(random, 3, height_width).astype(np.uint8)).save(image, quality=90)
        score_map = _blobs(random, NUM_CLASSES, [-(-n // 8) for n in height_width]) / 16
        write_score_map(folder / f'scores/{name}.npz', score_map, height_width, 'logits')
        labels = _blobs(random, NUM_CLASSES, height_width).argmax(-1)
        write_mask(mask, labels.astype(np.uint8))
        pairs.append((image, mask))
    write_list(folder / 'list.txt', pairs, folder)


def dense_crf(data: str | Path, count: int, jobs: int | str, prune: float = 0.0) -> Work:
    """The CRF over score files, 21 classes."""
    samples, folder = _samples(data, count), tempfile.TemporaryDirectory()
    parameters = crf.PRESETS[crf.DEFAULT_PRESET]

    def run():
        crf_samples(
            samples,
            score_map_dir=Path(data) / 'scores',
            save_dir=Path(folder.name),
            parameters=parameters,
            prune=prune,
            jobs=jobs,
        )

    return Work(run, items=count, keeps=folder)


def mask_quality(data: str | Path, count: int, jobs: int | str) -> Work:
    """The quality of masks (selection.measure_quality)."""
    samples, folder = _samples(data, count), tempfile.TemporaryDirectory()
    masks, score_maps = (Path(data) / name for name in ('SegmentationClassAug', 'scores'))
    allowed_by_image = dict.fromkeys((s.name for s in samples), np.ones(NUM_CLASSES, bool))
    out = Path(folder.name) / 'scores.csv'

    def run():
        measure_masks(samples, allowed_by_image, masks, score_maps, out, jobs=jobs)

    return Work(run, items=count, keeps=folder)


def evaluation(data: str | Path, count: int, one_by_one: bool) -> Work:
    """The confusion matrix of masks with themselves, on one thread or as eval_iou.py does it."""
    pairs = [(sample.mask, sample.mask) for sample in _samples(data, count)]

    def plainly():
        return sum(confusion_matrix(*(read_mask(path) for path in pair)) for pair in pairs)

    return Work(plainly if one_by_one else lambda: evaluate(pairs), count)


def command(arguments: Sequence[str]) -> Work:
    """A whole process of Python; arguments: its command line."""
    given = [sys.executable, *arguments]
    return Work(lambda: subprocess.run(given, check=True, capture_output=True))


def _samples(data, count):
    return read_list(Path(data) / 'list.txt', data)[:count]


def _blobs(random, channels, height_width):
    """Smooth random fields, 0 to 255; float32 [height, width, channels]."""
    coarse = random.integers(0, 256, (9, 9, channels), np.uint8)
    size = tuple(height_width)[::-1]
    planes = [
        Image.fromarray(coarse[..., c]).resize(size, Image.Resampling.BICUBIC)
        for c in range(channels)
    ]
    return np.stack(planes, -1).astype(np.float32)

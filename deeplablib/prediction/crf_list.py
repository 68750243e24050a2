"""The CRF over a list: score files in, label maps out."""

from functools import partial

import numpy as np

from deeplablib.data.image_lists import check_files_of
from deeplablib.data.images import read_image, size_text, write_mask
from deeplablib.data.score_maps import OUTPUT_STRIDE, image_probabilities, read_scores
from deeplablib.prediction.crf import crf_labels
from deeplablib.run.errors import InputError
from deeplablib.run.files import locked
from deeplablib.run.parallel import for_each


def crf_samples(samples, scores_dir, save_dir, parameters, prune=0.0, allowed=None, jobs=-1):
    """Save the label map of each image after the CRF as SAVE_DIR/NAME.png.

    samples: list of Sample. scores_dir: folder of score files (deeplablib.data.score_maps).
    save_dir: an existing folder. parameters, prune: as for crf.crf_labels.
    allowed: dict from image name to the bool array [classes] of those that may occur; None: all.
    jobs: as for parallel.for_each.
    Raises InputError for a missing or unfitting score file, and when another process is at work in
    save_dir; what was done before is saved.
    """
    check_files_of(samples, scores_dir, 'scores', '.npz')
    items = [(sample, allowed and allowed[sample.name]) for sample in samples]
    work = partial(_crf_one, scores_dir, save_dir, parameters, prune)
    with locked(save_dir):
        for _ in for_each(work, items, 'CRF', jobs):
            pass


def read_probabilities(path, size, allowed=None):
    """The probabilities of a score file, at the size of its image.

    path: the score file. size: (height, width) of the image or mask that they are for.
    allowed: as for score_maps.image_probabilities.
    Returns float32 [height, width, classes]. Raises InputError when the scores are of another image
    or of another number of classes.
    """
    scores, scores_size, kind = read_scores(path)
    if scores_size != tuple(size):
        raise InputError(
            f'{path}: scores of an image of {size_text(scores_size)}, this one is {size_text(size)}'
        )
    expected = tuple(-(-n // OUTPUT_STRIDE) for n in size)
    if scores.shape[:2] != expected:
        raise InputError(
            f'{path}: a score map of {size_text(scores.shape)}, expected {size_text(expected)}'
        )
    if allowed is not None and len(allowed) != scores.shape[-1]:
        raise InputError(f'{path}: scores of {scores.shape[-1]} classes, expected {len(allowed)}')
    if not np.isfinite(scores).all():
        raise InputError(f'{path}: holds scores that are no numbers')
    return image_probabilities(scores, size, kind, allowed)


def _crf_one(scores_dir, save_dir, parameters, prune, item):
    sample, allowed = item
    image = read_image(sample.image)
    path = scores_dir / f'{sample.name}.npz'
    probabilities = read_probabilities(path, image.shape[:2], allowed)
    labels = crf_labels(image, probabilities, parameters, prune)
    write_mask(save_dir / f'{sample.name}.png', labels)

"""The CRF over a list: score files in, label maps out."""

from functools import partial

import numpy as np

from deeplablib.crf import crf_labels
from deeplablib.errors import InputError, raise_all
from deeplablib.files import locked
from deeplablib.images import read_image, write_mask
from deeplablib.parallel import for_each
from deeplablib.scores import image_probabilities, read_scores

OUTPUT_STRIDE = 8  # pixels of the image for one of the score map


def crf_samples(samples, scores_dir, save_dir, parameters, prune=0.0, allowed=None, jobs=-1):
    """Save the label map of each image after the CRF as SAVE_DIR/NAME.png.

    samples: list of Sample. scores_dir: folder of score files (deeplablib.scores).
    save_dir: an existing folder. parameters, prune: as for crf.crf_labels.
    allowed: dict from image name to the bool array [classes] of those that may occur; None: all.
    jobs: as for parallel.for_each.
    Raises InputError for a missing or unfitting score file, and when another process is at work in
    save_dir; what was done before is saved.
    """
    check_scores(samples, scores_dir)
    items = [(sample, allowed and allowed[sample.name]) for sample in samples]
    work = partial(_crf_one, scores_dir, save_dir, parameters, prune)
    with locked(save_dir):
        for _ in for_each(work, items, 'CRF', jobs):
            pass


def check_scores(samples, scores_dir):
    """Raise InputError for every image that has no score file."""
    paths = [(sample, scores_dir / f'{sample.name}.npz') for sample in samples]
    raise_all([f'{s.origin}: no scores at {path}' for s, path in paths if not path.is_file()])


def read_probabilities(path, size, allowed=None):
    """The probabilities of a score file, at the size of its image.

    path: the score file. size: (height, width) of the image or mask that they are for.
    allowed: as for scores.image_probabilities.
    Returns float32 [height, width, classes]. Raises InputError when the scores are of another image
    or of another number of classes.
    """
    scores, scores_size, kind = read_scores(path)
    if scores_size != tuple(size):
        raise InputError(
            f'{path}: scores of an image of {_size(scores_size)}, this one is {_size(size)}'
        )
    expected = tuple(-(-n // OUTPUT_STRIDE) for n in size)
    if scores.shape[:2] != expected:
        raise InputError(
            f'{path}: a score map of {_size(scores.shape)}, expected {_size(expected)}'
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


def _size(size):
    return f'{size[1]}x{size[0]}'

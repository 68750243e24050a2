"""The CRF over a list: score files in, label maps out."""

from functools import partial

from deeplablib.data.image_lists import check_files_of
from deeplablib.data.images import read_image, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.prediction.crf import crf_labels
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


def _crf_one(scores_dir, save_dir, parameters, prune, item):
    sample, allowed = item
    image = read_image(sample.image)
    path = scores_dir / f'{sample.name}.npz'
    probabilities = read_probabilities(path, image.shape[:2], allowed)
    labels = crf_labels(image, probabilities, parameters, prune)
    write_mask(save_dir / f'{sample.name}.png', labels)

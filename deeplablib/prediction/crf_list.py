"""The CRF over a list: score files in, label maps out."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_image, write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.prediction.crf import Parameters, crf_labels
from deeplablib.prediction.photographs import enlarge, shrink
from deeplablib.utils.files import locked
from deeplablib.utils.parallel import for_each


def crf_samples(
    samples: Sequence[Sample],
    score_map_dir: Path,
    save_dir: Path,
    parameters: Parameters,
    prune: float = 0.0,
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    jobs: int | str = -1,
) -> None:
    """Save the label map of each image after the CRF as SAVE_DIR/NAME.png.

    score_map_dir: folder of score files (deeplablib.data.score_maps).
    save_dir: an existing folder. parameters, prune: as for crf.crf_labels.
    allowed_by_image: dict from image name to bool [classes], those that may occur; None: all.
    jobs: as for parallel.for_each.
    Raises InputError for a missing or unfitting score file, and when another process is at work in
    save_dir; what was done before is saved.
    """
    check_files_of(samples, score_map_dir, 'scores', '.npz')
    items = [
        (sample, None if allowed_by_image is None else allowed_by_image[sample.name])
        for sample in samples
    ]
    work = partial(_crf_one, score_map_dir, save_dir, parameters, prune)
    with locked(save_dir):
        for _ in for_each(work, items, 'CRF', jobs):
            pass


def _crf_one(score_map_dir, save_dir, parameters, prune, item):
    sample, allowed = item
    image = read_image(sample.image)
    path = score_map_dir / f'{sample.name}.npz'
    # A photograph that the network saw smaller is too large for the CRF too.
    probabilities = read_probabilities(path, image.shape[:2], allowed, at_input_size=True)
    small = shrink(image, probabilities.shape[:2])
    labels = enlarge(crf_labels(small, probabilities, parameters, prune), image.shape[:2])
    write_mask(save_dir / f'{sample.name}.png', labels)

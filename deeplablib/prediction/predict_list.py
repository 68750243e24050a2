"""Label every image of a list and save the predictions."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.images import write_mask
from deeplablib.data.network_input import load_image
from deeplablib.data.score_maps import write_score_map
from deeplablib.prediction.photographs import label_photograph, photograph_sizes, prepared
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.progress import progress

SAVES_IN_FLIGHT = 8
DECODED_AHEAD = 2


def predict_samples(
    predict: Any,
    samples: Sequence[Sample],
    save_dir: Path,
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    score_map_dir: Path | None = None,
    score_map_kind: str = 'logits',
    write: Callable | None = None,
    max_size: int | None = None,
) -> None:
    """Save the label map of each image as SAVE_DIR/NAME.png, and its score map if asked.

    predict: from multi_scale.make_predictor. save_dir: an existing folder.
    allowed_by_image: dict from image name to bool [classes], those that may occur; None: all.
    score_map_dir: folder for score files, of score_map_kind (deeplablib.data.score_maps), or None.
    write: function of (name, labels) that saves a label map in another way.
    max_size: of the longer side, pixels: the network sees a larger image smaller, and its labels
    have its own size all the same. None: it sees each as it is.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    write = write or (lambda name, labels: write_mask(save_dir / f'{name}.png', labels))
    every_class = np.ones(predict.input_signature[1].shape[0], bool)
    sizes = photograph_sizes(samples, max_size) if max_size else {}

    def save(name, allowed, labels, score_map):
        labels, score_map = labels.numpy(), score_map.numpy()
        input_size = labels.shape
        size = sizes.get(name, input_size)
        # The score map first: the label map is what tells a resumed run that an image is done.
        if score_map_dir is not None:
            path = score_map_dir / f'{name}.npz'
            write_score_map(path, score_map, size, score_map_kind, input_size)
        if size != input_size:
            labels, _ = label_photograph(score_map, size, score_map_kind, allowed)
        write(name, labels)

    def label(sample, image):
        allowed = every_class
        if allowed_by_image is not None:
            allowed = allowed_by_image[sample.name]
        outputs = predict(image, allowed)
        return partial(save, sample.name, allowed, *outputs)

    run_network(label, samples, 'predicting', max_size, saves_in_flight=saves_for(sizes, max_size))


def saves_for(sizes: Mapping[str, tuple[int, int]], max_size: int | None) -> int:
    """How many images may wait to be saved; large ones go one after the other.

    Each takes its memory many times over while it is saved.
    sizes: from photograph_sizes. max_size: as there.
    """
    return 0 if max_size and any(max(s) > max_size for s in sizes.values()) else SAVES_IN_FLIGHT


def run_network(
    work: Callable,
    samples: Sequence[Sample],
    label: str,
    max_size: int | None = None,
    turn: bool = False,
    saves_in_flight: int = SAVES_IN_FLIGHT,
) -> None:
    """Run a network over the images of a list, with what it gives saved behind it.

    Decoding runs ahead of the network and saving behind it, both on other threads.
    work: function of (sample, image uint8 [height, width, 3]) that returns a function without
    arguments, which saves. label: what is being done, for the progress.
    max_size, turn: as for photographs.prepared. saves_in_flight: how many may wait.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    with ThreadPoolExecutor() as pool:
        in_flight: deque[Future] = deque()
        try:
            images = _images(samples, max_size, turn)
            for sample, image in progress(images, len(samples), label):
                in_flight.append(pool.submit(work(sample, image)))
                if len(in_flight) > saves_in_flight:
                    in_flight.popleft().result()
        finally:
            for saving in in_flight:
                saving.result()


def _images(samples, max_size, turn):
    with ThreadPoolExecutor(1) as pool:
        ahead = deque()
        for sample in samples:
            ahead.append((sample, pool.submit(_read, sample, max_size, turn)))
            if len(ahead) > DECODED_AHEAD:
                yield _decoded(*ahead.popleft())
        for waiting in ahead:
            yield _decoded(*waiting)


def _read(sample, max_size, turn):
    photograph = prepared(sample.image, max_size, turn) if max_size or turn else None
    return load_image(sample.image) if photograph is None else photograph


def _decoded(sample, reading):
    try:
        return sample, tf.convert_to_tensor(reading.result())
    except InputError as error:
        raise InputError(f'{sample.origin}: {error}') from None

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
from deeplablib.data.images import size_text
from deeplablib.data.masks import write_mask
from deeplablib.data.network_input import load_image
from deeplablib.data.score_maps import write_score_map
from deeplablib.prediction.photographs import label_photograph, prepared
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

    def save(name, size, allowed, labels, score_map):
        labels, score_map = labels.numpy(), score_map.numpy()
        # The score map first: the label map is what tells a resumed run that an image is done.
        if score_map_dir is not None:
            path = score_map_dir / f'{name}.npz'
            write_score_map(path, score_map, size, score_map_kind, labels.shape)
        if size != labels.shape:
            labels, _ = label_photograph(score_map, size, score_map_kind, allowed)
        write(name, labels)

    def label(sample, image, size):
        allowed = every_class if allowed_by_image is None else allowed_by_image[sample.name]
        return partial(save, sample.name, size, allowed, *predict(image, allowed))

    run_network(label, samples, 'predicting', max_size)


def run_network(
    work: Callable,
    samples: Sequence[Sample],
    label: str,
    max_size: int | None = None,
    turn: bool = False,
) -> None:
    """Run a network over the images of a list, with what it gives saved behind it.

    Decoding runs ahead of the network and saving behind it, both on other threads.
    Prints a note where the network saw some images smaller.
    work: function of (sample, image, size) that returns a function without arguments, which saves;
    image: uint8 [height, width, 3], as the network sees it; size: (height, width) of the sample.
    label: what is being done, for the progress. max_size, turn: as for photographs.prepared.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    large: list[str] = []
    with ThreadPoolExecutor() as pool:
        in_flight: deque[Future] = deque()
        try:
            images = _images(samples, max_size, turn)
            for sample, image, size in progress(images, len(samples), label):
                in_flight.append(pool.submit(work(sample, image, size)))
                is_large = size != tuple(image.shape[:2])
                if is_large:
                    large.append(f'{sample.image} ({size_text(size)})')
                # What is saved of a large one takes its memory many times over.
                while len(in_flight) > (0 if is_large else SAVES_IN_FLIGHT):
                    in_flight.popleft().result()
        finally:
            for saving in in_flight:
                saving.result()
    if large:
        print(
            f'note: {len(large)} of {len(samples)} photographs are larger than {max_size} pixels, '
            f'such as {large[0]}; the network saw them smaller (--max-size)'
        )


def _images(samples, max_size, turn):
    with ThreadPoolExecutor(1) as pool:
        ahead = deque()
        for sample in samples:
            ahead.append(pool.submit(_read, sample, max_size, turn))
            if len(ahead) > DECODED_AHEAD:
                yield ahead.popleft().result()
        for waiting in ahead:
            yield waiting.result()


def _read(sample, max_size, turn):
    image, size = None, None
    try:
        if max_size or turn:
            image, size = prepared(sample.image, max_size, turn)
        if image is None:
            image = load_image(sample.image)
    except InputError as error:
        raise InputError(f'{sample.origin}: {error}') from None
    return sample, tf.convert_to_tensor(image), size or tuple(image.shape[:2])

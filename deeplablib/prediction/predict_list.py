"""Label every image of a list and save the predictions."""

import os
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
from deeplablib.data.network_input import decode_image
from deeplablib.data.score_maps import write_score_map
from deeplablib.run.backend import tf
from deeplablib.run.errors import InputError, tensorflow_reason
from deeplablib.run.progress import progress

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
) -> None:
    """Save the label map of each image as SAVE_DIR/NAME.png, and its score map if asked.

    predict: from multi_scale.make_predictor. save_dir: an existing folder.
    allowed_by_image: dict from image name to bool [classes], those that may occur; None: all.
    score_map_dir: folder for score files, of score_map_kind (deeplablib.data.score_maps), or None.
    write: function of (name, labels) that saves a label map in another way.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    write = write or (lambda name, labels: write_mask(save_dir / f'{name}.png', labels))
    every_class = np.ones(predict.input_signature[1].shape[0], bool)

    def save(name, size, labels, score_map):
        # The score map first: the label map is what tells a resumed run that an image is done.
        if score_map_dir is not None:
            write_score_map(score_map_dir / f'{name}.npz', score_map.numpy(), size, score_map_kind)
        write(name, labels.numpy())

    def label(sample, image):
        allowed = every_class
        if allowed_by_image is not None:
            allowed = allowed_by_image[sample.name]
        outputs = predict(image, allowed)
        return partial(save, sample.name, image.shape[:2], *outputs)

    run_network(label, samples, 'predicting')


def run_network(
    work: Callable, samples: Sequence[Sample], label: str, saves_in_flight: int = SAVES_IN_FLIGHT
) -> None:
    """Run a network over the images of a list, with what it gives saved behind it.

    Decoding runs ahead of the network and saving behind it, both on other threads.
    work: function of (sample, image uint8 [height, width, 3]) that returns a function without
    arguments, which saves. label: what is being done, for the progress.
    saves_in_flight: how many may wait.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    with ThreadPoolExecutor() as pool:
        in_flight: deque[Future] = deque()
        try:
            for sample, image in progress(_images(samples), len(samples), label):
                in_flight.append(pool.submit(work(sample, image)))
                if len(in_flight) > saves_in_flight:
                    in_flight.popleft().result()
        finally:
            for saving in in_flight:
                saving.result()


def _images(samples):
    paths = [os.fsencode(sample.image) for sample in samples]
    dataset = tf.data.Dataset.from_tensor_slices(paths).map(decode_image).prefetch(DECODED_AHEAD)
    # With tf.data's autotuner, every third list or so is predicted as if there were one core only.
    options = tf.data.Options()
    options.autotune.enabled = False
    images = iter(dataset.with_options(options))
    for sample in samples:
        try:
            yield sample, next(images)
        except tf.errors.OpError as error:
            reason = tensorflow_reason(error)
            raise InputError(
                f'{sample.origin}: cannot read the image {sample.image} ({reason})'
            ) from None

"""A classifier of places, learnt from the maps of a tag classifier: it sees what they leave out.

A tag classifier names whole images, for which the head of a dog is enough. Where its propagated
maps (selection.propagation) are sure of a tag, or of background, are seeds; logistic regression
over the classes of these seeds, background among them, says of each place what it is. ReCAM (Chen
et al., 2022) is such a second classifier, trained with the encoder. Here the encoder is frozen, so
it is solved to its end. The constants are our choice, by the true masks of 150 photographs
(docs/photographs.md).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplablib.data.image_lists import Sample
from deeplablib.data.network_input import preprocess
from deeplablib.network.folding import fold_for_prediction
from deeplablib.network.layers import TAG_LAYER
from deeplablib.prediction.predict_list import run_network
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.files import replacing
from selection.propagation import affinity, propagate, stretched
from selection.regression import class_loss, fit

CLASSIFIERS = 2  # one after the other, each learnt from the maps of the one before
OBJECT, BACKGROUND = 0.5, 0.25  # a map above is a seed of its tag, all maps below of background
MOST_OF_IMAGE, MOST_PLACES = 60, 100_000  # seeds that are learnt from
L2 = 0.01
BALANCE = 0.5  # a place weighs (share of its class) ** -BALANCE
MOST_ITERATIONS = 80


def learnt_cams(
    model: keras.Model,
    layers: Sequence[str],
    samples: Sequence[Sample],
    allowed: npt.NDArray[np.bool_],
    out: Path,
    resume: bool = False,
) -> Callable:
    """Learn the classifiers of places, and build the function that makes the cues of an image.

    model: from NetworkSpec.build_classifier, with its weights. layers: names of its layers whose
    features say how alike two places are. samples: to learn from. allowed: bool [samples, classes],
    the tags of each and background.
    out: folder that keeps what is learnt. resume: take what an earlier run has learnt there.
    Returns a function of (image, tags): uint8 RGB [height, width, 3] and bool [tags]. It gives
    float32 [height, width, number of tags that are true], in the order of the tags, from 0 to 1.
    """
    features_of = make_feature_function(model, layers)
    kernel = model.get_layer(TAG_LAYER).kernel.numpy()[0, 0]
    maps_of: Callable = partial(_propagated, features_of, partial(_tag_responses, kernel))
    for number in range(1, CLASSIFIERS + 1):
        kept = out / f'.place_classifier_{number}.npz'
        if not (resume and kept.is_file()):
            label = f'learning places, {number} of {CLASSIFIERS}'
            learnt = learn_places(maps_of, samples, allowed, label)
            with replacing(kept) as temporary, temporary.open('wb') as file:
                np.savez(file, *learnt)
        with np.load(kept) as file:
            maps_of = partial(_propagated, features_of, partial(_probabilities, *file.values()))

    def cams(image, tags):
        maps, features = maps_of(image, tags)
        maps = maps.reshape(*features.shape[:2], -1)
        size = int(image.shape[1]), int(image.shape[0])
        planes = [
            Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)
            for plane in np.moveaxis(maps, -1, 0)
        ]
        return np.stack(planes, -1)

    return cams


def make_feature_function(model: keras.Model, layers: Sequence[str]) -> Any:
    """Build the function that gives what the encoder of a tag classifier sees in each place.

    Arguments as for learnt_cams. Returns a tf.function of an image, uint8 RGB [height, width, 3].
    It gives the features before the last layer, float32 [rows, columns, channels], and a list of
    those of the layers, averaged to the same rows and columns.
    """
    fast = fold_for_prediction(model)
    outputs = [fast.get_layer(TAG_LAYER).input, *(fast.get_layer(name).output for name in layers)]
    encoder = keras.Model(fast.input, outputs)
    rows, *finer = (shape[1] for shape in encoder.compute_output_shape((1, 256, 256, 3)))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def features(image):
        last, *others = encoder(preprocess(image)[None], training=False)
        pooled = [
            tf.nn.avg_pool2d(other, count // rows, count // rows, 'SAME')[0]
            for other, count in zip(others, finer, strict=True)
        ]
        return last[0], pooled

    return features


def learn_places(
    maps_of: Callable, samples: Sequence[Sample], allowed: npt.NDArray[np.bool_], label: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Learn a classifier of places from what the maps of images are sure of.

    maps_of: function of (image, tags) that returns maps, float32 [places, tags], from 0 to 1, and
    the features of the image, float32 [rows, columns, channels]. samples, allowed: as for
    learnt_cams. label: for the progress. Returns kernel [channels, classes] and bias [classes].
    """
    numbers = {sample.name: number for number, sample in enumerate(samples)}
    found: dict[str, tuple] = {}

    def work(sample, image, _):
        number = numbers[sample.name]
        maps, features = maps_of(image, allowed[number][1:])
        labels = seeds(maps, np.flatnonzero(allowed[number][1:]) + 1)
        chosen = _choose(labels, len(samples), np.random.default_rng(number))
        found[sample.name] = _flat(features)[chosen], labels[chosen]
        return lambda: None

    run_network(work, samples, label)
    features, labels = zip(*(found[sample.name] for sample in samples), strict=True)
    return fit_places(np.concatenate(features), np.concatenate(labels), allowed.shape[1])


def seeds(maps: npt.NDArray[np.float32], tags: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The class of each place that is sure: background, a tag, or -1 where it is not.

    maps: float32 [places, tags], each from 0 to 1. tags: their class ids. Returns int [places].
    """
    labels = np.where(maps.max(1) > OBJECT, tags[maps.argmax(1)], -1)
    return np.where(maps.max(1) < BACKGROUND, 0, labels)


def fit_places(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.intp], num_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Learn the class of a place from its features.

    features: float32 [places, channels]. labels: class ids [places].
    Returns kernel [channels, classes] and bias [classes].
    """
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    return fit(
        features,
        np.eye(num_classes, dtype=np.float32)[labels],
        class_loss,
        l2=L2,
        weights=share[labels] ** -BALANCE,
        most_iterations=MOST_ITERATIONS,
    )


def _propagated(features_of, respond, image, tags):
    """The propagated maps of an image, and its features; respond: (features, tags) -> maps."""
    features, layers = features_of(image)
    features = features.numpy()
    maps = respond(_flat(features), np.flatnonzero(tags))
    return stretched(
        propagate(maps, affinity([_flat(layer.numpy()) for layer in layers]))
    ), features


def _tag_responses(kernel, features, tags):
    return np.maximum(features @ kernel[:, tags], 0)


def _probabilities(kernel, bias, features, tags):
    """The softmax over background and an image's own tags; what it gives the tags."""
    logits = (features @ kernel + bias)[:, [0, *(tags + 1)]]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents[:, 1:] / exponents.sum(1, keepdims=True)


def _choose(labels, num_images, random):
    """Draw the seeds of an image that are learnt from; of each of many images, fewer are drawn."""
    sure = np.flatnonzero(labels >= 0)
    count = min(len(sure), MOST_OF_IMAGE, max(1, MOST_PLACES // num_images))
    return random.choice(sure, count, replace=False)


def _flat(features):
    return features.reshape(-1, features.shape[-1])

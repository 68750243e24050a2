"""Maps of classes moved along the likeness of an image's places: an object is more than its peaks.

A class activation map says where a classifier looks. Places of one image whose features in the
encoder are alike are likely to be of one object, so what one place says is passed on to the others:
a random walk, without any training. The idea is the field's: irn (Ahn et al., 2019) learns the
likeness, SEAM (Wang et al., 2020) and CLIP-ES (Lin et al., 2023) take it from features and from
attention. Layers, power and steps are our choice, by the true masks of 150 photographs
(docs/photographs.md).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STEPS = 4  # of the walk


def affinity(layers: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.float32]:
    """How alike the places of an image are: the mean cosine of their features, to the 4th power.

    The mean over the image is taken off the features first, and negative cosines count as 0. Rows
    and columns are normalised twice in turn (towards a doubly stochastic matrix), the matrix is
    made symmetric, and its rows are normalised.

    layers: features of several depths, each float [places, channels].
    Returns float32 [places, places]; each row sums to 1.
    """
    together = np.concatenate([_unit_features(np.float32(layer)) for layer in layers], axis=1)
    likeness = np.maximum(together @ together.T / len(layers), 0) ** 4
    for _ in range(2):
        likeness /= likeness.sum(0, keepdims=True)
        likeness /= likeness.sum(1, keepdims=True)
    likeness = likeness + likeness.T
    return likeness / likeness.sum(1, keepdims=True)


def propagate(
    maps: npt.NDArray[np.floating], likeness: npt.NDArray[np.float32], steps: int = STEPS
) -> npt.NDArray[np.float32]:
    """Let each place take the mean of the places that are like it, so many times.

    maps: float [places, classes]. likeness: from affinity. Returns float32 [places, classes].
    """
    for _ in range(steps):
        maps = likeness @ maps
    return np.asarray(maps, np.float32)


def stretched(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Each map from 0 to 1; one that is the same everywhere becomes 0. maps: [places, classes]."""
    maps = np.asarray(maps - np.min(maps, axis=0), np.float32)
    largest = np.maximum(maps.max(axis=0), np.finfo(np.float32).tiny)
    return (maps / largest).astype(np.float32)


def _unit_features(layer):
    layer = layer - layer.mean(0)
    return layer / (np.linalg.norm(layer, axis=1, keepdims=True) + 1e-6)

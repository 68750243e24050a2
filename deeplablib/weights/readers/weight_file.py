"""The one form that every file of weights is read into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Parameters of a layer, by the names that kaffe gives them, and what Keras calls them.
CONVOLUTION = {'weights': 'kernel', 'biases': 'bias'}
BATCH_NORM = {
    'scale': 'gamma',
    'offset': 'beta',
    'mean': 'moving_mean',
    'variance': 'moving_variance',
}
VARIABLES = CONVOLUTION | BATCH_NORM


@dataclass(frozen=True)
class WeightFile:
    """What a reader found.

    path: the file. format: what to call it in messages.
    layers: layer name -> parameter (of CONVOLUTION or BATCH_NORM) -> float32 array. Weights are
        [height, width, in, out], those of a dense layer [in, out].
    epsilon: what the program's batch norm adds to the variance, unless a layout says otherwise.
    channels_first: whether a dense layer sees a feature map flattened as [channels, height, width].
    others: names of values that belong to no layer (a step counter, an optimiser's slots).
    """

    path: str
    format: str
    layers: dict[str, dict[str, np.ndarray]]
    epsilon: float
    channels_first: bool
    others: tuple[str, ...] = ()


def from_variables(
    variables: Mapping[Any, npt.NDArray], split: Callable
) -> dict[str, dict[str, npt.NDArray]]:
    """Group variables by layer.

    variables: dict from name to array. split: turns a name into (layer, parameter), or None for
    a value that belongs to no layer, which is left out.
    Returns layers as in WeightFile.
    """
    layers: dict[str, dict[str, npt.NDArray]] = {}
    for name, value in variables.items():
        place = split(name)
        if place is not None:
            layer, parameter = place
            layers.setdefault(layer, {})[parameter] = np.asarray(value, np.float32)
    return layers


def height_width_in_out(weights: npt.NDArray) -> npt.NDArray:
    """Reorder weights that come as [out, in] or [out, in, height, width]."""
    return weights.transpose(2, 3, 1, 0) if weights.ndim == 4 else weights.T

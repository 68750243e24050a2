"""How weights that were made for another program are brought to these networks."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.images import IMG_MEAN
from deeplablib.network.layers import BATCH_NORM_EPSILON
from deeplablib.utils.errors import InputError
from deeplablib.weights.readers.weight_file import VARIABLES


@dataclass(frozen=True)
class Preprocessing:
    """What a network was trained on: (image - mean) / std, from pixels of 0..255.

    mean, std: per channel, in the order blue, green, red. rgb: the order its kernels expect.
    """

    mean: tuple[float, float, float] = IMG_MEAN
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rgb: bool = False


OURS = Preprocessing()
# torchvision.transforms.Normalize with the values of every torchvision classification model.
TORCHVISION = Preprocessing(
    mean=(255 * 0.406, 255 * 0.456, 255 * 0.485),
    std=(255 * 0.225, 255 * 0.224, 255 * 0.229),
    rgb=True,
)
# keras.applications.imagenet_utils.preprocess_input, mode 'caffe'.
KERAS_CAFFE = Preprocessing(mean=(103.939, 116.779, 123.68))


@dataclass
class Converted:
    """Weights of a source, as the variables of one network.

    title: what the source was recognised as. encoder_name: the network.
    layers: the source's, as in WeightFile. used: names of those that were taken.
    values: path of a Keras variable ('conv1/kernel') -> float32 array; what the source lacks is
        not in it.
    """

    title: str
    encoder_name: str
    layers: dict[str, dict[str, npt.NDArray]]
    used: set[str] = field(default_factory=set)
    values: dict[str, npt.NDArray] = field(default_factory=dict)

    def take(self, name: str) -> dict[str, npt.NDArray]:
        """A layer of the source; empty when it has none of that name."""
        self.used.add(name)
        return self.layers.get(name, {})

    def put(self, name: str, layer: Mapping[str, npt.NDArray]) -> None:
        """Make a layer, parameter -> array, the values of the network's layer of that name."""
        for parameter, variable in VARIABLES.items():
            if parameter in layer:
                self.values[f'{name}/{variable}'] = layer[parameter]

    def unused(self) -> list[str]:
        """Names of the source's layers that were not taken."""
        return [name for name in self.layers if name not in self.used]


def recognise(
    path: str | Path, layers: Mapping[str, Any], layouts: Mapping[str, Sequence[str]]
) -> tuple[str, dict[str, Any]]:
    """Find the layout that names the layers of a file, as they are or under a common prefix.

    path: the file, for messages. layers: as in WeightFile.
    layouts: title -> names of the layers that a file of that layout has.
    Returns the title, and the layers without the prefix, such as the 'backbone.' of a model that
    a network is a part of. Raises InputError when even the best layout lacks half of its layers.
    """

    def without(prefix):
        return {name.removeprefix(prefix): layer for name, layer in layers.items()}

    def fit(choice):
        title, prefix = choice
        found = sum(f'{prefix}{name}' in layers for name in layouts[title])
        return 2 * found - len(layouts[title])

    parts = [name.split('.') for name in layers]
    prefixes = {''} | {''.join(f'{part}.' for part in p[:n]) for p in parts for n in (1, 2)}
    best = max(itertools.product(layouts, sorted(prefixes, key=len)), key=fit)
    if fit(best) <= 0:
        some = ', '.join(list(layers)[:4])
        found = f'its layers are {some}, ...' if some else 'it holds no layer'
        raise InputError(
            f'{path}: not the weights of any network known here ({", ".join(layouts)}); {found}'
        )
    title, prefix = best
    return title, without(prefix)


def adapt_input(
    layer: dict[str, npt.NDArray], preprocessing: Preprocessing
) -> dict[str, npt.NDArray]:
    """Make the first convolution take our input, BGR minus IMG_MEAN, where it took another one.

    With x = (y + IMG_MEAN - mean) / std for our input y, the convolution of x is one of y, with
    kernel / std, plus a constant. Exact but where it reaches over the border, which is 0 in both.

    layer: parameter -> array, its weights [height, width, 3, out]. preprocessing: Preprocessing.
    Returns such a layer, with the constant in its biases.
    """
    if preprocessing == OURS or 'weights' not in layer:
        return layer
    kernel = layer['weights'].astype(np.float64)
    if preprocessing.rgb:
        kernel = kernel[:, :, ::-1]
    kernel = kernel / np.array(preprocessing.std)[:, None]
    constant = np.einsum('hwio,i->o', kernel, np.subtract(IMG_MEAN, preprocessing.mean))
    return {
        'weights': kernel.astype(np.float32),
        'biases': (layer.get('biases', 0) + constant).astype(np.float32),
    }


def biases_into_norm(
    conv: dict[str, npt.NDArray], norm: dict[str, npt.NDArray]
) -> tuple[dict[str, npt.NDArray], dict[str, npt.NDArray]]:
    """Take the biases of a convolution from the mean of the batch norm after it: the same.

    conv, norm: parameter -> array. Returns both, the convolution without biases.
    """
    if 'biases' in conv and 'mean' in norm:
        norm = norm | {'mean': norm['mean'] - conv['biases']}
    return {name: conv[name] for name in conv if name != 'biases'}, norm


def with_our_epsilon(norm: dict[str, npt.NDArray], epsilon: float) -> dict[str, npt.NDArray]:
    """Make a batch norm do with our epsilon what it did with another.

    scale / sqrt(variance + epsilon) = new scale / sqrt(variance + BATCH_NORM_EPSILON).

    norm: parameter -> float32 array [channels]. Returns the same with its scale changed.
    """
    if not {'scale', 'variance'} <= norm.keys():
        return norm
    variance = norm['variance'].astype(np.float64)
    ratio = np.sqrt((variance + BATCH_NORM_EPSILON) / (variance + epsilon))
    return norm | {'scale': (norm['scale'] * ratio).astype(np.float32)}

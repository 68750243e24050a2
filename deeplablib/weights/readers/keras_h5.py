"""The .h5 files of Keras: those of Keras Applications, and .weights.h5 of Keras 3."""

import h5py
import numpy as np
import numpy.typing as npt

from deeplablib.network.layers import BATCH_NORM_EPSILON
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights.readers.weight_file import (
    BATCH_NORM,
    CONVOLUTION,
    WeightFile,
    from_variables,
)


def read(path: str) -> WeightFile:
    """Read the weights of every layer.

    path: a .h5 file with weights only or with the whole model, or a .weights.h5 of Keras 3.
    Returns a WeightFile.
    Raises InputError when it is no such file, is damaged, or scales apart from its batch norms.
    """
    try:
        with h5py.File(path) as file:
            variables: dict[str, npt.NDArray] = {}
            file.visititems(lambda name, item: _collect(variables, name, item))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f'{path}: not an HDF5 file, or damaged ({error})') from None
    layers = from_variables(variables, lambda name: name)
    scales = [name for name, layer in layers.items() if np.ndim(layer.get('weights', 0)) == 1]
    if scales:
        raise InputError(f'{path}: {scales[0]} is no convolution; scales of their own are not read')
    return WeightFile(str(path), 'Keras', layers, BATCH_NORM_EPSILON, channels_first=False)


def of_model(model: keras.Model) -> WeightFile:
    """The weights of a network in memory, as read gives those of its file."""
    variables: dict = {}
    for layer in model.layers:
        variables |= _variables(layer.name, layer.get_weights())
    layers = from_variables(variables, lambda name: name)
    return WeightFile(model.name, 'Keras', layers, BATCH_NORM_EPSILON, channels_first=False)


def _collect(variables, name, item):
    """Take the variables from a group that stands for a layer."""
    if 'weight_names' in item.attrs:
        values = [item[path][()] for path in item.attrs['weight_names']]
        variables.update(_variables(name.rpartition('/')[2], values))
    elif name.endswith('/vars') and 'name' in item.attrs:
        variables.update(_variables(item.attrs['name'], [item[n][()] for n in sorted(item)]))


def _variables(layer, values):
    """(layer, parameter) -> value of what Keras lists of a layer.

    Keras has named them in many ways ('kernel:0', 'conv1_W_1:0', '0'), but always in this order:
    four make a batch norm, fewer a convolution.
    """
    kinds = BATCH_NORM if len(values) == len(BATCH_NORM) else CONVOLUTION
    return dict(zip([(layer, kind) for kind in kinds], values, strict=False))

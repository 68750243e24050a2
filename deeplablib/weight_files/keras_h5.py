"""The .h5 files of Keras: those of Keras Applications, and .weights.h5 of Keras 3."""

import h5py

from deeplablib.errors import InputError
from deeplablib.layers import BATCH_NORM_EPSILON
from deeplablib.weight_files.weights import (
    BATCH_NORM,
    CONVOLUTION,
    VARIABLES,
    WeightFile,
    from_variables,
)

_PARAMETERS = {variable: parameter for parameter, variable in VARIABLES.items()}


def read(path):
    """Read the weights of every layer.

    path: a .h5 file with weights only or with the whole model, or a .weights.h5 of Keras 3.
    Returns a WeightFile.
    Raises InputError when it is no such file, or is damaged.
    """
    try:
        with h5py.File(path) as file:
            variables = {}
            file.visititems(lambda name, item: _collect(variables, name, item))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f'{path}: not an HDF5 file, or damaged ({error})') from None
    layers = from_variables(variables, lambda name: name)
    return WeightFile(str(path), 'Keras', layers, BATCH_NORM_EPSILON, channels_first=False)


def _collect(variables, name, item):
    """Take the variables from a group that stands for a layer."""
    if 'weight_names' in item.attrs:
        layer = name.rpartition('/')[2]
        for path in item.attrs['weight_names']:
            path = path.decode() if isinstance(path, bytes) else path
            kind = path.rpartition('/')[2].removesuffix(':0')
            if kind in _PARAMETERS:
                variables[layer, _PARAMETERS[kind]] = item[path][()]
    elif name.endswith('/vars') and 'name' in item.attrs:
        layer = item.attrs['name']
        # Keras 3 numbers the variables: so many make a batch norm, fewer a convolution.
        kinds = BATCH_NORM if len(item) == len(BATCH_NORM) else CONVOLUTION
        for number, kind in zip(sorted(item), kinds, strict=False):
            variables[layer, kind] = item[number][()]

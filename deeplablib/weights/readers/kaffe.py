"""The .npy dictionaries of kaffe (caffe-tensorflow): {layer: {parameter: array}}."""

import numpy as np

from deeplablib.utils import unpickling
from deeplablib.utils.errors import InputError
from deeplablib.weights.readers import caffe
from deeplablib.weights.readers.weight_file import WeightFile, from_variables


def read(path: str) -> WeightFile:
    """Read a dictionary {layer: {parameter: array}} without running what it holds.

    path: the .npy file. Returns a WeightFile. Raises InputError when it is no such dictionary.
    """
    try:
        variables = {
            (layer, parameter): np.asarray(array)
            for layer, parameters in unpickling.read_npy(path).items()
            for parameter, array in parameters.items()
        }
        layers = from_variables(variables, lambda name: name)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f'{path}: not a dictionary {{layer: {{parameter: array}}}}') from None
    return WeightFile(str(path), 'kaffe', layers, caffe.EPSILON, channels_first=False)

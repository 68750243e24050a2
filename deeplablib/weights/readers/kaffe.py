"""The .npy dictionaries of kaffe (caffe-tensorflow): {layer: {parameter: array}}."""

import numpy as np

from deeplablib.utils.errors import InputError
from deeplablib.weights.readers import caffe, unpickling
from deeplablib.weights.readers.weight_file import WeightFile, from_variables


class _Dtype:
    """Stands for numpy.dtype while a pickle is read."""

    def __init__(self, code, *_):
        self.code, self.order = code, ''

    def __setstate__(self, state):
        self.order = state[1].replace('|', '')


class _Array:
    """Stands for numpy.ndarray while a pickle is read; only type, shape and bytes are taken."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, fortran_order, data = state
        if isinstance(data, list):  # the array of objects that numpy.save puts the dictionary in
            self.value = data
            return
        data = data.encode('latin1') if isinstance(data, str) else data
        values = np.frombuffer(data, dtype.order + dtype.code)
        self.value = values.reshape(shape, order='F' if fortran_order else 'C')


def _encode(text, _):
    """Stands for _codecs.encode, by which Python 3 writes bytes in the older protocols."""
    return text.encode('latin1')


_ALLOWED = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    ('numpy.core.multiarray', '_reconstruct'): _Array,
    ('numpy._core.multiarray', '_reconstruct'): _Array,
    ('_codecs', 'encode'): _encode,
}


def read(path: str) -> WeightFile:
    """Read a dictionary saved by numpy.save under Python 2 or 3, without running what it holds.

    path: the .npy file. Returns a WeightFile.
    Raises InputError when it is no such dictionary, is damaged, or its pickle calls a function.
    """
    with open(path, 'rb') as file:
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
            _, _, dtype = (header or np.lib.format.read_array_header_2_0)(file)
        except ValueError as error:
            raise InputError(f'{path}: not a .npy file, or damaged ({error})') from None
        if not dtype.hasobject:
            raise InputError(f'{path}: one plain array, expected {{layer: {{parameter: array}}}}')
        content = unpickling.load(file, path, _ALLOWED)
    try:
        (layers,) = content.value
        variables = {
            (layer, parameter): array.value
            for layer, parameters in layers.items()
            for parameter, array in parameters.items()
        }
        layers = from_variables(variables, lambda name: name)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f'{path}: not a dictionary {{layer: {{parameter: array}}}}') from None
    return WeightFile(str(path), 'kaffe', layers, caffe.EPSILON, channels_first=False)

"""PyTorch state dicts, read without PyTorch and without running anything that stands in them.

A .pth file pickles a dictionary of tensors that refer to storages: in the zip format (PyTorch 1.6
and later) a storage is a file of the archive, in the older one they follow the pickle in a row.
"""

import functools
import os
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deeplablib.utils import unpickling
from deeplablib.utils.errors import InputError, named
from deeplablib.weights.readers.weight_file import WeightFile, from_variables, height_width_in_out

EPSILON = 1e-5  # torch.nn.BatchNorm2d
_CONVOLUTION = {'weight': 'weights', 'bias': 'biases'}
_NORM = {
    'weight': 'scale',
    'bias': 'offset',
    'running_mean': 'mean',
    'running_var': 'variance',
}

# What training programs keep the weights under, the usual first.
_USUAL = ('state_dict', 'model_state_dict', 'model', 'model_state', 'net', 'network', 'weights')

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGES = {
    'DoubleStorage': '<f8',
    'FloatStorage': '<f4',
    'HalfStorage': '<f2',
    'LongStorage': '<i8',
    'IntStorage': '<i4',
    'ShortStorage': '<i2',
    'CharStorage': 'i1',
    'ByteStorage': 'u1',
    'BoolStorage': '?',
}


def _rebuild_parameter(tensor, *_):
    return tensor


class _Number:
    """Stands for a number of NumPy, such as the best score so far: nothing of it is taken."""

    def __init__(self, *_):
        pass

    def __setstate__(self, _):
        pass


_ALLOWED = {
    ('numpy', 'dtype'): _Number,
    ('numpy.core.multiarray', 'scalar'): _Number,
    ('numpy._core.multiarray', 'scalar'): _Number,
    ('_codecs', 'encode'): _Number,
    ('collections', 'OrderedDict'): OrderedDict,
    ('torch._utils', '_rebuild_tensor'): unpickling.rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): unpickling.rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
    **{('torch', name): np.dtype(code) for name, code in _STORAGES.items()},
}


def read(path: str) -> WeightFile:
    """Read a state dict, or a training checkpoint that holds one, under any name.

    path: .pth or .pt, zip or older format. Returns a WeightFile, the 'module.' of DataParallel
    taken off the layer names.
    Raises InputError when it is damaged, holds no state dict (but a whole pickled model) or several
    of which none is the usual one, or its pickle calls a function.
    """
    content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    state, others = _state_dict(path, content)
    return _weight_file(path, state, others)


def _state_dict(path, content):
    """The tensors of what was pickled, a dict from name, and the keys of what was passed over."""
    found = dict(_dicts_of_tensors(content))
    if not found:
        keys = f'; its keys are {named(map(str, content))}' if isinstance(content, dict) else ''
        raise InputError(f'{path}: no state dict{keys}; save model.state_dict()')

    def rank(keys):
        usual = [_USUAL.index(key) for key in keys if key in _USUAL]
        return len(usual) < len(keys), usual

    first, *others = sorted(found, key=rank)
    if others and rank(first)[0]:
        names = ', '.join(map('.'.join, found))
        raise InputError(f'{path}: several state dicts, {names}; save one of them alone')
    return found[first], tuple('.'.join(keys) for keys in others)


def _dicts_of_tensors(content, keys=()):
    """Find the dictionaries that hold tensors: pairs of their keys, a tuple, and their tensors."""
    if not isinstance(content, dict):
        return
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, np.ndarray)}
    if tensors:
        yield keys, tensors
        return
    for key, value in content.items():
        if isinstance(key, str):
            yield from _dicts_of_tensors(value, (*keys, key))


def read_safetensors(path: str) -> WeightFile:
    """Read a state dict saved by the safetensors package.

    path: the .safetensors file. Returns a WeightFile, as read does.
    Raises InputError when it is damaged.
    """
    try:
        return _weight_file(path, load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: not a .safetensors file, or damaged ({error})') from None


def _read_zip(path):
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = [name for name in archive.namelist() if name.endswith('data.pkl')]
            if len(pickled) != 1:
                raise InputError(f'{path}: a zip archive, but not one of PyTorch')
            folder = pickled[0].removesuffix('data.pkl')

            def storage(reference):
                _, dtype, key, _, length, *_ = reference
                values = np.frombuffer(archive.read(f'{folder}data/{key}'), dtype)
                if len(values) != length:
                    raise ValueError(f'storage {key} has another length than the pickle says')
                return values

            with archive.open(pickled[0]) as file:
                return unpickling.load(file, path, _ALLOWED, functools.cache(storage))
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise InputError(f'{path}: not a PyTorch file, or damaged ({error})') from None


def _read_legacy(path):
    storages = {}

    def storage(reference):  # it is filled below: the values stand behind the pickle
        _, dtype, key, _, length, *_ = reference
        if length * dtype.itemsize > os.path.getsize(path):
            raise ValueError(f'storage {key} is longer than the file')
        return storages.setdefault(key, np.zeros(length, dtype))

    with open(path, 'rb') as file:
        magic, version, _ = (unpickling.load(file, path, {}) for _ in range(3))
        if (magic, version) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
            raise InputError(f'{path}: not a PyTorch file')
        content = unpickling.load(file, path, _ALLOWED, storage)
        try:
            for key in unpickling.load(file, path, {}):
                values = storages[key]
                length = int.from_bytes(file.read(8), 'little')
                if length != len(values) or file.readinto(values) != values.nbytes:
                    raise ValueError(f'storage {key} has another length than the pickle says')
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f'{path}: damaged ({error})') from None
    return content


def _weight_file(path, tensors, others=()):
    norms = {name.rpartition('.')[0] for name in tensors if name.endswith('.running_mean')}

    def split(name):
        layer, _, kind = name.rpartition('.')
        parameters = _NORM if layer in norms else _CONVOLUTION
        # What is none of ours keeps its name: it may be half of a layer ('weight_orig').
        place = layer.removeprefix('module.'), parameters.get(kind, kind)
        return None if kind == 'num_batches_tracked' else place

    tensors = {name: height_width_in_out(np.asarray(value)) for name, value in tensors.items()}
    return WeightFile(
        str(path),
        format='PyTorch',
        layers=from_variables(tensors, split),
        epsilon=EPSILON,
        channels_first=True,
        others=others,
    )

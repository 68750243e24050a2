"""Reading pickles that anybody may have written, without running anything of theirs.

A pickle names functions and calls them. Here every name that is not in a short table of our own
functions is refused, so what can be called is what stands in that table.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from deeplablib.utils.errors import InputError


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, path, allowed, persistent_load):
        # Strings of Python 2 are bytes; latin1 keeps them one to one.
        super().__init__(file, encoding='latin1')
        self._path, self._allowed = path, allowed
        self.persistent_load = persistent_load

    def find_class(self, module, name):
        """Look a name up in the table."""
        if (module, name) not in self._allowed:
            raise InputError(
                f'{self._path}: refused, for it names {module}.{name}; only arrays are read '
                '(of a PyTorch model, its state dict)'
            )
        return self._allowed[module, name]


def load(
    file: IO[bytes],
    path: str,
    allowed: Mapping[tuple[str, str], Any],
    persistent_load: Callable | None = None,
) -> Any:
    """Read one pickle.

    file: binary file, at the start of the pickle. path: its name, for messages.
    allowed: (module, name) -> what stands for it; only this can be called.
    persistent_load: as in pickle.Unpickler; such references are refused when it is not given.
    Returns the object. Raises InputError when the pickle names anything else, or is damaged.
    """
    try:
        return _Unpickler(file, path, allowed, persistent_load or _refuse).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = str(error) or type(error).__name__
        raise InputError(f'{path}: damaged, or not of this format ({reason})') from None


def _refuse(_):
    raise pickle.UnpicklingError('it refers to data outside the file')


def read_npy(path: str | Path) -> dict:
    """Read a dictionary saved by numpy.save under Python 2 or 3, without running what it holds.

    path: the .npy file. Returns the dictionary; its values are arrays, tensors of PyTorch as
    arrays, numbers, text, or dictionaries of these.
    Raises OSError when it cannot be read; InputError when it is no such dictionary, is damaged, or
    its pickle calls a function.
    """
    with open(path, 'rb') as file:
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
            _, _, dtype = (header or np.lib.format.read_array_header_2_0)(file)
        except ValueError as error:
            raise InputError(f'{path}: not a .npy file, or damaged ({error})') from None
        if not dtype.hasobject:
            raise InputError(f'{path}: one plain array, expected a dictionary of arrays')
        content = load(file, str(path), _ALLOWED)
    if not isinstance(content, _Array) or not isinstance(content.value, list):
        raise InputError(f'{path}: not a dictionary of arrays')
    content = content.value[0] if content.value else None
    if not isinstance(content, dict):
        raise InputError(f'{path}: not a dictionary of arrays')
    return _plain(content)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.value if isinstance(value, _Array) else value


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


def _scalar(dtype, data):
    data = data.encode('latin1') if isinstance(data, str) else data
    return np.frombuffer(data, dtype.order + dtype.code)[0].item()


def _storage(contents):
    """The values of a tensor of PyTorch, which lie behind three pickles, their type and a key."""
    file = io.BytesIO(contents)
    *_, dtype, _ = (load(file, 'a tensor', _STORAGES, lambda ref: ref[1]) for _ in range(5))
    return np.frombuffer(file.read()[8:], dtype)  # 8: their number


def rebuild_tensor(values: np.ndarray, offset: int, shape: tuple, strides: tuple, *_) -> np.ndarray:
    """A tensor of PyTorch: an array that sees a part of the values of its storage.

    offset, strides: in elements. Raises ValueError when an element lies outside the values.
    """
    strides = tuple(values.itemsize * stride for stride in strides)
    return np.ndarray(shape, values.dtype, values, values.itemsize * offset, strides)


_STORAGES = {('torch', 'FloatStorage'): '<f4', ('torch', 'LongStorage'): '<i8'}
_ALLOWED = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    ('numpy.core.multiarray', '_reconstruct'): _Array,
    ('numpy._core.multiarray', '_reconstruct'): _Array,
    ('numpy.core.multiarray', 'scalar'): _scalar,
    ('numpy._core.multiarray', 'scalar'): _scalar,
    ('_codecs', 'encode'): _encode,
    ('collections', 'OrderedDict'): dict,
    ('torch.storage', '_load_from_bytes'): _storage,
    ('torch._utils', '_rebuild_tensor_v2'): rebuild_tensor,
}

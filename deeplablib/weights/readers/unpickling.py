"""Reading pickles that anybody may have written, without running anything of theirs.

A pickle names functions and calls them. Here every name that is not in a short table of our own
functions is refused, so what can be called is what stands in that table.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any

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

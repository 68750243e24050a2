"""Files of weights from other programs, read into one form: layer -> parameter -> array.

The readers know file formats, no networks: layers keep the names they have in the file.
"""

from collections.abc import Callable
from pathlib import Path

from deeplablib.utils.errors import InputError
from deeplablib.weights.readers import caffe, kaffe, keras_h5, pytorch, tensorflow
from deeplablib.weights.readers.weight_file import WeightFile

READERS: dict[str, Callable[[str], WeightFile]] = {
    '.caffemodel': caffe.read,
    '.npy': kaffe.read,
    '.pth': pytorch.read,
    '.pt': pytorch.read,
    '.safetensors': pytorch.read_safetensors,
    '.h5': keras_h5.read,
    '.hdf5': keras_h5.read,
}

__all__ = ['READERS', 'WeightFile', 'read']


def read(path: str) -> WeightFile:
    """Read a file of weights; an extension that is not in READERS means a TensorFlow 1 checkpoint.

    path: .caffemodel, .npy (kaffe), .pth, .pt, .safetensors, .h5, or a TF1 checkpoint in any form
    that checkpoints.find takes.
    Returns a WeightFile. Raises InputError when it is not there or cannot be read.
    """
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        try:
            return tensorflow.read(path)
        except InputError as error:
            raise InputError(
                f'{error}; other formats go by their ending: {", ".join(READERS)}'
            ) from None
    if not Path(path).is_file():
        raise InputError(f'{path}: no such file')
    return reader(path)

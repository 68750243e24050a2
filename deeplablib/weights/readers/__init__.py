"""Files of weights from other programs, read into one form: layer -> parameter -> array.

The readers know file formats, no networks: layers keep the names they have in the file.
"""

import os

from deeplablib.weights import checkpoints
from deeplablib.weights.readers import caffe, kaffe, keras_h5, pytorch, tensorflow
from deeplablib.weights.readers.weight_file import WeightFile

# How files begin; their endings say little: a PyTorch file is called .pth, .pt, .pth.tar, .ckpt
# (Lightning) or .bin (Hugging Face).
BEGINNINGS = {
    b'\x89HDF\r\n\x1a\n': keras_h5.read,
    b'\x93NUMPY': kaffe.read,
    b'PK\x03\x04': pytorch.read,  # a zip archive
    b'\x80': pytorch.read,  # a pickle
}

__all__ = ['WeightFile', 'read']


def read(path: str) -> WeightFile:
    """Read a file of weights by what it holds.

    path: a file of Caffe, kaffe (.npy), PyTorch, safetensors or Keras (.h5), or a TF1 checkpoint in
    any form that checkpoints.find takes.
    Returns a WeightFile. Raises InputError when it is not there or cannot be read.
    """
    if not os.path.isfile(path) or checkpoints.is_part(path):
        return tensorflow.read(path)
    with open(path, 'rb') as file:
        head = file.read(9)
    for beginning, read_it in BEGINNINGS.items():
        if head.startswith(beginning):
            return read_it(path)
    is_safetensors = head[8:] == b'{'  # behind the length of its header
    return pytorch.read_safetensors(path) if is_safetensors else caffe.read(path)

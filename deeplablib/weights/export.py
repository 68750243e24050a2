"""Writing a network with its weights: TF1-named checkpoint, Keras weights, or a whole program.

The programs, which label images, are made by writers that are handed in: a SavedModel, and an ONNX
file.
"""

import errno
import glob
import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from deeplablib.network.network_spec import NetworkSpec
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError, tensorflow_reason
from deeplablib.utils.files import make_output_folder
from deeplablib.weights import checkpoints

# Format: how the names of its files end; a checkpoint is what has none of these endings.
ENDINGS = {'keras': '.weights.h5', 'savedmodel': '/', 'onnx': '.onnx'}
# Endings of files that are read, not written.
FOREIGN = ('.h5', '.hdf5', '.keras', '.npy', '.npz', '.pth', '.pt', '.safetensors', '.caffemodel')
ONNX_PACKAGES = ('tf2onnx', 'onnxruntime')  # besides requirements.txt
KERAS_OVERHEAD = 4096  # bytes a layer, at most


def check(path: str) -> str:
    """Decide the format of a file to write, and see, before any work, that it can be written.

    path: its ending tells the format, as ENDINGS has them.
    Returns the format. Raises InputError when it is no name of a file that is written, a program is
    there already, the folder cannot be written, or a package is missing.
    """
    lower = path.lower()
    format = next((name for name, end in ENDINGS.items() if lower.endswith(end)), 'checkpoint')
    if format in ('savedmodel', 'onnx') and os.path.lexists(Path(path)):
        raise InputError(f'{path}: is there already; remove it, or choose another name')
    if format == 'checkpoint':
        if lower.endswith(FOREIGN):
            endings = ', '.join(ending for ending in ENDINGS.values() if ending != '/')
            raise InputError(
                f'{path}: this format is read, not written; name a checkpoint prefix, a folder '
                f'with a slash at its end, or a file that ends in {endings}'
            )
        if Path(path).is_dir():
            raise InputError(f'{path}: is a folder; name a checkpoint prefix in it')
        if checkpoints.PART.search(path):
            raise InputError(f'{path}: a file of a checkpoint; name the prefix that they share')
    try:
        for package in ONNX_PACKAGES if format == 'onnx' else ():
            importlib.import_module(package)
    except ImportError as error:
        reason = str(error).partition('\n')[0]
        needed = ' '.join(ONNX_PACKAGES)
        raise InputError(f'{path}: needs: pip install {needed} ({reason})') from None
    make_output_folder(Path(path).parent)
    return format


def write(
    path: str,
    format: str,
    network: NetworkSpec,
    model: keras.Model,
    writers: Mapping[str, Callable],
) -> str | None:
    """Write a model, whole or not at all.

    path, format: as check left them. model: with its weights.
    writers: prediction.exported_models.WRITERS; this room knows no prediction.
    Returns what the writer says of it, if anything. Raises OSError when it cannot be written.
    """
    place = Path(path)
    checkpoints.remove_leftovers(place.parent, glob.escape(place.name))
    if format == 'checkpoint':
        checkpoints.write(place, network.variables(model))
        return None
    said = None
    with checkpoints.unfinished(place) as temporary:
        temporary = f'{temporary}{ENDINGS[format]}'.rstrip('/')
        if format == 'keras':
            _check_space(place, model)
            model.save_weights(temporary)
        else:
            try:
                said = writers[format](temporary, network, model)
            except (OSError, tf.errors.OpError) as error:
                reason = getattr(error, 'strerror', None) or tensorflow_reason(error)
                raise OSError(f'{path}: cannot be written as {format} ({reason})') from None
        os.replace(temporary, place)
    return said


def _check_space(path, model):
    """Raise OSError when the disk is too full for a Keras file: on a full one HDF5 crashes."""
    size = 4 * model.count_params() + KERAS_OVERHEAD * len(model.layers)
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

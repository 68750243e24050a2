"""Writing a network with its weights: TF1-named checkpoint, Keras weights, SavedModel."""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from deeplablib.network.network_spec import NetworkSpec
from deeplablib.run.backend import keras, tf
from deeplablib.run.errors import InputError, tensorflow_reason
from deeplablib.run.files import make_output_folder
from deeplablib.weights import checkpoints

FORMATS = ('checkpoint', 'keras', 'savedmodel')
KERAS_ENDING = '.weights.h5'
KERAS_OVERHEAD = 4096  # bytes a layer, at most


def check(path: str, format: str | None = None) -> str:
    """Decide the format of a file to write, and see, before any work, that it can be written.

    path: a str; NAME.weights.h5 is 'keras', a slash at the end 'savedmodel', else 'checkpoint'.
    format: one of FORMATS, or None to go by the name.
    Returns the format. Raises InputError when name and format do not go together, a SavedModel is
    there already, or the folder cannot be written.
    """
    is_keras = path.endswith(KERAS_ENDING)
    if format is None:
        format = 'keras' if is_keras else 'savedmodel' if path.endswith('/') else 'checkpoint'
    if format == 'keras' and not is_keras:
        raise InputError(f'{path}: the name of a Keras file must end in {KERAS_ENDING}')
    if format == 'savedmodel' and os.path.lexists(Path(path)):
        raise InputError(f'{path}: is there already; remove it, or name another folder')
    if format == 'savedmodel' and not _is_utf_8(Path(path).resolve()):
        raise InputError(f'{path}: TensorFlow takes a SavedModel only in a folder named in UTF-8')
    if format == 'checkpoint':
        if path.lower().endswith(checkpoints.FOREIGN):
            raise InputError(
                f'{path}: this format is read, not written; name a checkpoint prefix, '
                f'NAME{KERAS_ENDING} or a folder with a slash at its end'
            )
        if Path(path).is_dir():
            raise InputError(f'{path}: is a folder; name a checkpoint prefix in it')
        if path.endswith(checkpoints.PARTS):
            raise InputError(f'{path}: a file of a checkpoint; name the prefix that they share')
    make_output_folder(Path(path).parent)
    return format


def write(
    path: str, format: str, network: NetworkSpec, model: keras.Model, save_model: Callable
) -> None:
    """Write a model, whole or not at all.

    path, format: as check left them. model: with its weights.
    save_model: prediction.saved_model.save_model; this room knows no prediction.
    Raises OSError when it cannot be written.
    """
    path = Path(path)
    checkpoints.remove_leftovers(path.parent, glob.escape(path.name))
    if format == 'checkpoint':
        checkpoints.write(path, network.variables(model))
        return
    hidden = f'.{path.name}{checkpoints.UNFINISHED}'
    with tempfile.TemporaryDirectory(prefix=hidden, dir=path.parent) as folder:
        temporary = os.path.join(folder, path.name)
        if format == 'keras':
            _check_space(path, model)
            model.save_weights(temporary)
        else:
            try:
                save_model(temporary, network, model)
            except tf.errors.OpError as error:
                reason = tensorflow_reason(error)
                raise OSError(f'{path}: cannot write the SavedModel ({reason})') from None
        os.replace(temporary, path)


def _is_utf_8(path):
    """Whether a path is text: Linux takes any bytes, which Python keeps as surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_space(path, model):
    """Raise OSError when the disk is too full for a Keras file: on a full one HDF5 crashes."""
    size = 4 * model.count_params() + KERAS_OVERHEAD * len(model.layers)
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

"""TensorFlow 1 checkpoints: read (V1 and V2) and written (V2) under the original variable names."""

import contextlib
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError, raise_all, tensorflow_reason
from deeplablib.utils.files import is_utf_8, replacing

# Endings of weights in other formats, which users give where a checkpoint is wanted.
FOREIGN = ('.h5', '.hdf5', '.keras', '.npy', '.npz', '.pth', '.pt', '.safetensors', '.caffemodel')

EXPORTED = ('.onnx', '.tflite')  # endings of models that are written, and not read back

# So ends the name of a folder that holds what is not whole yet.
UNFINISHED = '.unfinished-'

# In Keras the names of a layer's variables end so, and those of an optimiser do not.
KERAS_VARIABLES = ('/kernel', '/bias', '/gamma', '/beta', '/moving_mean', '/moving_variance')

# The variable in which tf.train.Checkpoint says what it holds.
_OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'

PARTS = ('.index', '.data-00000-of-00001', '.meta')


def find(path: str | Path) -> str:
    """The prefix of a checkpoint, from any part of it that a user names.

    path: the prefix, one of its files (PREFIX.index, PREFIX.data-*, PREFIX.meta), a folder (its
    newest checkpoint, or its only .ckpt file), or a single-file V1 checkpoint.
    Returns the prefix as str. Raises InputError when there is no whole checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        return _newest(path)
    prefix = str(path)
    for part in PARTS:
        prefix = prefix.removesuffix(part)
    has_index = os.path.isfile(f'{prefix}.index')
    has_data = bool(glob.glob(f'{glob.escape(prefix)}.data-*'))
    if has_index and has_data or path.is_file() and prefix == str(path):
        return prefix
    if has_index or has_data:
        found, lost = ('.index', '.data-*') if has_index else ('.data-*', '.index')
        raise InputError(f'{prefix}{found} is there but {prefix}{lost} is not; both are needed')
    raise InputError(
        f'{prefix}: no such checkpoint (neither {prefix}.index nor a file {prefix}); '
        'docs/checkpoints.md says where to get one'
    )


def read(path: str | Path) -> dict[str, npt.NDArray]:
    """Read every variable of a checkpoint.

    path: as for find. Returns a dict from variable name to NumPy array; the names that
    tf.train.Checkpoint keeps of a Keras model are its paths, 'conv1/kernel'.
    Raises InputError when it is not a checkpoint or is damaged.
    """
    prefix = find(path)
    if prefix.lower().endswith(FOREIGN) and os.path.isfile(prefix):
        raise InputError(
            f'{prefix}: not a TensorFlow checkpoint; make one of it as docs/checkpoints.md shows'
        )
    if prefix.lower().endswith(EXPORTED):
        raise InputError(f'{prefix}: an exported model; name the checkpoint that it was made from')
    try:
        with _plain(prefix) as plain:
            reader = tf.train.load_checkpoint(plain)
            keys = {name: name for name in reader.get_variable_to_shape_map()}
            if _OBJECT_GRAPH in keys:
                keys = _keys_of_objects(reader.get_tensor(_OBJECT_GRAPH))
            return {name: reader.get_tensor(key) for name, key in keys.items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = tensorflow_reason(error)
        raise InputError(f'{prefix}: not a readable checkpoint ({reason})') from None


def write(prefix: str | Path, values: Mapping[str, Any], newest: bool = True) -> None:
    """Write a V2 checkpoint, whole or not at all.

    prefix: path without extension; its folder must exist. values: dict from name to array, tensor
    or variable. newest: make it the one that its folder stands for.
    Raises OSError when it cannot be written.
    """
    prefix = Path(prefix)
    names = sorted(values)
    hidden = f'.{prefix.name}{UNFINISHED}'
    with tempfile.TemporaryDirectory(prefix=hidden, dir=prefix.parent) as folder:
        temporary = os.path.join(folder, prefix.name)
        try:
            tf.raw_ops.SaveV2(
                prefix=os.fsencode(temporary),
                tensor_names=names,
                shape_and_slices=[''] * len(names),
                tensors=[tf.convert_to_tensor(values[name]) for name in names],
            )
        except tf.errors.OpError as error:
            reason = tensorflow_reason(error)
            raise OSError(f'{prefix}: cannot write the checkpoint ({reason})') from None
        # The index is what makes a checkpoint: it goes first where one is replaced, and comes last.
        Path(f'{prefix}.index').unlink(missing_ok=True)
        for part in ('.data-00000-of-00001', '.index'):
            os.replace(f'{temporary}{part}', f'{prefix}{part}')
    if newest:
        with replacing(prefix.parent / 'checkpoint') as temporary:
            temporary.write_text(f'model_checkpoint_path: "{prefix.name}"\n')


def remove(prefix: str | Path) -> None:
    """Remove the files of a V2 checkpoint, first the one that makes it a checkpoint."""
    for part in ('.index', '.data-*', '.meta'):
        for path in glob.glob(f'{glob.escape(str(prefix))}{part}'):
            os.unlink(path)


def remove_leftovers(folder: str | Path, pattern: str) -> None:
    """Remove what a process left that was killed while it wrote.

    folder: where it wrote. pattern: of the names that it wrote.
    """
    for path in Path(folder).glob(f'.{pattern}{UNFINISHED}*'):
        shutil.rmtree(path, ignore_errors=True)


def assign(
    values: Mapping[str, npt.NDArray], variables: Mapping[str, Any], source: str | Path
) -> None:
    """Put checkpoint values into a model's variables; all of them must fit, in name and shape.

    values: dict from name to array. Scalars, '<variable>/<slot>' and 'Variable_<n>' (a step
    counter, momentum, the original trainer's sums of gradients) are the bookkeeping of a trainer
    and are passed over. variables: dict from name to Keras variable.
    source: what the values come from, for the message.
    Raises InputError listing every variable that is missing, extra, wrongly shaped or not finite.
    """
    faults = []
    for name, variable in variables.items():
        if name not in values:
            faults.append(f'missing: {name} {list(variable.shape)}')
        elif tuple(values[name].shape) != tuple(variable.shape):
            faults.append(
                f'wrong shape: {name} is {list(values[name].shape)}, '
                f'expected {list(variable.shape)}'
            )
        elif not np.isfinite(values[name]).all():
            faults.append(f'not finite: {name}')
    for name in sorted(set(values) - set(variables)):
        is_slot = name.rpartition('/')[0] in variables or re.fullmatch(r'Variable(_\d+)?', name)
        if np.ndim(values[name]) and not is_slot:
            faults.append(f'extra: {name} {list(values[name].shape)}')
    if faults:
        faults[0] = f'{source} does not fit the network; {faults[0]}'
    raise_all(faults)
    for name, variable in variables.items():
        variable.assign(values[name])


def _keys_of_objects(graph):
    """The key of each layer's variable in a tf.train.Checkpoint: a dict from its name."""
    # Here and not above: TensorFlow is to be imported by backend first.
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    nodes = TrackableObjectGraph.FromString(graph).nodes
    attributes = [attribute for node in nodes for attribute in node.attributes]
    return {
        a.full_name: a.checkpoint_key for a in attributes if a.full_name.endswith(KERAS_VARIABLES)
    }


def _newest(folder):
    """The checkpoint that the folder's state names, if it is there, or else the youngest."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # damaged, or a folder whose name is not UTF-8
        state = None
    if state and os.path.isfile(f'{state.model_checkpoint_path}.index'):
        return state.model_checkpoint_path
    indices = sorted(folder.glob('*.index'), key=lambda path: path.stat().st_mtime)
    if indices:
        return str(indices[-1]).removesuffix('.index')
    version_1 = list(folder.glob('*.ckpt'))
    if len(version_1) == 1:
        return str(version_1[0])
    raise InputError(f'{folder}: no checkpoint in this folder (no .index file, no single .ckpt)')


@contextlib.contextmanager
def _plain(prefix):
    """A checkpoint under a name that TensorFlow can read: UTF-8, and without wildcards."""
    if glob.escape(prefix) == prefix and is_utf_8(prefix):
        yield prefix
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, 'model')
        for path in glob.glob(f'{glob.escape(prefix)}*'):
            os.symlink(os.path.abspath(path), plain + path.removeprefix(prefix))
        yield plain

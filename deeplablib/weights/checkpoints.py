"""TensorFlow 1 checkpoints: read (V1 and V2) and written (V2) under the original variable names."""

import contextlib
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError, named, raise_all, tensorflow_reason
from deeplablib.utils.files import read_lines, replacing

# So ends the name of a folder that holds what is not whole yet.
UNFINISHED = '.unfinished-'

# In Keras the names of a layer's variables end so, and those of an optimiser do not.
KERAS_VARIABLES = ('/kernel', '/bias', '/gamma', '/beta', '/moving_mean', '/moving_variance')

# The variable in which tf.train.Checkpoint says what it holds.
_OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'

# How the names of a checkpoint's files end.
PART = re.compile(r'\.(index|meta|data-\d{5}-of-\d{5})$')

# So end the files that are tables of names: one of version 1, and the index of one of version 2.
_TABLE_END = bytes.fromhex('57fb808b247547db')


def find(path: str | Path) -> str:
    """The prefix of a checkpoint, from any part of it that a user names.

    path: the prefix, one of its files (PREFIX.index, PREFIX.data-*, PREFIX.meta), a folder or its
    file `checkpoint` (the one that this names, the newest, or the only .ckpt file), or a
    single-file V1 checkpoint; ~ is the home folder.
    Returns the prefix as str. Raises InputError when there is no whole checkpoint.
    """
    path = Path(path).expanduser()
    if path.is_dir() or path.name == 'checkpoint' and path.is_file():
        return _of_folder(path if path.is_dir() else path.parent)
    prefix = PART.sub('', str(path))
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


def is_part(path: str | Path) -> bool:
    """Whether a file is one of a V2 checkpoint, by its name, or a whole V1 checkpoint."""
    if PART.search(str(path)):
        return True
    with open(path, 'rb') as file:
        file.seek(max(0, os.path.getsize(path) - len(_TABLE_END)))
        return file.read() == _TABLE_END


def read(path: str | Path) -> dict[str, npt.NDArray]:
    """Read every variable of a checkpoint.

    path: as for find. Returns a dict from variable name to NumPy array; the names that
    tf.train.Checkpoint keeps of a Keras model are its paths, 'conv1/kernel'.
    Raises InputError when it is not a checkpoint or is damaged.
    """
    prefix = find(path)
    if os.path.isfile(prefix) and not os.path.isfile(f'{prefix}.index') and not is_part(prefix):
        raise InputError(
            f'{prefix}: not a TensorFlow checkpoint; make one of it as docs/checkpoints.md shows'
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            # TensorFlow takes 'x/..' out of a path by its letters, and knows wildcards.
            plain = os.path.join(folder, 'model')
            for file in glob.glob(f'{glob.escape(prefix)}*'):
                os.symlink(os.path.realpath(file), plain + file.removeprefix(prefix))
            reader = tf.train.load_checkpoint(plain)
            keys = {name: name for name in reader.get_variable_to_shape_map()}
            if _OBJECT_GRAPH in keys:
                keys = _keys_of_objects(reader.get_tensor(_OBJECT_GRAPH))
            return {name: reader.get_tensor(key) for name, key in keys.items()}
    except (tf.errors.OpError, ValueError, RuntimeError, LookupError, MemoryError) as error:
        raise InputError(
            f'{prefix}: not a readable checkpoint ({tensorflow_reason(error)}); copy its files '
            'again, or name another one'
        ) from None


def write(prefix: str | Path, values: Mapping[str, Any], newest: bool = True) -> None:
    """Write a V2 checkpoint, whole or not at all.

    prefix: path without extension; its folder must exist. values: dict from name to array, tensor
    or variable. newest: make it the one that its folder stands for.
    Raises OSError when it cannot be written.
    """
    prefix = Path(prefix)
    names = sorted(values)
    with unfinished(prefix) as temporary:
        try:
            tf.raw_ops.SaveV2(
                prefix=temporary,
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
        with replacing(prefix.parent / 'checkpoint') as state:
            state.write_bytes(b'model_checkpoint_path: "%s"\n' % os.fsencode(prefix.name))


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[str]:
    """A place for what is not whole yet, in the folder of where it goes.

    path: where it goes. Yields a path that any program can open: short, in ASCII, without '..'.
    """
    hidden = f'.{path.name}{UNFINISHED}'
    with (
        tempfile.TemporaryDirectory(prefix=hidden, dir=path.parent) as folder,
        tempfile.TemporaryDirectory() as elsewhere,
    ):
        link = os.path.join(elsewhere, 'folder')
        os.symlink(os.path.realpath(folder), link)
        yield os.path.join(link, 'unfinished')


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

    values: dict from name to array; the bookkeeping of a trainer is passed over.
    variables: dict from name to Keras variable. source: what the values come from, for the message.
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
    for name in sorted(set(without_bookkeeping(values)) - set(variables)):
        faults.append(f'extra: {name} {list(values[name].shape)}')
    if faults:
        faults[0] = f'{source} does not fit the network; {faults[0]}'
    raise_all(faults)
    for name, variable in variables.items():
        variable.assign(values[name])


def without_bookkeeping(values: Mapping[str, npt.NDArray]) -> list[str]:
    """The names of a checkpoint's variables that are no bookkeeping of a trainer.

    Scalars, '<variable>/<slot>' and 'Variable_<n>' are: a step counter, momentum, the original
    trainer's sums of gradients.
    """
    return [
        name
        for name, value in values.items()
        if np.ndim(value)
        and name.rpartition('/')[0] not in values
        and not re.fullmatch(r'Variable(_\d+)?', name)
    ]


def _keys_of_objects(graph):
    """The key of each layer's variable in a tf.train.Checkpoint: a dict from its name."""
    # Here and not above: TensorFlow is to be imported by backend first.
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    nodes = TrackableObjectGraph.FromString(graph).nodes
    attributes = [attribute for node in nodes for attribute in node.attributes]
    return {
        a.full_name: a.checkpoint_key for a in attributes if a.full_name.endswith(KERAS_VARIABLES)
    }


def _of_folder(folder):
    """The checkpoint that the folder's state file names, or else the newest."""
    name = _named_by_state(folder / 'checkpoint')
    prefixes = [path.with_suffix('') for path in folder.glob('*.index')]
    if name and (folder / name in prefixes or (folder / name).is_file()):
        return str(folder / name)
    if name and prefixes:
        there = named(sorted(path.name for path in prefixes))
        raise InputError(
            f'{folder}: its file `checkpoint` names {name}, which is not in this folder; name one '
            f'of those that are: {there}'
        )
    if prefixes:
        newest = max(prefixes, key=_age)
        if len(prefixes) > 1:
            print(f'note: {folder} has no readable file `checkpoint`; its newest is {newest.name}')
        return str(newest)
    version_1 = list(folder.glob('*.ckpt'))
    if len(version_1) == 1:
        return str(version_1[0])
    raise InputError(f'{folder}: no checkpoint in this folder (no .index file, no single .ckpt)')


def _age(prefix):
    """What grows with the age of a training: its step, or the time of a checkpoint without one."""
    step = re.search(r'-(\d+)$', prefix.name)
    return int(step[1]) if step else -1, os.path.getmtime(f'{prefix}.index')


def _named_by_state(state):
    """The name without a folder that a state file of TensorFlow gives, or None.

    Its folder may be one of another machine, and its letters those of Windows.
    """
    try:
        text = '\n'.join(read_lines(state))
    except (OSError, InputError):
        return None
    match = re.search(r'^\s*model_checkpoint_path\s*:\s*(["\'])(.+)\1', text, re.MULTILINE)
    if not match:
        return None
    path = re.sub(  # TensorFlow writes what is not ASCII in octal digits
        r'(?:\\[0-3][0-7]{2})+',
        lambda octal: os.fsdecode(bytes(int(digits, 8) for digits in octal[0][1:].split('\\'))),
        match[2],
    )
    return re.split(r'[\\/]+', path)[-1] or None

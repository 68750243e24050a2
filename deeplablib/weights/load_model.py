"""From a checkpoint to the network that it belongs to, with its weights."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.network.network_spec import NetworkSpec, dimensions
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError, named
from deeplablib.weights import checkpoints
from deeplablib.weights.conversion import refuse_other_layers

AVERAGED = '/ExponentialMovingAverage'  # tf.train.ExponentialMovingAverage's


def load_model(
    networks: Mapping[str, NetworkSpec], path: str | Path, otherwise: str = ''
) -> tuple[str, keras.Model]:
    """Build the network that a checkpoint belongs to, of the size it has, with its weights.

    networks: a NETWORKS table. path: as for checkpoints.find. otherwise: what to tell somebody
    whose checkpoint is of none of them.
    Returns (name of the network, Keras model). Raises InputError when the checkpoint cannot be
    read, belongs to none of the networks, does not fit, or has more than 255 classes.
    """
    values = checkpoints.read(path)
    if is_tag_classifier(networks, values):
        raise InputError(
            f'{path}: a tag classifier, which labels no pixels; python -m selection.make_cams '
            'takes it, and main.py --pretrain_file to start a training'
        )
    name = _recognise(networks, values)
    if name is None:
        raise InputError(
            f'{path}: not a checkpoint of any of these networks: {", ".join(networks)}{otherwise}; '
            f'its variables are {named(sorted(values))}'
        )
    network = networks[name]
    values = own_names(network, values, path)
    sizes = dimensions(network, values)
    if sizes['num_classes'] > IGNORE_LABEL:
        raise InputError(
            f'{path}: {sizes["num_classes"]} classes; label maps have room for {IGNORE_LABEL}'
        )
    model = network.build(**sizes)
    checkpoints.assign(values, network.variables(model), path)
    return name, model


def load_tag_classifier(
    networks: Mapping[str, NetworkSpec], path: str | Path
) -> tuple[str, keras.Model]:
    """Build the tag classifier that a checkpoint belongs to, of the size it has, with its weights.

    networks: a NETWORKS table. path: as for checkpoints.find.
    Returns (name of the network, Keras model as from its build_classifier).
    Raises InputError when the checkpoint cannot be read, is not one of a tag classifier, or does
    not fit.
    """
    values = checkpoints.read(path)
    if not is_tag_classifier(networks, values):
        raise InputError(
            f'{path}: not a tag classifier; python -m selection.train_classifier trains one'
        )
    name, network = next(n for n in networks.items() if n[1].width_kernel in values)
    width = dimensions(network, values)['width']
    num_tags = values[network.tag_kernel].shape[-1]
    model = network.build_classifier(num_tags=num_tags, width=width)
    checkpoints.assign(values, network.variables(model), path)
    return name, model


def read_pretrained(
    network: NetworkSpec, path: str | Path, known: Collection[str]
) -> dict[str, npt.NDArray]:
    """Read the weights that a training starts from.

    path: as for checkpoints.find. known: names of the variables that the network has.
    Returns a dict from name to array, under the network's names; it may lack some, and hold more.
    Raises InputError when it cannot be read, or holds layers that the network lacks and that are
    no last classifier.
    """
    values = own_names(network, checkpoints.read(path), path)
    left = [name for name in checkpoints.without_bookkeeping(values) if name not in known]
    if network.width_kernel in values:  # else all is missing, which says more
        refuse_other_layers(path, left, 'the network')
    return values


def is_tag_classifier(networks: Mapping[str, NetworkSpec], values: Mapping[str, Any]) -> bool:
    """Whether the variables of a checkpoint are those of a tag classifier.

    networks: a NETWORKS table. values: dict from variable name to array.
    """
    return any(n.width_kernel in values and n.tag_kernel in values for n in networks.values())


def own_names(
    network: NetworkSpec, values: Mapping[str, npt.NDArray], path: str | Path
) -> dict[str, npt.NDArray]:
    """Bring the variables of a checkpoint of another program under the names of a network.

    They may have a scope before them ('model/'), or be named by Keras ('conv1/kernel'). Averages of
    the weights are passed over.
    values: dict from name to array, from checkpoints.read. path: where they come from.
    Returns such a dict, and prints what was done.
    """
    scope = _scope_in(network, values) or ''
    if scope:
        print(f'note: {path}: {scope} is taken off the names of its variables')
    if any(name.endswith(AVERAGED) for name in values):
        print(f'note: {path}: the averaged weights in it (NAME{AVERAGED}) are passed over')
    return {
        _own(network, name.removeprefix(scope)): value
        for name, value in values.items()
        if not name.endswith(AVERAGED)
    }


def _recognise(networks, values):
    for marks in (('width_kernel', 'last_bias'), ('width_kernel',)):
        for name, network in networks.items():
            if all(getattr(network, mark) in values for mark in marks):
                return name
    scopes = (_scope_in(network, values, whole=True) for network in networks.values())
    return next((name for name, s in zip(networks, scopes, strict=True) if s is not None), None)


def _scope_in(network, values, whole=False):
    """What stands before the names of a network's variables: '' for nothing, None without them.

    whole: last_bias must be there too, not width_kernel alone.
    """
    kernel, last = network.width_kernel, network.last_bias
    names = {_own(network, name) for name in values}
    scopes = {name.removesuffix(kernel) for name in names if f'/{name}'.endswith(f'/{kernel}')}
    with_last = [scope for scope in scopes if f'{scope}{last}' in names]
    return min(with_last if whole else with_last or scopes, key=len, default=None)


def _own(network, name):
    """A name of Keras as that of TensorFlow 1; any other as it is."""
    is_keras = name.count('/') == 1 and name.endswith(checkpoints.KERAS_VARIABLES)
    return network.variable_name(name) if is_keras else name

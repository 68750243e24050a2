"""Variables of these networks under names that other programs gave them in a TensorFlow checkpoint.

Such names may have a scope before them ('model/'), be those of Keras in a tf.train.Checkpoint
('conv1/kernel'), or be of averages beside the weights ('NAME/ExponentialMovingAverage').
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from deeplablib.network.network_spec import NetworkSpec
from deeplablib.utils.errors import InputError
from deeplablib.weights.checkpoints import KERAS_VARIABLES

AVERAGED = '/ExponentialMovingAverage'  # tf.train.ExponentialMovingAverage's


def own_names(
    network: NetworkSpec,
    values: Mapping[str, npt.NDArray],
    path: str | Path,
    averaged: bool = False,
) -> dict[str, npt.NDArray]:
    """Bring the variables of a checkpoint under the names of a network.

    values: dict from name to array, from checkpoints.read. path: where they come from.
    averaged: take the averages over the steps of a training.
    Returns such a dict, and prints what was done.
    Raises InputError when averages are asked for and there are none.
    """
    scope = scope_in(network, values) or ''
    if scope:
        print(f'note: {path}: {scope} is taken off the names of its variables')
    values = {_own(network, name.removeprefix(scope)): v for name, v in values.items()}
    averages = {
        name.removesuffix(AVERAGED): value
        for name, value in values.items()
        if name.endswith(AVERAGED)
    }
    if averaged and not averages:
        raise InputError(f'{path}: holds no averaged weights (NAME{AVERAGED})')
    weights = {name: value for name, value in values.items() if not name.endswith(AVERAGED)}
    if averages:
        taken = 'which are taken' if averaged else 'which --averaged takes'
        print(f'note: {path} holds averaged weights too, {taken}')
    return weights | averages if averaged else averages | weights


def scope_in(network: NetworkSpec, values: Mapping[str, Any], whole: bool = False) -> str | None:
    """What stands before the names of a network's variables in a checkpoint.

    network, values: as above. whole: last_bias must be there too, not width_kernel alone.
    Returns a str, '' where nothing does, or None where they are not.
    """
    kernel, last = network.width_kernel, network.last_bias
    names = {_own(network, name).removesuffix(AVERAGED) for name in values}
    scopes = {name.removesuffix(kernel) for name in names if f'/{name}'.endswith(f'/{kernel}')}
    with_last = [scope for scope in scopes if f'{scope}{last}' in names]
    return min(with_last if whole else with_last or scopes, key=len, default=None)


def _own(network, name):
    """A name of Keras as that of TensorFlow 1; any other as it is."""
    is_keras = name.count('/') == 1 and name.endswith(KERAS_VARIABLES)
    return network.variable_name(name) if is_keras else name

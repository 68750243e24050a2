"""From a checkpoint to the network that it belongs to, with its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.network.network_spec import NetworkSpec, dimensions
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from deeplablib.weights.variable_names import own_names, scope_in


def load_model(
    networks: Mapping[str, NetworkSpec],
    path: str | Path,
    otherwise: str = '',
    averaged: bool = False,
) -> tuple[str, keras.Model]:
    """Build the network that a checkpoint belongs to, of the size it has, with its weights.

    networks: a NETWORKS table. path: as for checkpoints.find. otherwise: what to tell somebody
    whose checkpoint is of none of them. averaged: as for variable_names.own_names.
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
        some = ', '.join(sorted(values)[:4])
        raise InputError(
            f'{path}: not a checkpoint of any of these networks: {", ".join(networks)}{otherwise}; '
            f'its variables are {some}, ...'
        )
    network = networks[name]
    values = own_names(network, values, path, averaged)
    sizes = dimensions(network, values)
    if sizes['num_classes'] > IGNORE_LABEL:
        raise InputError(
            f'{path}: {sizes["num_classes"]} classes; label maps have room for {IGNORE_LABEL}'
        )
    model = network.build(**sizes)
    checkpoints.assign(values, network.variables(model), path)
    return name, model


def load_tag_classifier(networks: Mapping[str, NetworkSpec], path: str | Path) -> keras.Model:
    """Build the tag classifier that a checkpoint belongs to, of the size it has, with its weights.

    networks: a NETWORKS table. path: as for checkpoints.find.
    Returns a Keras model, as from NetworkSpec.build_classifier.
    Raises InputError when the checkpoint cannot be read, is not one of a tag classifier, or does
    not fit.
    """
    values = checkpoints.read(path)
    if not is_tag_classifier(networks, values):
        raise InputError(
            f'{path}: not a tag classifier; python -m selection.train_classifier trains one'
        )
    network = next(n for n in networks.values() if n.width_kernel in values)
    width = dimensions(network, values)['width']
    num_tags = values[network.tag_kernel].shape[-1]
    model = network.build_classifier(num_tags=num_tags, width=width)
    checkpoints.assign(values, network.variables(model), path)
    return model


def is_tag_classifier(networks: Mapping[str, NetworkSpec], values: Mapping[str, Any]) -> bool:
    """Whether the variables of a checkpoint are those of a tag classifier.

    networks: a NETWORKS table. values: dict from variable name to array.
    """
    return any(n.width_kernel in values and n.tag_kernel in values for n in networks.values())


def _recognise(networks, values):
    for marks in (('width_kernel', 'last_bias'), ('width_kernel',)):
        for name, network in networks.items():
            if all(getattr(network, mark) in values for mark in marks):
                return name
    scopes = (scope_in(network, values, whole=True) for network in networks.values())
    return next((name for name, s in zip(networks, scopes, strict=True) if s is not None), None)

"""What the shared code has to know of a network besides its Keras model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.network.layers import STEM_FILTERS
from deeplablib.run.backend import keras
from deeplablib.run.errors import InputError
from deeplablib.weights import checkpoints


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    classifier: a variable with this in its checkpoint name starts anew, whatever the pretrained
        file holds, and learns faster: a kernel ten times, a bias twenty.
    bias_rate: how much faster than kernels the other biases learn.
    outputs: turns logits into what goes into the softmax cross entropy.
    """

    classifier: str
    bias_rate: float
    outputs: Callable


@dataclass(frozen=True)
class Network:
    """One entry of a package's NETWORKS table.

    build: makes the Keras model, images to logits; takes num_classes and width.
    variable_name: turns a Keras variable path ('conv1/kernel') into the name that TensorFlow 1
        checkpoints use ('conv1/weights').
    scores: turns logits into what the scales of a multi-scale test are fused in.
    score_kind: what those are, 'logits' or 'probabilities'.
    first_kernel, last_bias: checkpoint names of variables whose shapes tell width and classes.
    recipes: how it is trained, by the names that --recipe takes.
    """

    build: Callable[..., keras.Model]
    variable_name: Callable[[str], str]
    scores: Callable
    score_kind: str
    first_kernel: str
    last_bias: str
    recipes: dict[str, Recipe]

    def variables(self, model):
        """The variables of a model under their checkpoint names.

        model: made by build. Returns a dict from name to Keras variable, in creation order.
        """
        return {self.variable_name(v.path): v for v in model.weights}


def load_model(networks, path, otherwise=''):
    """Build the network that a checkpoint belongs to, of the size it has, with its weights.

    networks: a NETWORKS table. path: as for checkpoints.find. otherwise: what to tell somebody
    whose checkpoint is of none of them.
    Returns (name of the network, Keras model). Raises InputError when the checkpoint cannot be
    read, belongs to none of the networks, does not fit, or has more than 255 classes.
    """
    values = checkpoints.read(path)
    name = _recognise(networks, values)
    if name is None:
        raise InputError(
            f'{path}: not a checkpoint of any of these networks: {", ".join(networks)}{otherwise}'
        )
    network = networks[name]
    sizes = dimensions(network, values)
    if sizes['num_classes'] > IGNORE_LABEL:
        raise InputError(
            f'{path}: {sizes["num_classes"]} classes; label maps have room for {IGNORE_LABEL}'
        )
    model = network.build(**sizes)
    checkpoints.assign(values, network.variables(model), path)
    return name, model


def _recognise(networks, values):
    for marks in (('first_kernel', 'last_bias'), ('first_kernel',)):
        for name, network in networks.items():
            if all(getattr(network, mark) in values for mark in marks):
                return name
    return None


def dimensions(network, values):
    """Width and classes of the network that has such variables; the paper's where none shows it.

    network: a Network. values: dict from variable name to array, of any shape.
    Returns arguments for network.build.
    """

    def channels(name, default):
        shape = np.shape(values.get(name))  # () where there is none
        return shape[-1] if shape and shape[-1] else default

    return {
        'width': channels(network.first_kernel, STEM_FILTERS) / STEM_FILTERS,
        'num_classes': channels(network.last_bias, NUM_CLASSES),
    }

"""What the shared code has to know of a network besides its Keras model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.layers import STEM_FILTERS, TAG_LAYER
from deeplablib.utils.backend import keras, tf


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    classifier: a variable with this in its checkpoint name starts from random values even if the
        pretrained file holds it, and learns faster: a kernel ten times, a bias twenty.
    bias_rate: how much faster than kernels the other biases learn.
    outputs: turns logits into what goes into the softmax cross entropy.
    """

    classifier: str
    bias_rate: float
    outputs: Callable[[tf.Tensor], tf.Tensor]


def identity(logits: tf.Tensor) -> tf.Tensor:
    """The logits as they are: what most networks fuse scales with, and are trained with."""
    return logits


def one_recipe(classifier: str) -> dict[str, Recipe]:
    """The recipes of a network that is trained in one way, whichever --recipe names.

    classifier: as of Recipe.
    """
    recipe = Recipe(classifier=classifier, bias_rate=1.0, outputs=identity)
    return {'caffe': recipe, 'authors': recipe}


@dataclass(frozen=True)
class NetworkSpec:
    """One entry of a package's NETWORKS table.

    build: makes the Keras model, images to logits; takes num_classes, width and frozen.
    build_classifier: makes the tag classifier on the same encoder, images to what each tag responds
        to; takes num_tags, width and frozen.
    variable_name: turns a Keras variable path ('conv1/kernel') into the name that TensorFlow 1
        checkpoints use ('conv1/weights').
    to_score_map: turns logits into the score map, in which the scales of a prediction are fused.
    score_map_kind: what a score map holds, 'logits' or 'probabilities'.
    width_kernel, last_bias: checkpoint names of variables whose shapes tell width and classes.
    width_filters: how many channels come out of width_kernel at width 1.
    head: what every variable behind the encoder has in its checkpoint name.
    recipes: how it is trained, by the names that --recipe takes.
    """

    build: Callable[..., keras.Model]
    build_classifier: Callable[..., keras.Model]
    variable_name: Callable[[str], str]
    to_score_map: Callable[[tf.Tensor], tf.Tensor]
    score_map_kind: str
    width_kernel: str
    last_bias: str
    head: str
    recipes: dict[str, Recipe]
    width_filters: int = STEM_FILTERS

    @property
    def tag_kernel(self) -> str:
        """The checkpoint name of the variable that makes a checkpoint one of a tag classifier."""
        return self.variable_name(f'{TAG_LAYER}/kernel')

    def variables(self, model: keras.Model) -> dict[str, keras.Variable]:
        """The variables of a model under their checkpoint names.

        model: made by build. Returns a dict from name to Keras variable, in creation order.
        """
        return {self.variable_name(v.path): v for v in model.weights}


def dimensions(network: NetworkSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Width and classes of the network that has such variables; the paper's where none shows it.

    values: dict from variable name to array, of any shape.
    Returns arguments for network.build.
    """

    def channels(name, default):
        shape = np.shape(values.get(name))  # () where there is none
        return shape[-1] if shape and shape[-1] else default

    return {
        'width': channels(network.width_kernel, network.width_filters) / network.width_filters,
        'num_classes': channels(network.last_bias, NUM_CLASSES),
    }


def slashed_name(path: str) -> str:
    """The TensorFlow 1 name of a Keras variable, for networks whose names there have slashes.

    path: 'res2a_branch1/kernel'. Returns 'res2a_branch1/weights'. Keras layer names cannot hold the
    slashes of slim's scopes, so a dot stands for them: 'decoder.aspp.conv1/bias' is
    'decoder/aspp/conv1/biases'.
    """
    layer, variable = path.split('/')
    variable = {'kernel': 'weights', 'bias': 'biases'}.get(variable, variable)
    return f'{layer.replace(".", "/")}/{variable}'

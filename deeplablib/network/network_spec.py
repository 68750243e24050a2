"""What the shared code has to know of a network besides its Keras model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.layers import STEM_FILTERS, TAG_LAYER
from deeplablib.utils.backend import keras, tf

ENCODER_LEVELS = 5  # of every encoder, one for each resolution of its ImageNet network


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    classifier: a variable with this in its checkpoint name starts from random values even if the
        pretrained file holds it, and learns faster: a kernel ten times, a bias twenty.
    bias_rate: how much faster than kernels the other biases learn.
    outputs: turns logits into what goes into the softmax cross entropy.
    """

    classifier: str
    bias_rate: float = 1.0
    outputs: Callable[[tf.Tensor], tf.Tensor] = tf.identity


@dataclass(frozen=True)
class NetworkSpec:
    """One entry of a package's NETWORKS table.

    build: makes the Keras model: float32 BGR minus mean [batch, height, width, 3] to float32 logits
        [batch, ceil(height / 8), ceil(width / 8), num_classes]. Its arguments are flags of main.py:
        num_classes; width, which multiplies the channels of every other layer, a multiple of 1/64;
        frozen, how many of the encoder's five levels of resolution, from the first, keep their
        weights in training; dropout_rate, of fc6 and fc7, or train_batch_norm (layers.batch_norm);
        output_stride, in training.
    build_classifier: makes the tag classifier on the same encoder, of the same input to what each
        tag responds to, float32 [batch, ceil(height / 16), ceil(width / 16), num_tags]; its mean
        over the map is the logit of a tag. Takes num_tags, width and frozen.
    variable_name: turns a Keras variable path ('conv1/kernel') into the name that TensorFlow 1
        checkpoints use ('conv1/weights').
    width_kernel, last_bias: checkpoint names of variables whose shapes tell width and classes.
    head: what every variable behind the encoder has in its checkpoint name.
    recipes: how it is trained, by the names that --recipe takes.
    to_score_map: turns logits into the score map, in which the scales of a prediction are fused.
    score_map_kind: what a score map holds, 'logits' or 'probabilities'.
    width_filters: how many channels come out of width_kernel at width 1.
    affinity_layers: layers of build_classifier whose features say how alike two places of an image
        are, for the propagation of its maps; none: not measured.
    """

    build: Callable[..., keras.Model]
    build_classifier: Callable[..., keras.Model]
    variable_name: Callable[[str], str]
    width_kernel: str
    last_bias: str
    head: str
    recipes: dict[str, Recipe]
    to_score_map: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    score_map_kind: str = 'logits'
    width_filters: int = STEM_FILTERS
    affinity_layers: tuple[str, ...] = ()

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

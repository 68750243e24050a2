"""What the shared code has to know of a network besides its Keras model."""

from collections.abc import Callable
from dataclasses import dataclass

from deeplablib.backend import keras


@dataclass(frozen=True)
class Network:
    """One entry of a package's NETWORKS table.

    build: makes the Keras model, images to logits; takes num_classes and width.
    variable_name: turns a Keras variable path ('conv1/kernel') into the name that TensorFlow 1
        checkpoints use ('conv1/weights').
    scores: turns logits into what the scales of a multi-scale test are fused in.
    classifier: a variable belongs to the classifier when this stands in its checkpoint name.
    """

    build: Callable[..., keras.Model]
    variable_name: Callable[[str], str]
    scores: Callable
    classifier: str

    def variables(self, model):
        """The variables of a model under their checkpoint names.

        model: made by build. Returns a dict from name to Keras variable, in creation order.
        """
        return {self.variable_name(v.path): v for v in model.weights}

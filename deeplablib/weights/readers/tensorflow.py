"""TensorFlow 1 checkpoints of these networks and of slim's ResNets."""

import re

from deeplablib.network.layers import BATCH_NORM_EPSILON
from deeplablib.weights import checkpoints
from deeplablib.weights.readers.weight_file import WeightFile, from_variables

_PARAMETERS = {
    'weights': 'weights',
    'kernel': 'weights',  # in a tf.train.Checkpoint of a Keras model
    'biases': 'biases',
    'bias': 'biases',
    'gamma': 'scale',
    'beta': 'offset',
    'moving_mean': 'mean',
    'moving_variance': 'variance',
}
# 'res2a_branch1/weights' (ResNet, slim) or 'conv1_1_weights' (VGG).
_NAME = re.compile(rf'(.+)[/_]({"|".join(_PARAMETERS)})')


def read(path: str) -> WeightFile:
    """Read a V1 or V2 checkpoint.

    path: as for checkpoints.find.
    Returns a WeightFile, with a dot for each slash in a layer's name, as Keras layers have it.
    Raises InputError when it is not a checkpoint or is damaged.
    """
    variables = dict(sorted(checkpoints.read(path).items()))
    layers = from_variables(variables, _split)
    others = tuple(name for name in variables if not _split(name))
    return WeightFile(
        str(path),
        format='TensorFlow 1',
        layers=layers,
        epsilon=BATCH_NORM_EPSILON,
        channels_first=False,
        others=others,
    )


def _split(name):
    match = _NAME.fullmatch(name)
    return match and (match[1].replace('/', '.'), _PARAMETERS[match[2]])

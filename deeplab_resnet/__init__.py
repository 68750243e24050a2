"""DeepLab v2 on ResNet: the networks by the names that --encoder_name takes."""

from deeplab_resnet.network import (
    deeplab_resnet101,
    slim_resnet50,
    slim_resnet101,
    variable_name,
)
from deeplablib.network import Network


def _logits(logits):
    """SPSM fuses the scales of a ResNet as they leave the network."""
    return logits


NETWORKS = {
    'deeplab': Network(deeplab_resnet101, variable_name, _logits, 'logits', classifier='fc'),
    'res101': Network(slim_resnet101, variable_name, _logits, 'logits', classifier='decoder'),
    'res50': Network(slim_resnet50, variable_name, _logits, 'logits', classifier='decoder'),
}

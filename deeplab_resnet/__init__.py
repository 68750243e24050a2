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
    'deeplab': Network(
        build=deeplab_resnet101,
        variable_name=variable_name,
        scores=_logits,
        score_kind='logits',
        classifier='fc',
        first_kernel='conv1/weights',
        last_bias='fc1_voc12_c3/biases',
    )
}
for _name, _build, _scope in (
    ('res101', slim_resnet101, 'resnet_v1_101'),
    ('res50', slim_resnet50, 'resnet_v1_50'),
):
    NETWORKS[_name] = Network(
        build=_build,
        variable_name=variable_name,
        scores=_logits,
        score_kind='logits',
        classifier='decoder',
        first_kernel=f'{_scope}/conv1/weights',
        last_bias='decoder/aspp/conv4/biases',
    )

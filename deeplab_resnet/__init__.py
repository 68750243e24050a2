"""DeepLab v2 on ResNet: the networks by the names that --encoder_name takes."""

from deeplab_resnet.resnet import (
    deeplab_resnet101,
    slim_resnet50,
    slim_resnet101,
    variable_name,
)
from deeplablib.network.network_spec import Network, Recipe


def _logits(logits):
    """SPSM takes the output of a ResNet as it is, to fuse scales and to train."""
    return logits


def _network(build, classifier, first_kernel, last_bias):
    return Network(
        build=build,
        variable_name=variable_name,
        scores=_logits,
        score_kind='logits',
        first_kernel=first_kernel,
        last_bias=last_bias,
        # One recipe, whichever --recipe names: the choice is for the VGG networks.
        recipes=dict.fromkeys(('caffe', 'authors'), Recipe(classifier, 1.0, _logits)),
    )


def _slim_network(build, scope):
    last_bias = 'decoder/aspp/conv4/biases'
    return _network(build, 'decoder', f'{scope}/conv1/weights', last_bias)


NETWORKS = {
    'deeplab': _network(deeplab_resnet101, 'fc', 'conv1/weights', 'fc1_voc12_c3/biases'),
    'res101': _slim_network(slim_resnet101, 'resnet_v1_101'),
    'res50': _slim_network(slim_resnet50, 'resnet_v1_50'),
}

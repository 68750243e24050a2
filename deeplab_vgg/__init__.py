"""DeepLab v2 on VGG16: the networks by the names that --encoder_name takes."""

from deeplab_vgg.network import deeplab_aspp, deeplab_largefov, probabilities, variable_name
from deeplablib.network import Network

NETWORKS = {
    'vgg': Network(deeplab_largefov, variable_name, probabilities, classifier='fc'),
    'vgg_aspp': Network(deeplab_aspp, variable_name, probabilities, classifier='fc'),
}

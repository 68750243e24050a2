"""DeepLab v2 on VGG16: the networks by the names that --encoder_name takes."""

from deeplab_vgg.network import deeplab_aspp, deeplab_largefov, probabilities, variable_name
from deeplablib.network import Network

NETWORKS = {
    name: Network(build, variable_name, probabilities, 'probabilities', classifier='fc')
    for name, build in (('vgg', deeplab_largefov), ('vgg_aspp', deeplab_aspp))
}

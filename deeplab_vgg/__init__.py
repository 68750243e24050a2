"""DeepLab v2 on VGG16: the networks by the names that --encoder_name takes."""

from deeplab_vgg.network import deeplab_aspp, deeplab_largefov, probabilities, variable_name
from deeplablib.network import Network

NETWORKS = {
    name: Network(
        build=build,
        variable_name=variable_name,
        scores=probabilities,
        score_kind='probabilities',
        classifier='fc',
        first_kernel='conv1_1_weights',
        last_bias=last_bias,
    )
    for name, build, last_bias in (
        ('vgg', deeplab_largefov, 'fc8_bias'),
        ('vgg_aspp', deeplab_aspp, 'fc8_4_bias'),
    )
}

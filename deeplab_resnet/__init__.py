"""DeepLab v2 on ResNet: the networks by the names that --encoder_name takes."""

from deeplab_resnet.resnet import (
    UNITS,
    caffe_names,
    deeplab_resnet101,
    slim_names,
    slim_resnet50,
    slim_resnet101,
    tag_classifier,
)
from deeplablib.network.network_spec import NetworkSpec, identity, one_recipe, slashed_name


def _network(build, depth, names, classifier, width_kernel, last_bias):
    return NetworkSpec(
        build=build,
        build_classifier=tag_classifier(UNITS[depth], names),
        variable_name=slashed_name,
        to_score_map=identity,
        score_map_kind='logits',
        width_kernel=width_kernel,
        last_bias=last_bias,
        head=classifier,
        recipes=one_recipe(classifier),
    )


def _slim_network(build, depth):
    scope = f'resnet_v1_{depth}'
    return _network(
        build,
        depth,
        names=slim_names(scope),
        classifier='decoder',
        width_kernel=f'{scope}/conv1/weights',
        last_bias='decoder/aspp/conv4/biases',
    )


NETWORKS = {
    'deeplab': _network(
        deeplab_resnet101,
        depth=101,
        names=caffe_names,
        classifier='fc',
        width_kernel='conv1/weights',
        last_bias='fc1_voc12_c3/biases',
    ),
    'res101': _slim_network(slim_resnet101, 101),
    'res50': _slim_network(slim_resnet50, 50),
}

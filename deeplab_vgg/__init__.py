"""DeepLab v2 on VGG16: the networks by the names that --encoder_name takes."""

from deeplab_vgg.vgg import (
    deeplab_aspp,
    deeplab_largefov,
    probabilities,
    tag_classifier,
    variable_name,
)
from deeplablib.network.network_spec import NetworkSpec, Recipe, identity

RECIPES = {
    # DeepLab v2's own, which SPSM names: fc6 and fc7 come from VGG16, only fc8 is new.
    'caffe': Recipe(classifier='fc8', bias_rate=2.0, outputs=identity),
    # The TensorFlow trainer of SPSM's group: its softmax cross entropy takes the network's
    # probabilities for logits, in effect a second softmax.
    'authors': Recipe(classifier='fc', bias_rate=1.0, outputs=probabilities),
}

NETWORKS = {
    name: NetworkSpec(
        build=build,
        build_classifier=tag_classifier,
        variable_name=variable_name,
        to_score_map=probabilities,
        score_map_kind='probabilities',
        width_kernel='conv1_1_weights',
        last_bias=last_bias,
        head='fc',
        recipes=RECIPES,
    )
    for name, build, last_bias in (
        ('vgg', deeplab_largefov, 'fc8_bias'),
        ('vgg_aspp', deeplab_aspp, 'fc8_4_bias'),
    )
}

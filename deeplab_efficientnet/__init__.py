"""DeepLab v2 on EfficientNet-Lite0: the network by the name that --encoder_name takes."""

from deeplab_efficientnet.efficientnet import FEATURES, deeplab_lite0, tag_classifier
from deeplablib.network.network_spec import NetworkSpec, identity, one_recipe, slashed_name

NETWORKS = {
    'lite0': NetworkSpec(
        build=deeplab_lite0,
        build_classifier=tag_classifier,
        variable_name=slashed_name,
        to_score_map=identity,
        score_map_kind='logits',
        width_kernel='features/weights',
        width_filters=FEATURES,
        last_bias='decoder/aspp/conv4/biases',
        head='decoder',
        recipes=one_recipe('decoder'),
    )
}

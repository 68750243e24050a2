"""DeepLab v2 on EfficientNet-Lite0: the network by the name that --encoder_name takes."""

from deeplab_efficientnet.efficientnet import (
    FEATURES,
    deeplab_lite0,
    tag_classifier,
)
from deeplablib.network.network_spec import NetworkSpec, Recipe, slashed_name

_RECIPE = Recipe(classifier='decoder', bias_rate=1.0, outputs=lambda logits: logits)

NETWORKS = {
    'lite0': NetworkSpec(
        build=deeplab_lite0,
        build_classifier=tag_classifier,
        variable_name=slashed_name,
        to_score_map=lambda logits: logits,
        score_map_kind='logits',
        width_kernel='features/weights',
        width_filters=FEATURES,
        last_bias='decoder/aspp/conv4/biases',
        head='decoder',
        # One recipe, whichever --recipe names: the choice is for the VGG networks.
        recipes={'caffe': _RECIPE, 'authors': _RECIPE},
    )
}

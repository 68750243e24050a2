"""A network as a program of its own: a SavedModel that labels images."""

from pathlib import Path

from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.prediction_form import prediction_model
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.utils.backend import keras, tf


def save_model(path: str | Path, network: NetworkSpec, model: keras.Model) -> None:
    """Write a SavedModel: uint8 RGB [height, width, 3] -> labels, uint8 [height, width].

    path: a folder that is not there. model: with its weights.
    Raises tf.errors.OpError when it cannot be written.
    """
    predict = make_predictor(prediction_model(model), network.to_score_map)
    all_classes = [True] * model.output.shape[-1]
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8, name='image')])
    def serve(image):
        return {'labels': predict(image, all_classes)[0]}

    signature = serve.get_concrete_function()
    module.weights = list(signature.variables)
    tf.saved_model.save(module, path, signatures={'serving_default': signature})

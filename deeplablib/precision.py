"""Training in bfloat16."""

from deeplablib.backend import keras


def in_bfloat16(model):
    """Copy a model so that it computes in bfloat16 and keeps its variables in float32.

    The layers that end in classes stay in float32, as in prediction (inference.prediction_model);
    batch norm computes in float32 between bfloat16 inputs and outputs.
    model: a network with its weights. Returns a Keras model with float32 logits.
    """

    def copy(layer):
        config = layer.get_config()
        if not isinstance(layer, keras.layers.InputLayer):
            to_classes = layer.output.shape[-1] == model.output.shape[-1]
            config['dtype'] = 'float32' if to_classes else 'mixed_bfloat16'
        return type(layer).from_config(config)

    copied = keras.models.clone_model(model, clone_function=copy)
    for variable, value in zip(copied.weights, model.weights, strict=True):
        variable.assign(value)
    return copied

"""Networks folded and recomputed for training: the same losses and gradients."""

import numpy as np
import pytest

from deeplablib.network.folding import fold_for_training
from deeplablib.network.recompute import recomputed
from deeplablib.utils.backend import keras, tf
from tests import golden
from tests.conversion import model_with, narrow_values
from tests.deterministic import image


def gradients(model, variables, images, training=False):
    """The logits, and the gradients of a number that all of them have a part in."""

    @tf.function
    def compute(images):
        with tf.GradientTape() as tape:
            logits = model(images, training=training)
            loss = tf.reduce_mean(logits**2)
        return logits, tape.gradient(loss, [variable.value for variable in variables])

    return compute(images)


def relative_difference(values, expected):
    return np.linalg.norm(np.subtract(values, expected)) / np.linalg.norm(expected)


@pytest.mark.parametrize('encoder_name', ['res50', 'vgg', 'lite0'])
def test_folding_frozen_batch_norm_keeps_logits_and_gradients(encoder_name):
    model = model_with(encoder_name, narrow_values(encoder_name))
    form = fold_for_training(model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in form.layers)
    assert {v.path for v in form.weights} == {v.path for v in model.weights}
    variables = model.trainable_variables
    batch = tf.constant(image(40, 33, 3))
    expected_logits, expected = gradients(model, variables, batch)
    logits, found = gradients(form, variables, batch)
    assert relative_difference(logits, expected_logits) < 1e-5
    # A rounding can open or close a ReLU, so single kernels may differ by more.
    differences = [relative_difference(*pair) for pair in zip(found, expected, strict=True)]
    assert np.median(differences) < 1e-4
    assert max(differences) < 5e-3


def test_a_batch_norm_that_learns_is_not_folded():
    model = golden.NETWORKS['res50'].build(width=1 / 64, train_batch_norm=True)
    form = fold_for_training(model)
    norms = [la for la in form.layers if isinstance(la, keras.layers.BatchNormalization)]
    assert len(norms) == 53
    assert {v.path for v in form.trainable_variables} == {v.path for v in model.trainable_variables}
    form(image(33, 33, 1), training=True)
    assert np.any(model.get_layer(norms[0].name).moving_mean)


@pytest.mark.parametrize(
    'encoder_name, precision',
    [('res50', 'float32'), ('vgg', 'bfloat16'), ('lite0', 'bfloat16')],
)
def test_recomputing_keeps_gradients(encoder_name, precision):
    model = golden.NETWORKS[encoder_name].build(width=1 / 16)
    form = fold_for_training(model, precision)
    variables = model.trainable_variables
    batch = tf.constant(image(40, 33, 3))
    expected_logits, expected = gradients(form, variables, batch)
    logits, found = gradients(recomputed(form), variables, batch)
    assert logits.dtype == 'float32'
    np.testing.assert_array_equal(logits, expected_logits)
    for variable, *pair in zip(variables, found, expected, strict=True):
        assert relative_difference(*pair) < 1e-6, variable.path


def test_recomputing_keeps_the_dropout_of_a_step():
    model = golden.NETWORKS['vgg'].build(width=1 / 16)
    form = fold_for_training(model)
    variables = model.trainable_variables
    batch = tf.constant(image(40, 33, 3))
    results = []
    for call in (form, recomputed(form)):
        for layer in form.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([1, 2])
        results.append(gradients(call, variables, batch, training=True)[1])
    for variable, *pair in zip(variables, *results, strict=True):
        assert relative_difference(*pair) < 1e-6, variable.path

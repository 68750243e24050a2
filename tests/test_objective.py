import numpy as np
import pytest

from deeplablib.network.network_spec import Recipe
from deeplablib.training import objective
from deeplablib.utils.backend import tf
from tests import golden

CAFFE = golden.NETWORKS['vgg'].recipes['caffe']
AUTHORS = golden.NETWORKS['vgg'].recipes['authors']


def test_rate_follows_the_polynomial_and_ends_at_zero():
    # By hand: 4e-5 * (1 - s / 18000) ^ 0.9 for s = 0, 1, 2, 3.
    expected = [4e-5, 3.9998e-5, 3.999599998888889e-5, 3.999399997499974e-5]
    rates = [objective.poly_rate(step, 4e-5, 18000, 0.9) for step in range(4)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates[0].dtype == 'float32'
    assert objective.poly_rate(18000, 4e-5, 18000, 0.9) == 0


@pytest.mark.parametrize(
    'encoder_name, recipe, expected',
    [
        (
            'deeplab',
            'caffe',
            {'conv1/weights': 1, 'fc1_voc12_c0/weights': 10, 'fc1_voc12_c3/biases': 20},
        ),
        (
            'res50',
            'caffe',
            {
                'resnet_v1_50/conv1/weights': 1,
                'decoder/aspp/conv1/weights': 10,
                'decoder/aspp/conv4/biases': 20,
            },
        ),
        (
            'vgg',
            'caffe',
            {
                'conv1_1_weights': 1,
                'conv5_3_bias': 2,
                'fc6_weights': 1,
                'fc7_bias': 2,
                'fc8_weights': 10,
                'fc8_bias': 20,
            },
        ),
        (
            'vgg_aspp',
            'authors',
            {
                'conv1_1_weights': 1,
                'conv5_3_bias': 1,
                'fc6_1_weights': 10,
                'fc7_2_bias': 20,
                'fc8_3_weights': 10,
                'fc8_4_bias': 20,
            },
        ),
    ],
)
def test_classifiers_learn_ten_and_twenty_times_as_fast(encoder_name, recipe, expected):
    layout, recipe = golden.layout(encoder_name), golden.NETWORKS[encoder_name].recipes[recipe]
    assert set(expected) <= set(layout)
    assert {name: objective.rate_multiplier(name, recipe) for name in expected} == expected


def test_the_encoder_warms_up_and_the_classifier_does_not():
    recipe = golden.NETWORKS['vgg'].recipes['caffe']
    factors = [float(objective.warm_up(step, 4)) for step in (0, 1, 4, 9)]
    assert factors == [0, 0.25, 1, 1] and objective.warm_up(0, 0) == 1
    found = [
        float(objective.rate_multiplier(name, recipe, objective.warm_up(1, 4)))
        for name in ('conv1_1_weights', 'conv1_1_bias', 'fc8_weights', 'fc8_bias')
    ]
    assert found == [0.25, 0.5, 10, 20]


def test_only_kernels_decay():
    rng = np.random.default_rng(0)
    variables = {
        name: rng.normal(size=4).astype(np.float32)
        for name in ('conv1/weights', 'bn_conv1/gamma', 'fc8_weights', 'fc8_bias', 'x/biases')
    }
    expected = 0.5 * 5e-4 * sum((variables[n] ** 2).sum() for n in ('conv1/weights', 'fc8_weights'))
    assert float(objective.weight_decay_loss(variables, 5e-4)) == pytest.approx(expected, rel=1e-6)


def cross_entropy(scores, labels):
    """Mean over the pixels with a label below 3, in NumPy."""
    scores, labels = scores.reshape(-1, 3).astype(np.float64), labels.reshape(-1)
    scores, labels = scores[labels < 3], labels[labels < 3]
    log_sum = np.log(np.exp(scores).sum(1))
    return (log_sum - scores[np.arange(len(labels)), labels]).mean()


def loss_of(scores, labels, recipe=CAFFE, multi_scale=False):
    """pixel_loss of a made-up network with given scores for each size of its input."""
    images = np.zeros((*labels.shape, 3), np.float32)
    maps = objective.pixel_targets(tf.constant(labels), 3, multi_scale)
    counts = [tf.reduce_sum(tf.cast(part >= 0, tf.float32)) for part in maps]
    queue = iter(scores)
    return objective.pixel_loss(
        lambda images, training: tf.constant(next(queue)),
        tf.constant(images),
        maps,
        counts,
        recipe.outputs,
    )


def test_loss_is_the_mean_over_labelled_pixels():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 2, 3, 3)).astype(np.float32)
    labels = rng.choice([0, 1, 2, 3, 20, 255], size=(2, 16, 24)).astype(np.uint8)
    expected = cross_entropy(scores, labels[:, ::8, ::8])
    assert float(loss_of([scores], labels)) == pytest.approx(expected, rel=1e-6)


def test_authors_recipe_takes_probabilities_for_logits():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(1, 2, 2, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (1, 16, 16), np.uint8)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) + 1e-4
    probabilities /= probabilities.sum(-1, keepdims=True)
    expected = cross_entropy(probabilities, labels[:, ::8, ::8])
    assert float(loss_of([logits], labels, AUTHORS)) == pytest.approx(expected, rel=1e-6)


def test_multi_scale_loss_sums_three_scales_and_their_maximum():
    # 16x16 input: 2x2 scores at full scale, and 12x12 and 8x8 inputs give 2x2 and 1x1.
    rng = np.random.default_rng(3)
    full, three_quarters, half = (
        rng.normal(size=(1, n, n, 3)).astype(np.float32) for n in (2, 2, 1)
    )
    labels = rng.choice([0, 1, 2, 255], size=(1, 16, 16)).astype(np.uint8)
    at_two = labels[:, ::8, ::8]
    fused = np.maximum(np.maximum(full, three_quarters), half)
    expected = sum(cross_entropy(part, at_two) for part in (full, three_quarters, fused))
    expected += cross_entropy(half, labels[:, :1, :1]) if labels[0, 0, 0] < 3 else 0
    loss = loss_of([full, three_quarters, half], labels, multi_scale=True)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_no_labelled_pixel_gives_no_loss_and_no_gradient():
    kernel = tf.Variable(tf.ones([3]))
    labels = tf.fill([1, 16, 16], tf.constant(255, tf.uint8))
    maps = objective.pixel_targets(labels, 3)
    with tf.GradientTape() as tape:
        loss = objective.pixel_loss(
            lambda images, training: tf.ones([1, 2, 2, 3]) * kernel,
            tf.zeros([1, 16, 16, 3]),
            maps,
            [tf.constant(0.0)],
            tf.identity,
        )
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, kernel), [0, 0, 0])


def test_momentum_is_that_of_tensorflow_1():
    keras_variable = golden.NETWORKS['vgg'].build(width=1 / 64).get_layer('fc8').bias
    start = keras_variable.numpy()
    slot = tf.Variable(tf.zeros_like(start))
    rng = np.random.default_rng(4)
    value, accumulated = start.astype(np.float64), np.zeros(start.shape)
    for rate in (0.3, 0.2, 0.1, 0.0):
        gradient = rng.normal(size=start.shape).astype(np.float32)
        objective.apply_momentum(keras_variable, slot, gradient, tf.constant(rate), 0.9)
        accumulated = 0.9 * accumulated + gradient
        value -= rate * accumulated
        np.testing.assert_allclose(keras_variable.numpy(), value, rtol=0, atol=1e-6)


def test_recipe_of_a_resnet_is_one():
    recipes = golden.NETWORKS['deeplab'].recipes
    assert recipes['caffe'] is recipes['authors']
    assert isinstance(recipes['caffe'], Recipe)

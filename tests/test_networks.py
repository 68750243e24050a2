import numpy as np
import pytest

from deeplablib.utils.backend import keras
from tests import golden
from tests.deterministic import image

SIZES = [
    ('deeplab', 65, 81),
    ('deeplab', 72, 50),
    ('res101', 65, 81),
    ('res50', 65, 81),
    ('vgg', 65, 81),
    ('vgg', 72, 50),
    ('vgg_aspp', 65, 81),
    ('vgg_aspp', 72, 50),
]
# Layer whose activation the reference calls by another name.
RENAMED = {'bn_conv1': 'conv1_relu'}


@pytest.mark.parametrize('encoder_name, height, width', SIZES)
def test_forward_pass_equals_the_original(encoder_name, height, width):
    reference = golden.arrays(f'forward_{golden.REFERENCE[encoder_name]}_{height}x{width}.npz')
    model = golden.model(encoder_name)
    norms = {key.removeprefix('norm/'): reference[key] for key in reference if 'norm/' in key}
    outputs = {name: model.get_layer(RENAMED.get(name, name)).output for name in norms}
    outputs['logits'] = model.output
    outputs = keras.Model(model.input, outputs)(image(height, width, 7), training=False)
    for name, (norm, *shape) in norms.items():
        assert list(outputs[name].shape) == shape, name
        assert np.linalg.norm(outputs[name]) == pytest.approx(norm, rel=1e-5), name
    logits = outputs['logits']
    np.testing.assert_allclose(
        logits, reference['logits'], rtol=0, atol=1e-4 * np.abs(reference['logits']).max()
    )
    if 'probabilities' in reference:
        probabilities = golden.NETWORKS[encoder_name].to_score_map(logits)
        np.testing.assert_allclose(probabilities, reference['probabilities'], rtol=0, atol=1e-4)


@pytest.mark.parametrize('encoder_name', golden.REFERENCE)
def test_variables_have_the_names_shapes_and_order_of_the_original(encoder_name):
    model = golden.model(encoder_name)
    variables = golden.NETWORKS[encoder_name].variables(model)
    ours = {name: tuple(variable.shape) for name, variable in variables.items()}
    assert ours == golden.layout(encoder_name)


@pytest.mark.parametrize('encoder_name', golden.NETWORKS)
def test_width_and_classes_change_the_channels(encoder_name):
    model = golden.NETWORKS[encoder_name].build(num_classes=3, width=1 / 16)
    assert model(image(33, 20, 1)).shape == (1, 5, 3, 3)
    assert model.count_params() < golden.model(encoder_name).count_params() / 100


@pytest.mark.parametrize('encoder_name', ['deeplab', 'res101', 'res50', 'lite0'])
def test_batch_norm_learns_only_when_asked(encoder_name):
    build = golden.NETWORKS[encoder_name].build
    frozen, learning = build(width=1 / 16), build(width=1 / 16, train_batch_norm=True)
    assert not any('gamma' in v.path for v in frozen.trainable_variables)
    assert any('gamma' in v.path for v in learning.trainable_variables)
    before = [v.numpy() for v in frozen.weights]
    frozen(image(33, 33, 1), training=True)
    for was, variable in zip(before, frozen.weights, strict=True):
        np.testing.assert_array_equal(variable, was)


@pytest.mark.parametrize('encoder_name', golden.NETWORKS)
def test_frozen_blocks_are_the_first_and_never_the_classifier(encoder_name):
    network = golden.NETWORKS[encoder_name]
    learning = []
    for frozen in (0, 1, 3, 5):
        variables = network.variables(network.build(width=1 / 16, frozen=frozen))
        kernels = {n: v.trainable for n, v in variables.items() if n.endswith('weights')}
        assert list(kernels.values()) == sorted(kernels.values()), 'those that learn come last'
        learning.append([name for name, learns in kernels.items() if learns])
    assert [len(names) for names in learning] == sorted(map(len, learning), reverse=True)
    assert len(set(map(len, learning))) == 4
    assert all(network.head in name for name in learning[-1]) and learning[-1]


def test_dropout_is_off_outside_training():
    model = golden.NETWORKS['vgg'].build(width=1 / 16)
    batch = image(33, 33, 1)
    np.testing.assert_array_equal(model(batch, training=False), model(batch, training=False))
    assert not np.array_equal(model(batch, training=True), model(batch, training=True))


def test_padding_matches_at_one_pixel():
    for encoder_name in ('deeplab', 'vgg', 'lite0'):
        assert golden.model(encoder_name)(image(1, 1, 1)).shape == (1, 1, 1, 21)

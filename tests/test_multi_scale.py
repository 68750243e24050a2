import numpy as np
import pytest
from PIL import Image

from deeplablib.data.network_input import load_image
from deeplablib.network.folding import fold_for_prediction
from deeplablib.prediction.multi_scale import SINGLE_SCALE, make_predictor
from deeplablib.utils.backend import keras
from tests import golden
from tests.conversion import model_with, narrow_model, narrow_values
from tests.deterministic import image

ALL_CLASSES = [True] * 21
RELEASED_SCRIPTS = ['deeplab', 'vgg']


def voc_image(number):
    return load_image(golden.FOLDER / f'voc/JPEGImages/gold_00000{number}.jpg')


def released_mask(encoder_name, number):
    folder = golden.FOLDER / f'msc_{golden.REFERENCE[encoder_name]}'
    return np.array(Image.open(folder / f'gold_00000{number}.png'))


def predictor(encoder_name, precision='float32', **options):
    model = fold_for_prediction(golden.model(encoder_name), precision)
    return make_predictor(model, golden.NETWORKS[encoder_name].to_score_map, **options)


@pytest.mark.parametrize('encoder_name', RELEASED_SCRIPTS)
def test_bfloat16_agrees_with_float32(encoder_name):
    predict = predictor(encoder_name, precision='bfloat16')
    for number in (1, 2, 3):
        labels, scores = predict(voc_image(number), ALL_CLASSES)
        assert np.mean(labels == released_mask(encoder_name, number)) >= 0.99
        assert scores.dtype == 'float32'


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_convolutions_compute_in_the_precision_asked_for(precision):
    predict = make_predictor(fold_for_prediction(narrow_model('vgg'), precision), lambda x: x)
    graph = predict.get_concrete_function().graph
    operations = [op for op in graph.get_operations() if op.type == 'Conv2D']
    types = {op.get_attr('T').name for op in operations}
    assert types == {precision, 'float32'}  # those into the classes are always float32


@pytest.mark.parametrize('encoder_name', ['res50', 'lite0'])
def test_folding_batch_norm_keeps_the_function(encoder_name):
    model = model_with(encoder_name, narrow_values(encoder_name))
    folded = fold_for_prediction(model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    expected = model(image(40, 33, 3), training=False)
    np.testing.assert_allclose(
        folded(image(40, 33, 3)), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def test_only_allowed_classes_are_predicted():
    allowed = np.isin(np.arange(21), [0, 5, 16])
    predict = make_predictor(narrow_model('vgg'), golden.NETWORKS['vgg'].to_score_map)
    labels, scores = predict(voc_image(3), allowed)
    assert set(np.unique(labels)) <= {0, 5, 16}
    assert np.isfinite(scores).all()


def test_images_of_every_size_are_labelled_by_one_graph():
    predict = make_predictor(narrow_model('vgg'), golden.NETWORKS['vgg'].to_score_map)
    for size in ((1, 1), (1, 9), (2, 3), (40, 57)):  # the first are too small for half scale
        assert predict(np.zeros((*size, 3), np.uint8), ALL_CLASSES)[0].shape == size
    assert predict.experimental_get_tracing_count() == 1


def test_single_scale_is_the_network_itself():
    pixels = voc_image(2)
    model = model_with('res50', narrow_values('res50'))
    predict = make_predictor(fold_for_prediction(model), lambda logits: logits, SINGLE_SCALE)
    _, scores = predict(pixels, ALL_CLASSES)
    batch = np.array(pixels, np.float32)[None, ..., ::-1] - [
        104.00698793,
        116.66876762,
        122.67891434,
    ]
    expected = model(batch, training=False)[0]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_mirror_image_is_fused_as_by_hand():
    model, to_score_map = narrow_model('vgg'), golden.NETWORKS['vgg'].to_score_map
    image = np.random.default_rng(0).integers(0, 256, (40, 57, 3), np.uint8)
    plain, flipped = (make_predictor(model, to_score_map, flip=flip) for flip in (False, True))
    single = make_predictor(model, to_score_map, SINGLE_SCALE)
    mirrored = single(np.ascontiguousarray(image[:, ::-1]), ALL_CLASSES)[1].numpy()[:, ::-1]
    expected = np.maximum(plain(image, ALL_CLASSES)[1], mirrored)
    np.testing.assert_array_equal(flipped(image, ALL_CLASSES)[1], expected)

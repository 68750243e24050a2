import shutil

import numpy as np
import pydensecrf.densecrf
import pytest
from PIL import Image

from deeplablib.data.score_maps import image_probabilities, resize_bilinear, write_score_map
from deeplablib.network.resize import resize_bilinear as resize_in_tensorflow
from deeplablib.prediction.crf import PRESETS, Parameters, crf_labels
from deeplablib.utils.files import locked, make_output_folder
from tests import golden
from tests.command import refused, run_command

NAMES = ['gold_000001', 'gold_000002', 'gold_000003']


def image_of(name):
    return np.array(Image.open(golden.FOLDER / f'voc/JPEGImages/{name}.jpg').convert('RGB'))


def scores_of(name, classes=21):
    """Score maps with structure: some classes strong in places, most of them nowhere."""
    height, width = image_of(name).shape[:2]
    random = np.random.default_rng(int(name[-1]))
    coarse = random.normal(-np.arange(classes), 3, (4, 5, classes)).astype(np.float32)
    return resize_bilinear(coarse, (-(-height // 8), -(-width // 8)))


def by_hand(image, probabilities, parameters):
    """The CRF as pydensecrf's own examples call it."""
    height, width, classes = probabilities.shape
    crf = pydensecrf.densecrf.DenseCRF2D(width, height, classes)
    unary = -np.log(probabilities.transpose(2, 0, 1).reshape(classes, -1)).copy(order='C')
    crf.setUnaryEnergy(unary * np.float32(parameters.unary_weight))
    crf.addPairwiseGaussian(sxy=parameters.gaussian_sxy, compat=parameters.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_sxy,
        srgb=parameters.bilateral_srgb,
        rgbim=image.copy(),
        compat=parameters.bilateral_weight,
    )
    return np.argmax(crf.inference(10), 0).reshape(height, width)


@pytest.fixture
def data(tmp_path):
    """Three images, their score files and a list."""
    shutil.copytree(golden.FOLDER / 'voc', tmp_path, dirs_exist_ok=True)
    (tmp_path / 'scores').mkdir()
    for name in NAMES:
        size = image_of(name).shape[:2]
        write_score_map(tmp_path / f'scores/{name}.npz', scores_of(name), size, 'logits')
    return tmp_path


def run_crf(data, *options):
    return run_command(
        'crf_vocspsm',
        *('--scores', data / 'scores', '--data-dir', data, '--data-list', data / 'list.txt'),
        *('--save-dir', data / 'result', '--jobs', '1', *options),
    )


def labels_of(data, name):
    return np.array(Image.open(data / f'result/{name}.png'))


@pytest.mark.parametrize('old, new', [((13, 20), (97, 153)), ((5, 4), (33, 31)), ((9, 9), (4, 7))])
def test_numpy_resize_equals_the_tensorflow_operation(old, new):
    scores = np.random.default_rng(0).normal(0, 10, (*old, 7)).astype(np.float32)
    expected = resize_in_tensorflow(scores[None], new)[0].numpy()
    np.testing.assert_allclose(resize_bilinear(scores, new), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize('preset', PRESETS)
def test_labels_equal_pydensecrf_called_by_hand(preset):
    for name in NAMES:
        image = image_of(name)
        probabilities = image_probabilities(scores_of(name), image.shape[:2], 'logits')
        labels = crf_labels(image, probabilities, PRESETS[preset])
        np.testing.assert_array_equal(labels, by_hand(image, probabilities, PRESETS[preset]))
        assert len(np.unique(labels)) > 1


def test_classes_without_any_probability_change_nothing():
    image = image_of(NAMES[0])
    allowed = np.isin(np.arange(21), [0, 2, 5])
    probabilities = image_probabilities(scores_of(NAMES[0]), image.shape[:2], 'logits', allowed)
    labels = crf_labels(image, probabilities)
    expected = by_hand(image, probabilities[..., [0, 2, 5]], PRESETS['spsm'])
    np.testing.assert_array_equal(labels, np.array([0, 2, 5])[expected])
    only_5 = image_probabilities(scores_of(NAMES[0]), image.shape[:2], 'logits', np.arange(21) == 5)
    assert (crf_labels(image, only_5) == 5).all()


def test_prune_leaves_out_classes_that_are_nowhere_likely():
    image = np.zeros((8, 8, 3), np.uint8)
    probabilities = np.full((8, 8, 3), (0.6, 0.395, 0.005), np.float32)
    probabilities[:2, :2] = (0.1, 0.1, 0.8)
    assert 2 in crf_labels(image, probabilities, Parameters(1, 0, 1, 1, 0), prune=0.8)
    pruned = crf_labels(image, probabilities, prune=0.81)
    np.testing.assert_array_equal(pruned, 2)  # the likeliest class always stays
    probabilities[:2, :2] = (0.1, 0.895, 0.005)
    pruned = crf_labels(image, probabilities, prune=0.01)
    pair = probabilities[..., :2].copy()
    np.testing.assert_array_equal(pruned, by_hand(image, pair, PRESETS['spsm']))


def test_probabilities_of_an_image_sum_to_one_over_its_classes():
    allowed = np.array([True, False, True])
    for kind, scores in (('logits', (-200, 300, 100)), ('probabilities', (0.0, 1.0, 0.0))):
        scores = np.full((2, 2, 3), scores, np.float32)
        result = image_probabilities(scores, (9, 9), kind, allowed)
        np.testing.assert_allclose(result.sum(-1), 1, rtol=1e-6)
        assert (result[..., 1] == 0).all()


def test_command_writes_what_the_function_gives_with_all_cores(data):
    result = run_crf(data, '--jobs', '2', '--preset', 'deeplab_vgg', '--bilateral-sxy', '49')
    assert result.code == 0
    assert 'mean IoU' in result.out
    for name in NAMES:
        image = image_of(name)
        scores = scores_of(name).astype(np.float16).astype(np.float32)
        probabilities = image_probabilities(scores, image.shape[:2], 'logits')
        expected = crf_labels(image, probabilities, Parameters(3, 3, 49, 10, 5))
        np.testing.assert_array_equal(labels_of(data, name), expected)
        assert Image.open(data / f'result/{name}.png').mode == 'P'


def test_resume_labels_only_what_is_missing(data):
    (data / 'result').mkdir()
    kept = data / f'result/{NAMES[1]}.png'
    shutil.copy(data / f'SegmentationClassAug/{NAMES[1]}.png', kept)
    before = kept.read_bytes()
    result = run_crf(data, '--resume')
    assert '1 of 3 images are done already' in result.out
    assert kept.read_bytes() == before and (data / f'result/{NAMES[0]}.png').is_file()


def test_tags_restrict_the_labels(data):
    (data / 'tags.txt').write_text('gold_000001 3\ngold_000002\ngold_000003 1 2\n')
    assert run_crf(data, '--tags', data / 'tags.txt').code == 0
    for name, tags in zip(NAMES, ({0, 3}, {0}, {0, 1, 2}), strict=True):
        assert set(np.unique(labels_of(data, name))) <= tags


def test_bad_input_is_named(data):
    def bad(message, *options):
        refused(run_crf(data, *options), message)

    bad('nowhere: no such folder of scores', '--scores', 'nowhere')
    for value in ('-0.1', '1.0', 'nan'):
        bad(f'value {value} of --prune', '--prune', value)
    bad('value nan of --unary-weight', '--unary-weight', 'nan')
    bad('value 0.0 of --bilateral-srgb', '--bilateral-srgb', '0')
    bad('value 0 of --iterations', '--iterations', '0')
    bad('value 0 of --jobs', '--jobs', '0')
    bad('two is no whole number', '--jobs', 'two')
    with locked(make_output_folder(data / 'result')):
        bad('another process is writing to this folder')
    write_score_map(data / 'scores/gold_000001.npz', np.zeros((2, 2, 21)), (16, 16), 'logits')
    bad('gold_000001.npz: scores of an image of 16x16, this one is')
    height, width = image_of(NAMES[0]).shape[:2]
    write_score_map(
        data / 'scores/gold_000001.npz', np.zeros((2, 2, 21)), (height, width), 'logits'
    )
    bad('gold_000001.npz: a score map of 2x2')
    write_score_map(
        data / 'scores/gold_000001.npz',
        np.full((-(-height // 8), -(-width // 8), 21), np.nan),
        (height, width),
        'logits',
    )
    bad('gold_000001.npz: holds scores that are not finite')
    (data / 'scores/gold_000001.npz').write_bytes(b'PK')
    bad('gold_000001.npz: not a score file')
    (data / 'scores/gold_000001.npz').unlink()
    bad('list.txt, line 1: no scores at')

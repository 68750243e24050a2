import numpy as np
import pytest

from deeplablib.data.image_lists import Sample
from deeplablib.data.network_input import load_image
from selection.place_classifier import fit_places, learnt_cams, seeds
from selection.propagation import affinity, propagate, stretched
from selection.regression import class_loss, fit, tag_loss
from tests import golden


def two_objects(random):
    """Features of ten places, of which the first four are of one object: float32 [10, 8]."""
    of_object = np.array([1, 1, 1, 1, -1, -1, -1, -1], np.float32)
    features = np.where(np.arange(10)[:, None] < 4, of_object, -of_object)
    return (features + 0.1 * random.normal(size=(10, 8))).astype(np.float32)


def test_a_peak_spreads_over_the_places_that_are_like_it_and_no_further():
    features = two_objects(np.random.default_rng(0))
    likeness = affinity([features, features[:, :4]])
    np.testing.assert_allclose(likeness.sum(1), 1, rtol=1e-5)
    peak = np.zeros((10, 1), np.float32)
    peak[1] = 1
    spread = propagate(peak, likeness)
    assert spread[:4].min() > 10 * spread[4:].max()
    assert spread.sum() == pytest.approx(1, rel=0.05)


def test_stretched_maps_go_from_0_to_1_each():
    maps = stretched(np.array([[2.0, 5], [4, 5], [3, 5]]))
    np.testing.assert_array_equal(maps, [[0, 0], [1, 0], [0.5, 0]])


@pytest.mark.parametrize('loss', [tag_loss, class_loss])
def test_no_other_layer_has_less_loss(loss):
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (60, 5)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[(features @ random.normal(size=(5, 3))).argmax(1)]
    weights = random.random(60)
    kernel, bias = fit(features, targets, loss, l2=0.1, weights=weights)
    deviation, mean = features.std(0), features.mean(0)

    def total(kernel, bias):
        losses, _ = loss(features @ kernel + bias, targets)
        return losses @ weights / weights.sum() + 0.05 * np.sum((kernel * deviation[:, None]) ** 2)

    least = total(kernel, bias)
    for _ in range(20):
        step = 0.05 * random.normal(size=(6, 3)).astype(np.float32)
        moved = kernel + step[:5] / deviation[:, None]
        assert total(moved, bias - mean @ (moved - kernel) + step[5]) > least


@pytest.mark.parametrize('loss', [tag_loss, class_loss])
def test_gradients_are_those_of_the_losses(loss):
    random = np.random.default_rng(1)
    logits, targets = random.normal(size=(4, 3)), np.eye(3)[[0, 1, 2, 1]]
    _, gradients = loss(logits, targets)
    for i, j in np.ndindex(4, 3):
        moved = np.array([logits, logits])
        moved[:, i, j] += [-1e-4, 1e-4]
        before, after = (loss(at, targets)[0].sum() for at in moved)
        assert gradients[i, j] == pytest.approx((after - before) / 2e-4, abs=1e-6)


def test_seeds_are_the_places_that_maps_are_sure_of():
    maps = np.array([[0.9, 0.1], [0.1, 0.2], [0.4, 0.3], [0.2, 0.6]], np.float32)
    np.testing.assert_array_equal(seeds(maps, np.array([7, 15])), [7, 0, -1, 15])


def test_places_are_learnt_by_the_class_whatever_its_share():
    random = np.random.default_rng(0)
    labels = np.array([0] * 90 + [2] * 10)
    features = random.normal(size=(100, 6)).astype(np.float32)
    features[:, 0] += 6 * (labels == 2)
    kernel, bias = fit_places(features, labels, num_classes=4)
    assert kernel.shape == (6, 4)
    np.testing.assert_array_equal((features @ kernel + bias).argmax(1), labels)


def test_learnt_cues_have_the_size_of_the_image_and_go_on_from_what_is_learnt(tmp_path):
    network = golden.NETWORKS['lite0']
    model = network.build_classifier(num_tags=2, width=1 / 16)
    folder = golden.FOLDER / 'voc/JPEGImages'
    samples = [Sample(path, None, str(path)) for path in sorted(folder.glob('*.jpg'))]
    allowed = np.array([[True, True, False], [True, False, True], [True, True, True]])
    arguments = (model, network.affinity_layers, samples, allowed, tmp_path)
    cams = learnt_cams(*arguments)
    image = load_image(samples[2].image)
    maps = cams(image, allowed[2][1:])
    assert maps.shape == (*image.shape[:2], 2)
    assert maps.min() >= 0 and maps.max() <= 1 and maps.max() > 0.5
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2
    again = learnt_cams(*arguments, resume=True)
    np.testing.assert_array_equal(again(image, allowed[2][1:]), maps)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    learnt_cams(*arguments)  # of what may be another classifier
    assert all(path.stat().st_mtime_ns > then for path, then in kept.items())

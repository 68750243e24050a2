import numpy as np
import pytest

from deeplablib.utils.errors import InputError
from selection.choose_candidates import best_candidate
from selection.mask_quality import (
    agreement,
    all_tags,
    class_mean,
    measure,
    read_measure,
    write_table,
)
from selection.refine_masks import with_saliency
from selection.select_masks import select_masks
from selection.select_pixels import confident_pixels


def allowed(*tags, classes=5):
    return np.isin(np.arange(classes), [0, *tags])


def mask(*rows):
    return np.array(rows, np.uint8)


# What the measures say


@pytest.mark.parametrize(
    'first, second, tags, expected',
    [
        # Background 2/3, class 1: 2 of 4, class 2: not in the first, so 0.
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2], (1, 2), (2 / 3 + 2 / 4 + 0) / 3),
        ([0, 0, 0, 1], [0, 0, 0, 0], (1,), (3 / 4 + 0) / 2),  # a class that the CRF removed
        ([0, 1], [1, 0], (1,), 0),
        ([0, 0], [0, 0], (4,), 0.5),  # a tag that is in neither
        ([1, 1], [1, 1], (1,), 1),  # background may be absent
        ([0, 0], [0, 0], (), 1),  # an image without tags
        ([0, 1, 255, 255], [0, 1, 1, 0], (1,), 1),  # ignored pixels are left out
        ([0, 1, 1, 0], [0, 1, 255, 255], (1,), 1),
        ([255, 255], [0, 1], (1,), 0),
        ([255, 255], [0, 0], (), 0),
    ],
)
def test_agreement_is_the_mean_iou_over_tags_and_background(first, second, tags, expected):
    assert agreement(mask(first), mask(second), allowed(*tags)) == pytest.approx(expected)


def test_class_mean_counts_classes_alike_and_missed_tags_as_nothing():
    labels = mask([0, 0, 0, 1, 255])
    values = np.array([[0.9, 0.6, 0.6, 0.5, 0.1]])
    assert class_mean(values, labels, allowed(1)) == pytest.approx((0.7 + 0.5) / 2)
    assert class_mean(values, labels, allowed(1, 2)) == pytest.approx((0.7 + 0.5 + 0) / 3)


def test_all_tags_wants_every_one():
    assert all_tags(mask([0, 0]), allowed()) == 1
    assert all_tags(mask([0, 1, 2]), allowed(1, 2)) == 1
    assert all_tags(mask([0, 1, 1]), allowed(1, 2)) == 0
    assert all_tags(mask([1, 2, 2]), allowed(1, 2)) == 1


def test_measure_compares_the_mask_with_the_networks_argmax():
    probabilities = np.array([[[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]], np.float32)
    quality = measure(mask([0, 0, 1]), probabilities, allowed(1, classes=2))
    assert quality == pytest.approx((0.5, (0.7 + 0.75) / 2, ((0.7 + 0.4) / 2 + 0.9) / 2, 1))
    nothing = measure(mask([255, 255, 255]), probabilities, allowed(1, classes=2))
    assert nothing[0] == nothing[2] == nothing[3] == 0


# What is kept


def keep(scores, *tags, **options):
    return select_masks(scores, [allowed(*t) for t in tags], **options).tolist()


def test_the_best_fraction_is_kept_and_equal_scores_in_their_order():
    scores, tags = [0.5, 0.9, 0.5, 0.1], [(1,)] * 4
    assert keep(scores, *tags, fraction=0.5, class_minimum=0) == [True, True, False, False]
    assert keep(scores, *tags, fraction=0.6, class_minimum=0) == [True, True, True, False]
    assert keep(scores, *tags, fraction=1, class_minimum=0) == [True] * 4
    assert sum(keep([0.5] * 100, *[(1,)] * 100, fraction=0.07, class_minimum=0)) == 7


def test_a_threshold_keeps_every_score_from_there_on():
    scores, tags = [0.8, 0.79, 0.9], [(1,)] * 3
    assert keep(scores, *tags, threshold=0.8, class_minimum=0) == [True, False, True]


def test_every_class_keeps_its_minimum():
    scores = [0.9, 0.8, 0.3, 0.2, 0.1]
    tags = [(1,), (1,), (2,), (2,), (2, 3)]
    kept = keep(scores, *tags, fraction=0.4, class_minimum=0.4)
    assert kept == [True, True, True, True, True], 'ceil(0.4 * 3) of class 2, and class 3'
    kept = keep(scores, *tags[:4], (2,), fraction=0.4, class_minimum=0.4)
    assert kept == [True, True, True, True, False]


def test_no_score_above_the_threshold_is_an_error_that_shows_the_scores():
    with pytest.raises(InputError, match='threshold 0.9.*0.100, 0.200, 0.300, 0.400, 0.500'):
        keep([0.1, 0.2, 0.3, 0.4, 0.5], *[(1,)] * 5, threshold=0.9)


@pytest.mark.parametrize('name', ['fraction', 'threshold', 'class_minimum'])
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_a_value_outside_0_to_1_is_refused(name, value):
    with pytest.raises(InputError, match=f'{name.replace("_", " ")} .*must be from 0 to 1'):
        keep([0.5], (1,), **{name: value})


def test_pixels_stay_from_the_threshold_of_their_class_on():
    probabilities = np.array([[[0.7, 0.3], [0.5, 0.5], [0.1, 0.9], [0.5, 0.5]]], np.float32)
    labels = mask([0, 1, 1, 255])
    assert confident_pixels(labels, probabilities, [0.7, 0.5]).tolist() == [[0, 1, 1, 255]]
    assert confident_pixels(labels, probabilities, [0.71, 0.6]).tolist() == [[255, 255, 1, 255]]
    assert labels.tolist() == [[0, 1, 1, 255]], 'the mask itself is left as it is'


# Saliency, and candidates


def test_saliency_speaks_for_objects_and_against_background():
    probabilities = np.array([[[0.5, 0.3, 0.2]] * 4], np.float32)
    result = with_saliency(probabilities, mask([51, 204, 0, 255]))
    # background 0.5 * 0.8, objects 0.3 * 0.2 and 0.2 * 0.2; their sum is 0.5
    np.testing.assert_allclose(result[0, 0], (0.8, 0.12, 0.08), rtol=1e-5)
    np.testing.assert_allclose(result[0, 1], (0.2, 0.48, 0.32), rtol=1e-5)
    np.testing.assert_allclose(result[0, 2], (0.95, 0.03, 0.02), rtol=1e-5)
    np.testing.assert_allclose(result[0, 3], (0.05, 0.57, 0.38), rtol=1e-5)


def test_saliency_brings_no_class_that_may_not_occur():
    probabilities = np.array([[[0, 0.4, 0], [1, 0, 0]]], np.float32)
    result = with_saliency(probabilities, mask([0, 255]))
    np.testing.assert_allclose(result[0], [[0, 1, 0], [1, 0, 0]])


def test_the_candidate_that_agrees_best_with_the_network_is_chosen():
    probabilities = np.array([[[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]], np.float32)
    candidates = [mask([0, 0, 0]), mask([0, 1, 1]), mask([0, 1, 1])]
    best = best_candidate(candidates, probabilities, allowed(1, classes=2))
    assert best is candidates[1]


# Tables


def test_a_table_is_read_as_it_was_written(tmp_path):
    write_table(tmp_path / 't.csv', ['x', 'y'], {'a,1': (0, 0.5), 'b': (0.25, 1)})
    assert read_measure(tmp_path / 't.csv', 'y', ['b', 'a,1']).tolist() == [1, 0.5]


@pytest.mark.parametrize(
    'text, message',
    [
        ('name,x\na,0.5\n', 'no quality of b'),
        ('name,x\na,0.5\nb\n', 'x of b is not a number from 0 to 1'),
        ('name,x\na,0.5\nb,1.5\n', 'x of b is not a number from 0 to 1'),
        ('name,x\na,0.5\nb,nan\n', 'x of b is not a number from 0 to 1'),
        ('name,x\na,0.5\nb,good\n', 'x of b is not a number from 0 to 1'),
        ('name,y\na,0.5\nb,1\n', 'no measure x; there are: y'),
        ('', 'no measure x'),
        (None, 'cannot read the mask quality'),
    ],
)
def test_a_bad_table_is_named(tmp_path, text, message):
    path = tmp_path / 't.csv'
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf't.csv.*{message}'):
        read_measure(path, 'x', ['a', 'b'])

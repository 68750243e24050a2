import numpy as np
import pytest

from deeplablib.data.score_maps import resize_bilinear
from deeplablib.training.augment import (
    augment,
    augment_image,
    draw,
    pad_and_crop,
    rescale,
    scale_to_crop,
)
from deeplablib.utils.backend import tf
from tests import golden


def sample(height, width):
    """An image whose pixels say where they are, and labels that follow it."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows + columns], -1).astype(np.float32) + 1
    return tf.constant(image), tf.constant((rows * 7 + columns) % 21, tf.uint8)


@pytest.mark.parametrize('size', [(5, 8), (8, 12), (23, 31), (41, 41)])
def test_rescaling_equals_tensorflow_1(size):
    reference = golden.arrays('resize.npz')
    image, labels = reference['image'][0], reference['label'][0, ..., 0]
    for factor in (0.5, 0.75, 1.3):
        scaled, scaled_labels = rescale(image, labels, tf.constant(factor))
        expected = [int(np.float32(n) * np.float32(factor)) for n in labels.shape]
        assert list(scaled.shape) == [*expected, 3] and list(scaled_labels.shape) == expected
        rows, columns = (
            np.floor(np.arange(new) * np.float32(old / new)).astype(int)
            for new, old in zip(expected, labels.shape, strict=True)
        )
        np.testing.assert_array_equal(scaled_labels, labels[np.ix_(rows, columns)])


def test_a_tiny_image_is_scaled_to_at_least_one_pixel():
    image, labels = rescale(*sample(1, 1), tf.constant(0.5))
    assert image.shape == (1, 1, 3) and labels.shape == (1, 1)


def test_padding_is_at_the_bottom_and_right():
    image, labels = pad_and_crop(*sample(3, 4), (5, 6), tf.constant([0.9, 0.9]))
    np.testing.assert_array_equal(image[:3, :4], sample(3, 4)[0])
    np.testing.assert_array_equal(labels[:3, :4], sample(3, 4)[1])
    assert not np.any(image[3:]) and not np.any(image[:, 4:])
    assert np.all(labels[3:] == 255) and np.all(labels[:, 4:] == 255)


def test_every_crop_can_occur_and_none_beyond_the_image():
    seen = set()
    for place in np.linspace(0, 1, 40, endpoint=False):
        image, _ = pad_and_crop(*sample(7, 5), (3, 5), tf.constant([place, 0.5], tf.float32))
        seen.add(int(image[0, 0, 0]) - 1)
        assert image.shape == (3, 5, 3) and np.all(image > 0)
    assert seen == {0, 1, 2, 3, 4}
    largest = np.nextafter(np.float32(1), np.float32(0))
    image, _ = pad_and_crop(*sample(7, 5), (3, 5), tf.constant([largest, largest]))
    assert image[0, 0, 0] == 5


def test_image_and_labels_stay_together():
    for position in range(20):
        image, labels = augment(
            *sample(9, 11), draw(1, tf.constant(position, tf.int64)), (6, 6), False, True
        )
        rows, columns = np.array(image[..., 0]) - 1, np.array(image[..., 1]) - 1
        np.testing.assert_array_equal(labels, (rows * 7 + columns) % 21)


def test_draws_depend_on_seed_and_position_alone():
    def numbers(seed, count=2000):
        return np.array([draw(seed, tf.constant(i, tf.int64)) for i in range(count)])

    first = numbers(1234)
    np.testing.assert_array_equal(first[:50], numbers(1234, 50))
    assert not np.any(first[:50] == numbers(1235, 50))
    assert first.min() >= 0 and first.max() < 1
    np.testing.assert_allclose(first.mean(0), 0.5, atol=0.03)
    np.testing.assert_allclose((first[:, 1] < 0.5).mean(), 0.5, atol=0.04)


def test_scale_and_mirror_can_be_switched_off():
    image, labels = sample(6, 6)
    for position in range(5):
        numbers = draw(1, tf.constant(position, tf.int64))
        same, same_labels = augment(image, labels, numbers, (6, 6), False, False)
        np.testing.assert_array_equal(same, image)
        np.testing.assert_array_equal(same_labels, labels)


def test_crop_holds_nearly_the_whole_image():
    image = np.random.default_rng(0).normal(size=(60, 90, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        scale_to_crop(image, (30, 30), 1.0), resize_bilinear(image, (20, 30))
    )
    whole = augment_image(image, tf.zeros(4), (90, 90), scale=False, mirror=False)
    np.testing.assert_array_equal(whole[:60], image)
    assert not whole[60:].numpy().any()
    # The smallest and the largest share of the longer side: 0.625 and 1.25 of the crop.
    small = augment_image(image, tf.constant([0.0, 0.9, 0, 0]), (80, 80), True, True)
    assert small[32, 49].numpy().any() and not small[33:].numpy().any()
    assert not small[:, 50:].numpy().any()
    mirrored = augment_image(image, tf.zeros(4), (90, 90), scale=False, mirror=True)
    np.testing.assert_array_equal(mirrored[:60], image[:, ::-1])

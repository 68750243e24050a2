import dataclasses

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import read_list
from deeplablib.data.images import IMG_MEAN
from deeplablib.training.batches import (
    make_dataset,
    raise_unreadable,
    sample_order,
    samples_of_step,
)
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from tests.training_run import batch_settings, make_samples


def elements(dataset):
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def assert_equal_elements(ours, expected):
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        for array, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, wanted)


@pytest.fixture
def samples(tmp_path):
    make_samples(tmp_path, count=5)
    return read_list(tmp_path / 'list.txt', tmp_path)


def test_each_epoch_passes_over_all_samples_in_an_order_of_its_own():
    order = sample_order(np.arange(300), 100, 1234, shuffle=True).reshape(3, 100)
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(100), (3, 1)))
    assert not np.array_equal(order[0], order[1])
    assert not np.array_equal(order[0], sample_order(np.arange(100), 100, 1, True))
    np.testing.assert_array_equal(
        sample_order(np.arange(7), 3, 1234, shuffle=False), [0, 1, 2, 0, 1, 2, 0]
    )


def test_a_later_start_continues_the_same_order():
    whole = sample_order(np.arange(50), 7, 5, True)
    np.testing.assert_array_equal(sample_order(np.arange(23, 50), 7, 5, True), whole[23:])


def test_a_later_start_continues_the_same_batches(samples):
    batches = batch_settings(size=(33, 33), batch_size=2)
    whole = elements(make_dataset(samples, batches, range(6)))
    assert_equal_elements(elements(make_dataset(samples, batches, range(4, 6))), whole[4:])


def test_replicas_share_the_batch_of_one(samples):
    batches = batch_settings(size=(33, 33), batch_size=4, grad_update_every=3)
    whole = elements(make_dataset(samples, batches, range(2)))
    shared = elements(make_dataset(samples, batches, range(2), replicas=2))
    joined = [
        tuple(np.concatenate(pair, axis=1) for pair in zip(*shared[i : i + 2], strict=True))
        for i in (0, 2)
    ]
    assert whole[0][0].shape == (3, 4, 33, 33, 3)
    assert_equal_elements(joined, whole)
    second = make_dataset(samples, batches, range(2), replicas=2, local_replicas=slice(1, 2))
    assert_equal_elements(elements(second), shared[1::2])


def test_batch_larger_than_the_list_goes_on_with_the_next_epoch(samples):
    batches = batch_settings(size=(33, 33), batch_size=12, shuffle=False)
    (_, labels), *_ = elements(make_dataset(samples, batches, range(1)))
    assert labels.shape == (1, 12, 33, 33)
    names = [sample.name for sample in samples_of_step(0, samples, batches)]
    assert names == [f's{i % 5}' for i in range(12)]


def test_without_augmentation_a_sample_is_its_files(samples):
    batches = batch_settings(
        size=(40, 33), batch_size=1, shuffle=False, random_scale=False, random_mirror=False
    )
    (images, labels), *_ = elements(make_dataset(samples, batches, range(1)))
    pixels = tf.io.decode_jpeg(tf.io.read_file(str(samples[0].image))).numpy()
    expected = pixels[..., ::-1].astype(np.float32) - np.float32(IMG_MEAN)
    np.testing.assert_array_equal(images[0, 0], expected)
    np.testing.assert_array_equal(labels[0, 0], np.array(Image.open(samples[0].mask)))


def test_image_smaller_than_the_crop_is_padded(samples):
    batches = batch_settings(size=(100, 90), batch_size=1, random_scale=False)
    (images, labels), *_ = elements(make_dataset(samples, batches, range(1)))
    assert images.shape == (1, 1, 100, 90, 3)
    assert np.all(labels[0, 0, 40:] == 255) and not np.any(images[0, 0, 40:])


def test_palette_masks_are_read_by_index(tmp_path):
    folders = tmp_path / 'grey', tmp_path / 'palette'
    batches = batch_settings(size=(40, 40), batch_size=4, shuffle=False)
    for folder in folders:
        make_samples(folder, palette=folder.name == 'palette')
    grey, palette = (
        elements(make_dataset(read_list(folder / 'list.txt', folder), batches, range(1)))
        for folder in folders
    )
    assert Image.open(tmp_path / 'palette/SegmentationClassAug/s0.png').mode == 'P'
    assert_equal_elements(palette, grey)
    assert set(np.unique(grey[0][1])) <= {0, 1, 2, 3, 255}


def test_files_are_found_where_python_finds_them(tmp_path):
    """A link in a path, followed by '..', leads out of the folder that it leads to."""
    make_samples(tmp_path / 'real/VOC2012')
    (tmp_path / 'VOC2012').symlink_to('real/VOC2012')
    (tmp_path / 'real/VOC2012/SegmentationClassAug').rename(tmp_path / 'real/Aug')
    sample = read_list(tmp_path / 'VOC2012/list.txt', tmp_path / 'VOC2012')[0]
    sample = dataclasses.replace(sample, mask=tmp_path / 'VOC2012/../Aug/s0.png')
    batches = batch_settings(size=(40, 40), batch_size=1, random_scale=False, random_mirror=False)
    ((_, labels),) = elements(make_dataset([sample], batches, range(1)))
    assert np.any(labels != 255)


def test_the_file_that_cannot_be_read_is_named(samples):
    raise_unreadable(samples)
    contents = samples[3].image.read_bytes()
    samples[3].image.write_bytes(contents[:200])
    with pytest.raises(InputError, match=r'line 4: .*s3\.jpg'):
        raise_unreadable(samples)
    samples[3].image.write_bytes(contents)
    missing = dataclasses.replace(samples[1], mask=samples[1].mask.with_name('none.png'))
    with pytest.raises(InputError, match=r'none\.png'):
        raise_unreadable([samples[0], missing])

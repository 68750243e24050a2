import json
import os

import numpy as np
import pytest
from PIL import Image

import eval_iou
from deeplablib.prediction.metrics import (
    average_precision,
    confusion_matrix,
    iou_per_class,
    mean_average_precision,
    mean_iou,
    pixel_accuracy,
)
from tests.command import refused, run_command
from tests.golden import FOLDER


def write(path, labels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """Two predictions and masks that give a known table."""
    write(tmp_path / 'gt' / 'a.png', [[0, 0, 1, 255]])
    write(tmp_path / 'pred' / 'a.png', [[0, 1, 1, 5]])
    write(tmp_path / 'gt' / 'b.png', [[2], [2]])
    write(tmp_path / 'pred' / 'b.png', [[2], [0]])
    return tmp_path


def evaluate(folders, *options):
    return run_command('eval_iou', '--pred', folders / 'pred', '--gt', folders / 'gt', *options)


def test_table_equals_the_matlab_evaluation_of_twelve_real_masks(tmp_path):
    # The masks are not ours to give; any pixels with the same confusion matrix stand in for them.
    confusion = np.load(FOLDER / 'confusion.npy')
    truth, prediction = (
        axis.repeat(confusion.ravel()) for axis in np.indices((21, 21)).reshape(2, -1)
    )
    padding = -len(truth) % 1000
    truth = np.pad(truth, (0, padding), constant_values=255).reshape(-1, 1000)
    prediction = np.pad(prediction, (0, padding)).reshape(-1, 1000)
    for name, rows in (('x', slice(0, 700)), ('y', slice(700, None))):
        write(tmp_path / 'gt' / f'{name}.png', truth[rows])
        write(tmp_path / 'pred' / f'{name}.png', prediction[rows])
    result = evaluate(tmp_path, '--json', tmp_path / 'iou.json')
    assert result.code == 0
    summary = json.loads((tmp_path / 'iou.json').read_text())
    assert summary['mean_iou'] == pytest.approx(0.6609665425, abs=1e-10)
    assert summary['pixel_accuracy'] == pytest.approx(0.9040192015, abs=1e-10)
    assert 'mean IoU           66.10' in result.out


def test_ignored_pixels_and_absent_classes_do_not_count(folders):
    result = evaluate(folders, '--json', folders / 'iou.json')
    summary = json.loads((folders / 'iou.json').read_text())
    assert summary['iou']['background'] == pytest.approx(1 / 3)
    assert summary['iou']['aeroplane'] == pytest.approx(1 / 2)
    assert summary['iou']['bicycle'] == pytest.approx(1 / 2)
    assert summary['iou']['bottle'] is None, 'predicted on ignored pixels only'
    assert summary['mean_iou'] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert summary['images'] == 2
    assert 'bottle            absent' in result.out


def test_a_class_predicted_but_absent_from_the_truth_lowers_others_only():
    confusion = confusion_matrix(np.array([0, 0]), np.array([0, 7]))
    assert np.isnan(iou_per_class(confusion)[7])
    assert mean_iou(confusion) == 0.5


def test_no_labelled_pixel_gives_nan_not_an_error():
    confusion = confusion_matrix(np.array([255]), np.array([3]))
    assert np.isnan(mean_iou(confusion)) and np.isnan(pixel_accuracy(confusion))


def test_a_list_restricts_the_images(folders):
    (folders / 'list.txt').write_text('/JPEGImages/b.jpg /SegmentationClassAug/b.png\n')
    result = evaluate(folders, '--list', folders / 'list.txt', '--json', folders / 'iou.json')
    assert result.code == 0
    assert json.loads((folders / 'iou.json').read_text())['images'] == 1


def test_what_is_no_prediction_or_has_none_is_named(folders):
    (folders / 'pred/b.png').rename(folders / 'pred/b.PNG')
    (folders / 'gt/a.png').rename(folders / 'gt/a.PNG')
    (folders / 'pred/c.jpg').touch()
    write(folders / 'gt/d.png', [[0]])
    result = evaluate(folders, '--json', folders / 'iou.json')
    assert json.loads((folders / 'iou.json').read_text())['images'] == 2
    assert f'1 left out, such as {folders}/pred/c.jpg, which is no PNG' in result.out
    assert f'1 left out, such as {folders}/gt/d.png, which has no prediction' in result.out
    (folders / 'list.txt').write_text('a\nb\n')
    result = evaluate(folders, '--list', folders / 'list.txt')
    assert 'left out' not in result.out and 'mean IoU           44.44' in result.out
    write(folders / 'pred/b.png', [[2], [2]])
    result = evaluate(folders)
    assert result.code == 2 and 'which of them is meant' in result.error


def test_a_prediction_that_is_named_twice_counts_once(folders):
    (folders / 'list.txt').write_text('a\nb\nb\n')
    options = ('--list', folders / 'list.txt', '--json', folders / 'iou.json')
    result = evaluate(folders, *options)
    assert 'note: 3 predictions are named, 1 of them again' in result.out
    assert 'mean IoU           44.44' in result.out
    assert json.loads((folders / 'iou.json').read_text())['images'] == 2
    (folders / 'list.txt').write_text('/one/a.jpg\n/two/a.jpg\n')
    result = evaluate(folders, *options)
    assert result.code == 2 and '/two/a.jpg has the name of' in result.error


def test_the_numbers_are_saved_before_anything_is_printed_of_them(folders, monkeypatch):
    def fail(*_):
        raise OSError('the terminal is gone')

    monkeypatch.setattr(eval_iou, 'iou_table', fail)
    assert evaluate(folders, '--json', folders / 'iou.json').code == 1
    assert json.loads((folders / 'iou.json').read_text())['images'] == 2


def test_json_goes_into_a_pipe_but_not_over_a_folder(folders):
    reading, writing = os.pipe()
    assert evaluate(folders, '--json', f'/dev/fd/{writing}').code == 0
    os.close(writing)
    with open(reading) as pipe:
        assert json.load(pipe)['images'] == 2
    result = evaluate(folders, '--json', folders / 'gt')
    assert result.code == 2 and 'gt: is a folder; name a file' in result.error
    assert not result.out, 'evaluated first'


def test_palette_masks_are_read_by_index(folders):
    image = Image.open(folders / 'gt' / 'a.png')
    image.putpalette(np.arange(768, dtype=np.uint8).tobytes()[::-1])
    image.save(folders / 'gt' / 'a.png')
    assert Image.open(folders / 'gt' / 'a.png').mode == 'P'
    assert 'mean IoU           44.44' in evaluate(folders).out


@pytest.mark.parametrize(
    'name, labels, message',
    [
        ('pred/a.png', [[0, 1]], 'a.png: the mask is 2x1, its image or prediction is 4x1'),
        ('pred/a.png', [[0, 1, 1, 77]], 'a.png: value 77 is no class (legal: 0 to 20)'),
        ('pred/a.png', [[0, 1, 1, 255]], 'a.png: value 255 is no class (legal: 0 to 20)'),
        ('gt/a.png', [[0, 0, 1, 21]], 'a.png: value 21 is no class (legal: 0 to 20 or 255)'),
        ('gt/a.png', np.zeros((1, 4, 3)), 'a.png: a mask must be an 8-bit grey or palette PNG'),
    ],
)
def test_a_bad_file_is_named(folders, name, labels, message):
    write(folders / name, labels)
    refused(evaluate(folders), message)


def test_missing_files_and_folders_are_named(folders):
    assert (
        'nowhere: no such folder'
        in run_command('eval_iou', '--pred', 'nowhere', '--gt', folders / 'gt').error
    )
    (folders / 'gt' / 'b.png').unlink()
    result = evaluate(folders)
    refused(result, f'no file {folders / "gt" / "b.png"}')
    for path in (folders / 'pred').glob('*'):
        path.unlink()
    assert 'no predictions' in evaluate(folders).error


def test_a_truncated_mask_is_named(folders):
    data = (folders / 'gt' / 'a.png').read_bytes()
    (folders / 'gt' / 'a.png').write_bytes(data[: len(data) // 2])
    result = evaluate(folders)
    refused(result, 'a.png: cannot read the mask')


def test_average_precision_is_the_mean_precision_at_each_hit():
    # Ranks of the hits: 1 and 3; precision there 1/1 and 2/3.
    assert average_precision(np.array([1, 0, 1, 0]), np.array([9, 5, 4, 1])) == (1 + 2 / 3) / 2
    assert average_precision(np.array([0, 1]), np.array([0.9, 0.1])) == 0.5
    # Both score the same: each has rank 2, whichever stands first.
    assert average_precision(np.array([1, 0]), np.array([0.3, 0.3])) == 0.5
    assert np.isnan(average_precision(np.array([0, 0]), np.array([1, 2])))


def test_mean_average_precision_leaves_out_tags_that_no_image_has():
    labels = np.array([[1, 0, 0], [0, 0, 1]])
    scores = np.array([[2.0, 1.0, 5.0], [1.0, 1.0, 3.0]])
    assert mean_average_precision(labels, scores) == (1 + 0.5) / 2
    assert np.isnan(mean_average_precision(np.zeros((2, 3)), np.ones((2, 3))))

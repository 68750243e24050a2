import json

import numpy as np
import pytest
from PIL import Image

from selection.evaluate_masks import THRESHOLDS, seed_labels
from tests.command import refused, run_command


def save(path, rows):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(path)


@pytest.fixture
def data(tmp_path):
    """Two images: one with cues of classes 1 and 3, one with a cue of class 2."""
    save(tmp_path / 'truth/a.png', [[1, 1, 3, 0, 255]])
    save(tmp_path / 'cues/a_0.png', [[200, 90, 0, 20, 0]])
    save(tmp_path / 'cues/a_2.png', [[0, 0, 100, 5, 100]])
    save(tmp_path / 'truth/b.png', [[2, 0], [0, 0]])
    save(tmp_path / 'cues/b_1.png', [[50, 0], [10, 0]])
    (tmp_path / 'list.txt').write_text('a\nb\n')
    return tmp_path


def run(data, *arguments):
    return run_command(
        'selection.evaluate_masks',
        *('--truth', data / 'truth', '--data-list', data / 'list.txt', '--jobs', '1', *arguments),
    )


def test_a_seed_is_the_largest_cue_above_the_threshold():
    cues = {3: np.array([[0, 100, 50, 9]], np.uint8), 1: np.array([[200, 0, 101, 20]], np.uint8)}
    # Divided by their maxima: 0, 1, 0.5, 0.09 and 1, 0, 0.505, 0.1.
    assert seed_labels(cues, (1, 4), 0.09).tolist() == [[1, 3, 1, 1]]
    assert seed_labels(cues, (1, 4), 0.1).tolist() == [[1, 3, 1, 0]]
    assert seed_labels({2: np.zeros((1, 2), np.uint8)}, (1, 2), 0.05).tolist() == [[0, 0]]


def test_seeds_are_measured_at_each_threshold_and_the_best_is_marked(data):
    result = run(data, '--cues', data / 'cues', '--json', data / 'out/q.json')
    assert result.code == 0, result.error
    numbers = json.loads((data / 'out/q.json').read_text())
    assert list(numbers['mean_iou_by_threshold']) == [str(t) for t in THRESHOLDS]
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (0.05, 0.6)
    # At 0.05: class 1 also where its cue is 0.1 (2 of 3), class 2 also where it is 0.2 (1 of 2);
    # background 2 of 4, class 3 right.
    assert numbers['mean_iou_by_threshold']['0.05'] == pytest.approx(
        (2 / 4 + 2 / 3 + 1 / 2 + 1) / 4
    )
    # From 0.2 to 0.4 every pixel is right; at 0.45 a half of class 1 is lost.
    assert numbers['threshold'] == 0.2 and numbers['mean_iou'] == 1
    assert numbers['mean_iou_by_threshold']['0.45'] == pytest.approx((4 / 5 + 1 / 2 + 1 + 1) / 4)
    assert numbers['iou']['aeroplane'] == 1 and numbers['iou']['boat'] is None
    marked = [line for line in result.out.splitlines() if line.endswith('best')]
    assert marked == ['0.20         100.00  best']


def test_an_image_without_a_cue_counts_as_background(data):
    (data / 'cues/b_1.png').unlink()
    result = run(data, '--cues', data / 'cues', '--json', data / 'q.json')
    assert 'note: 1 images have no cue, and count as background: b' in result.out
    numbers = json.loads((data / 'q.json').read_text())
    assert numbers['mean_iou_by_threshold']['0.2'] == pytest.approx((4 / 5 + 1 + 0 + 1) / 4)


def test_masks_are_measured_without_their_ignored_pixels(data):
    save(data / 'masks/a.png', [[1, 255, 3, 1, 7]])
    save(data / 'masks/b.PNG', [[2, 0], [0, 255]])
    result = run(data, '--masks', data / 'masks', '--json', data / 'q.json')
    assert result.code == 0, result.error
    numbers = json.loads((data / 'q.json').read_text())
    assert numbers['mean_iou'] == pytest.approx((2 / 3 + 1 / 2 + 1 + 1) / 4)
    assert numbers['labelled'] == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert numbers['images'] == 2 and 'labelled           77.50' in result.out


def test_dictionaries_of_irn_are_measured_as_the_same_cues(data):
    assert run(data, '--cues', data / 'cues', '--json', data / 'png.json').code == 0
    maps = {i: np.array(Image.open(data / f'cues/a_{i}.png')) / np.float32(255) for i in (0, 2)}
    np.save(data / 'cues/a.npy', maps)
    for i in maps:
        (data / f'cues/a_{i}.png').unlink()
    assert run(data, '--cues', data / 'cues', '--json', data / 'npy.json').code == 0
    assert (data / 'npy.json').read_text() == (data / 'png.json').read_text()
    (data / 'cues/b_1.png').unlink()
    np.save(data / 'cues/a.npy', {i + 1: cam for i, cam in maps.items()})
    refused(
        run(data, '--cues', data / 'cues'), 'cues: the cues seem to be numbered by the class id;'
    )


def test_files_that_are_no_cues_are_counted(data):
    (data / 'cues/a_cat.png').touch()
    result = run(data, '--cues', data / 'cues')
    assert f'note: 1 files are no cues, and are left out: {data}/cues/a_cat.png' in result.out


def test_the_numbers_are_saved_before_anything_is_printed(data, monkeypatch):
    def unprintable(*_):
        raise UnicodeEncodeError('ascii', 'é', 0, 1, 'not in range')

    monkeypatch.setattr('selection.evaluate_masks.print', unprintable, raising=False)
    for folder in ('--cues', data / 'cues'), ('--masks', data / 'truth'):
        with pytest.raises(UnicodeEncodeError):
            run(data, *folder, '--json', data / f'q{folder[0]}.json')
        assert json.loads((data / f'q{folder[0]}.json').read_text())['images'] == 2


def test_bad_input_is_named(data):
    cues = ('--cues', data / 'cues')
    refused(run(data, '--cues', data / 'nowhere'), 'nowhere: no such folder')
    refused(run(data, '--cues', data / 'truth'), 'truth: no cues (NAME_<class id - 1>.png)')
    refused(run(data, '--masks', data / 'cues'), f'no mask at {data / "cues/a.png"}')
    refused(run(data, *cues, '--json', data), 'is a folder; name a file')
    (data / 'other.txt').write_text('c\n')
    save(data / 'truth/c.png', [[0]])
    refused(run(data, *cues, '--data-list', data / 'other.txt'), 'no cue of any image of the list')
    save(data / 'cues/b_1.png', [[0, 0, 0]])
    refused(run(data, *cues), 'b_1.png: the map is 3x1, its image 2x2')
    save(data / 'cues/b_20.png', [[0]])
    refused(run(data, *cues), 'b_20.png: no class has the number 20 (0 to 19, the class id')
    (data / 'truth/b.png').unlink()
    refused(run(data, *cues), 'list.txt, line 2: no true mask at')

import numpy as np
import pytest
from PIL import Image

from experiments.evidence import kept_quality, rank_correlation, true_quality
from selection.mask_quality import write_table
from tests.command import run_command
from tests.tables import squeezed

# Three images of two pixels: a true mask, and one that is right, half right, wrong.
TRUTH = {'a': [[1, 1]], 'b': [[1, 2]], 'c': [[0, 2]]}
MASKS = {'a': [[1, 1]], 'b': [[1, 1]], 'c': [[2, 0]]}
CONFUSIONS = np.zeros((3, 3, 3), int)
CONFUSIONS[0, 1, 1] = 2
CONFUSIONS[1, 1, 1] = CONFUSIONS[1, 2, 1] = 1
CONFUSIONS[2, 0, 2] = CONFUSIONS[2, 2, 0] = 1
ALLOWED = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1]], bool)


def test_scores_in_the_order_of_the_truth_correlate_fully():
    assert rank_correlation([0.9, 0.5, 0.1], CONFUSIONS) == pytest.approx(1)
    assert rank_correlation([0.1, 0.5, 0.9], CONFUSIONS) == pytest.approx(-1)


def test_a_mask_without_a_labelled_pixel_has_no_quality():
    assert true_quality(CONFUSIONS * [[[1]], [[1]], [[0]]]).tolist() == [1, 0.25, 0]


def test_the_quality_of_a_choice_is_that_of_its_masks_together():
    images, quality, least = kept_quality(np.array([True, True, False]), CONFUSIONS, ALLOWED)
    assert images == 2
    assert quality == pytest.approx(np.mean([3 / 4, 0]))
    assert least == 1 / 2, 'class 2 keeps one image of two'


def test_the_command_writes_both_tables(tmp_path):
    for folder, masks in (('JPEGImages', MASKS), ('masks', MASKS), ('truth', TRUTH)):
        (tmp_path / folder).mkdir()
        for name, mask in masks.items():
            array = np.array(mask, np.uint8)
            array = np.stack([array] * 3, -1) if folder == 'JPEGImages' else array
            suffix = 'jpg' if folder == 'JPEGImages' else 'png'
            Image.fromarray(array).save(tmp_path / folder / f'{name}.{suffix}')
    (tmp_path / 'list.txt').write_text('a\nb\nc\n')
    (tmp_path / 'tags.txt').write_text('a 1\nb 1 2\nc 2\n')
    write_table(tmp_path / 't.csv', ['good'], {'a': (0.9,), 'b': (0.5,), 'c': (0.1,)})
    command = (
        *('experiments.evidence', '--data-dir', tmp_path, '--data-list', tmp_path / 'list.txt'),
        *('--tags', tmp_path / 'tags.txt', '--masks', tmp_path / 'masks'),
        *('--truth', tmp_path / 'truth', '--table', tmp_path / 't.csv'),
        *('--out', tmp_path / 'out' / 'evidence.md', '--jobs', '1'),
    )
    result = run_command(*command, '--measures', 'good')
    assert result.code == 0, result.error
    text = (tmp_path / 'out/evidence.md').read_text()
    assert text in result.out
    text = squeezed(text)
    assert '| good | 1.00 |' in text
    assert '| best 60% | 0.0 | 2 | 37.5 | 50% |' in text
    assert '| from 0.9 on | 0.0 | 1 | 100.0 | 0% |' in text
    result = run_command(*command, '--measures', 'bad')
    assert result.code == 2 and 'no measure bad' in result.error

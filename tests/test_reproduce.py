"""Two rounds on a small stand-in for PASCAL VOC, killed on the way, to the table."""

import json
import os
import signal
import time

import pytest

from deeplablib.data.image_lists import read_list
from experiments.toy_data import make_data
from tests import golden
from tests.command import refused, run_command, start
from tests.tables import squeezed


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    """A folder in the form of VOC with lists, tags, cues and saliency, and a narrow checkpoint."""
    root = tmp_path_factory.mktemp('voc')
    make_data(root, images={'train': 8, 'val': 4}, size=48, jobs=1)
    where = ('--annotations', root / 'Annotations', '--data-list', root / 'train.txt')
    assert run_command('selection.make_tags', *where, '--out', root / 'tags.txt').code == 0
    golden.narrow_checkpoint(root / 'init', 'vgg', 1 / 64)
    return root


def command_line(voc, work):
    """Two rounds of few steps."""
    return [
        *('vgg', '--data-dir', voc, '--dataset', voc, '--init', voc / 'init'),
        *('--cues', voc / 'cues', '--saliency', voc / 'saliency', '--work-dir', work),
        *('--width', '0.015625', '--rounds', '2', '--steps', '2'),
        *('--train-flags', '--batch_size 2 --input_height 33 --input_width 33'),
    ]


def kill_when(process, folder, pattern):
    """Kill a process and all its children as soon as a file is there. Returns what it printed."""
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def test_two_rounds_killed_twice_end_in_the_table(voc, tmp_path):
    work = tmp_path / 'my work'  # a space, as in My Drive
    words = command_line(voc, work)
    for pattern, stage in (
        ('round_1/train/scores/*.npz', 'round_1/train'),
        ('round_1/refined/*.png', 'round_1/refined'),
    ):
        output = kill_when(start('reproduce.py', *words), work, pattern)
        assert f'] {stage}: to do\n' in output
    process = start('reproduce.py', *words)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert '] round_1/train: done\n' in output and '] round_1/refined: going on\n' in output

    rows = ['round 1', 'round 2', 'test script', 'with CRF']
    numbers = json.loads((work / 'table.json').read_text())['results']
    assert list(numbers) == rows and numbers['with CRF']['paper'] == 59.9
    assert all(0 <= row['mean_iou'] <= 100 for row in numbers.values())
    text, markdown = ((work / f'table.{ending}').read_text() for ending in ('txt', 'md'))
    assert output.endswith(text) and text.split()[:3] == ['mean', 'IoU', 'paper']
    lines = zip(rows, text.splitlines()[1:5], markdown.splitlines()[2:6], strict=True)
    for row, line, cells in lines:
        assert line.startswith(row) and squeezed(cells).startswith(f'| {row} | ')
    assert '--num_steps 2' in text and '--width 0.015625' in text, 'not the settings of the paper'
    assert len(read_list(work / 'train_2.txt', voc)) >= 6, 'the best 70 %'

    record = (work / 'stages.json').read_bytes()
    result = run_command('reproduce', *words)
    assert result.code == 0 and result.out.count(': done\n') == 15
    assert (work / 'stages.json').read_bytes() == record

    # What the folder holds is not for another run.
    for more in ([], ['--dry-run']):
        result = run_command('reproduce', 'lite0', *words[1:], *more)
        refused(result, 'holds a run of vgg from cues, this one is lite0 from cues')


def test_images_that_are_gone_are_named_before_anything_is_done(voc, tmp_path):
    image = voc / 'JPEGImages/val_000001.jpg'
    image.rename(voc / 'gone.jpg')
    try:
        result = run_command('reproduce', *command_line(voc, tmp_path / 'work')[:-2])
    finally:
        (voc / 'gone.jpg').rename(image)
    assert result.code == 2 and f'no image at {image}' in result.error
    assert not (tmp_path / 'work').exists()

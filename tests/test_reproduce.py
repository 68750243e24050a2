"""The road of the README on a small stand-in for PASCAL VOC."""

import json
import os
import signal
import time

import pytest

from deeplab_resnet.resnet import NETWORKS
from deeplablib.data.image_lists import read_list
from deeplablib.data.prepare_voc import COUNTS
from deeplablib.utils.files import locked
from deeplablib.weights import checkpoints
from experiments.toy_data import make_data
from tests.command import run_command, start
from tests.tables import squeezed

IMAGES = {'train': 8, 'val': 4}  # different ones; the others of the tree are links to them


def names_of(split, first):
    return [f'2008_{first + number:06d}' for number in range(COUNTS[split])]


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A folder with VOC2012 of the right size, cues and saliency, and a narrow checkpoint."""
    root = tmp_path_factory.mktemp('voc')
    drawn, voc = root / 'drawn', root / 'VOCdevkit/VOC2012'
    drawn.mkdir()
    make_data(drawn, images=IMAGES, size=48)
    names = {'train': names_of('train', 0), 'val': names_of('val', 20000)}
    for folder, ending in (
        ('JPEGImages', 'jpg'),
        ('SegmentationClassAug', 'png'),
        ('Annotations', 'xml'),
    ):
        (voc / folder).mkdir(parents=True)
        files = {split: sorted((drawn / folder).glob(f'{split}_*')) for split in IMAGES}
        for split, of_split in names.items():
            for number, name in enumerate(of_split):
                source = files[split][number % IMAGES[split]]
                os.link(source, voc / folder / f'{name}.{ending}')
    names['test'] = names_of('test', 40000)
    for name in names['test']:
        os.link(drawn / 'JPEGImages/val_000000.jpg', voc / f'JPEGImages/{name}.jpg')
    (voc / 'ImageSets/Segmentation').mkdir(parents=True)
    for split in ('val', 'test'):
        (voc / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(names[split]))
    for folder in ('cues', 'saliency'):
        (root / folder).mkdir()
        for source in (drawn / folder).glob('train_*'):
            _, number, *rest = source.stem.split('_')
            os.link(source, root / folder / ('_'.join([f'2008_{number}', *rest]) + '.png'))
    network = NETWORKS['deeplab']
    checkpoints.write(root / 'init', network.variables(network.build(width=0.125)))
    return root


def kill_when(process, folder, pattern):
    """Kill a process and all its children as soon as a file is there. Returns what it printed."""
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


@pytest.fixture(scope='module')
def lists(tree):
    """The lists that prepare_voc makes, and the folder of their beginnings."""
    process = start('-m', 'deeplablib.data.prepare_voc', tree, '--out', tree / 'dataset')
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert output.count('complete') == 4, output
    short = tree / 'short'
    short.mkdir()
    for split, count in IMAGES.items():
        lines = (tree / f'dataset/{split}.txt').read_text().splitlines()
        assert len(lines) == COUNTS[split]
        (short / f'{split}.txt').write_text('\n'.join(lines[:count]))
    (tree / 'dataset/tags.txt').rename(short / 'tags.txt')
    return short


def reproduce(tree, lists):
    """The command line of two rounds of few steps."""
    return [
        *('resnet', '--data-dir', tree / 'VOCdevkit/VOC2012', '--dataset', lists),
        *('--cues', tree / 'cues', '--saliency', tree / 'saliency', '--init', tree / 'init'),
        *('--work-dir', tree / 'work', '--width', '0.125', '--rounds', '2', '--steps', '2'),
        *('--train-flags', '--batch_size 2 --input_height 33 --input_width 33'),
    ]


def test_two_rounds_killed_three_times_end_in_the_table(tree, lists):
    command, work = ['reproduce.py', *reproduce(tree, lists)], tree / 'work'
    for pattern, stage in (
        ('round_1/model/model.ckpt-0.index', 'round_1/model'),
        ('round_1/train/scores/*.npz', 'round_1/train'),
        ('round_1/refined/*.png', 'round_1/refined'),
    ):
        output = kill_when(start(*command), work, pattern)
        assert f'] {stage}: to do\n' in output
    process = start(*command)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert '] round_1/train: done\n' in output and '] round_1/refined: going on\n' in output

    rows = ['round 1', 'round 2', 'test script', 'with CRF']
    numbers = json.loads((work / 'table.json').read_text())['results']
    assert list(numbers) == rows and numbers['with CRF']['paper'] == 62.3
    assert all(0 <= row['mean_iou'] <= 100 for row in numbers.values())
    text, markdown = ((work / f'table.{ending}').read_text() for ending in ('txt', 'md'))
    assert output.endswith(text) and text.split()[:3] == ['mean', 'IoU', 'paper']
    lines = zip(rows, text.splitlines()[1:5], markdown.splitlines()[2:6], strict=True)
    for row, line, cells in lines:
        assert line.startswith(row) and squeezed(cells).startswith(f'| {row} | ')
    assert '--num_steps 2' in text and '--width 0.125' in text, 'not the settings of the paper'
    assert len(read_list(work / 'train_2.txt', tree)) >= 6, 'the best 70 %'

    record = (work / 'stages.json').read_bytes()
    result = run_command('reproduce', *reproduce(tree, lists))
    assert result.code == 0 and result.out.count(': done\n') == 15
    assert (work / 'stages.json').read_bytes() == record

    # What the folder holds is not for another run, nor for two at once.
    other = ['vgg', *reproduce(tree, lists)[1:]]
    for more in ([], ['--dry-run']):
        result = run_command('reproduce', *other, *more)
        assert result.code == 2
        assert 'holds a run of resnet from cues, this one is vgg from cues' in result.error
    with locked(work):
        result = run_command('reproduce', *reproduce(tree, lists))
    assert result.code == 2 and 'another process is writing' in result.error


def test_images_that_are_gone_are_named_before_anything_is_done(tree, lists):
    image = tree / 'VOCdevkit/VOC2012/JPEGImages/2008_020001.jpg'
    command = [*reproduce(tree, lists), '--work-dir', tree / 'other']
    image.rename(tree / 'gone.jpg')
    try:
        result = run_command('reproduce', *command)
    finally:
        (tree / 'gone.jpg').rename(image)
    assert result.code == 2 and f'no image at {image}' in result.error
    assert not (tree / 'other').exists()

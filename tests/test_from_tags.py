"""reproduce.py from tags alone: photographs of somebody's own, and PASCAL VOC without cues."""

import re
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image

from deeplablib.data import voc
from deeplablib.data.image_lists import read_list
from deeplablib.weights import checkpoints, settings_file
from tests import golden
from tests.command import refused, run_command, start
from tests.training_run import make_samples

WIDTH = 1 / 64
CLASSES = ('ground', 'red box', 'blue box', 'green box')
CLASSIFIER = '--num-steps 2 --batch-size 2 --crop-size 33'
TRAINING = '--batch_size 2 --input_height 33 --input_width 33'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Six photographs, their tags, and a narrow VGG16."""
    folder = tmp_path_factory.mktemp('photos')
    make_samples(folder, count=6)
    (folder / 'JPEGImages').rename(folder / 'photos')
    (folder / 'tags.txt').write_text(''.join(f's{i} {1 + i % 3}\n' for i in range(6)))
    (folder / 'classes.txt').write_text('\n'.join(CLASSES))
    tagged = [f's{i}.jpg,{CLASSES[1 + i % 3]}' for i in range(6)]
    (folder / 'tags.csv').write_text('\n'.join(['name,tags', *tagged]))
    (folder / 'model').mkdir()
    golden.narrow_checkpoint(folder / 'model/init', 'vgg', WIDTH)
    return folder


def photos(folder, **changes):
    flags = {
        'images': folder / 'photos',
        'tags': folder / 'tags.txt',
        'settings': 'vgg',
        'imagenet': folder / 'model/init',
        'work-dir': folder / 'work',
        'width': WIDTH,
        'rounds': 1,
        'steps': 1,
        'classifier-flags': CLASSIFIER,
        'train-flags': TRAINING,
    }
    return ['photos', *(f'--{name}={value}' for name, value in (flags | changes).items())]


def test_photographs_and_tags_of_own_classes_give_a_network_and_masks(folder):
    own = {'tags': folder / 'tags.csv', 'classes': folder / 'classes.txt'}
    process = start('reproduce.py', *photos(folder, **own))
    output = process.communicate()[0]
    assert process.returncode == 0, output
    work = folder / 'work'
    *_, table, network, masks = output.splitlines()
    assert table.split() == ['1', '6'], 'all six images are in the list of round 1'
    assert network == f'The network: {work / "round_1/model"}'
    copies = work / 'photographs'
    assert masks == f'The masks: {work / "masks"}, of the photographs in {copies}'
    assert checkpoints.find(work / 'round_1/model').endswith('model.ckpt-1')
    for i in range(6):
        mask = np.array(Image.open(work / f'masks/s{i}.png'))
        assert set(np.unique(mask)) <= {0, 1 + i % 3}
    assert [s.name for s in read_list(copies / 'photos.txt', copies)] == [f's{i}' for i in range(6)]
    settings = settings_file.read_settings(work / 'round_1/model')
    assert settings['result']['classes'] == list(CLASSES)
    of_voc = set(voc.CLASSES[1:]) - {'train'}  # which is what a list is called, too
    assert not of_voc & set(re.findall(r'[a-z]+', output)), 'not one name of VOC'
    result = run_command('reproduce', *photos(folder, **own))
    assert result.code == 0 and result.out.count(': done\n') == 8
    photograph = folder / 'photos/s0.jpg'
    before = photograph.read_bytes()
    Image.new('RGB', (40, 40)).save(photograph)
    result = run_command('reproduce', *photos(folder, **own), '--dry-run')
    photograph.write_bytes(before)
    states = re.findall('^# (.*): (.*)$', result.out, re.MULTILINE)
    assert len(states) == 8 and all(state.startswith('stale') for _, state in states)


def test_on_a_laptop_a_small_network_learns(folder):
    init = golden.narrow_checkpoint(folder / 'model/lite0', 'lite0', WIDTH)
    given = ('--images', folder / 'photos', '--tags', folder / 'tags.txt')
    given += ('--width', WIDTH)
    one_round = run_command('reproduce', 'photos', *given, '--imagenet', init, '--dry-run')
    assert one_round.out.count('--encoder_name lite0 ') == 1, 'more gain nothing'
    given += (
        '--rounds',
        3,
        '--work-dir',
        folder / 'lite0',
        '--crf-flags',
        '--bilateral-sxy 7',
        '--dry-run',
    )
    result = run_command('reproduce', 'photos', *given, '--imagenet', init)
    assert result.code == 0, result.error
    assert result.out.count('python main.py --option train --encoder_name lite0 ') == 3
    assert result.out.count('--frozen 5 ') == 1, 'the classifier of tags'
    assert result.out.count('--frozen 4 ') == 3, 'three trainings'
    assert result.out.count('python test_vocspsm_resnet.py') == 3
    assert result.out.count('--resume --bilateral-sxy 7\n') == 1, 'the masks at the end'
    assert result.out.count('python -m selection.select_pixels') == 2, 'of rounds 2 and 3'
    missing = run_command('reproduce', 'photos', *given, '--imagenet', folder / 'absent')
    refused(missing, 'make it with: python -m deeplab_efficientnet.convert imagenet')


def test_the_rounds_work_on_upright_copies_as_small_as_they_need(tmp_path):
    photos, copies = tmp_path / 'photos', tmp_path / 'copies'
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    corner = np.full((60, 80, 3), 255, np.uint8)
    corner[:30, :40] = 0
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # the camera stood on its right side
    Image.fromarray(corner).save(photos / 'turned.jpg', exif=turned)
    Image.fromarray(noise).save(photos / 'large.png')
    Image.fromarray(noise[:30, :40]).save(photos / 'small.jpg')
    Image.fromarray(noise).save(photos / 'with space.webp', lossless=True)
    (photos / 'notes.txt').touch()
    (tmp_path / 'tags.csv').write_text('name,tags\nturned,1\nlarge,2\nsmall,3\nwith space,3\n')
    flags = ('--images', photos, '--tags', tmp_path / 'tags.csv', '--out', copies)
    module = 'selection.copy_photographs'
    refused(run_command(module, *flags, '--max-size', '0'), 'value 0 of --max-size: at least one')
    result = run_command(module, *flags, '--max-size', '40')
    assert result.code == 0, result.error
    listed = {sample.image.name for sample in read_list(copies / 'photos.txt', copies)}
    assert listed == {'turned.jpg', 'large.png', 'small.jpg', 'with space.png'}
    assert f'1 others, such as {photos}/notes.txt, are left out' in result.out
    sizes = {name: Image.open(copies / name).size for name in listed}
    assert sizes == {
        'turned.jpg': (30, 40),
        'large.png': (40, 30),
        'small.jpg': (40, 30),
        'with space.png': (40, 30),
    }
    assert (copies / 'small.jpg').read_bytes() == (photos / 'small.jpg').read_bytes()
    upright = np.array(Image.open(copies / 'turned.jpg'))
    assert upright[:15, 20:].max() < 50 and upright[25:].min() > 200, 'the corner is at the right'
    assert not Image.open(copies / 'turned.jpg').getexif()
    (copies / 'small.jpg').unlink()
    kept = (copies / 'large.png').stat().st_mtime_ns
    assert run_command(module, *flags, '--resume').code == 0
    assert (copies / 'small.jpg').exists()
    assert (copies / 'large.png').stat().st_mtime_ns == kept
    over = (*flags[:4], '--out', photos)
    refused(run_command(module, *over), 'the photographs would be overwritten')
    shutil.copy(photos / 'small.jpg', photos / 'small.jpeg')
    refused(run_command(module, *flags), f'has the name of {photos}/small.jpeg')
    (photos / 'small.jpeg').unlink()
    (photos / 'large.png').write_bytes((photos / 'large.png').read_bytes()[:2000])
    refused(run_command(module, *flags), f'{photos}/large.png', 'cut off')


def test_photographs_may_lie_in_a_folder_for_each_class(folder, tmp_path):
    photos, copies = tmp_path / 'photos', tmp_path / 'copies'
    for i in range(6):
        (photos / CLASSES[1 + i % 3]).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f'photos/s{i}.jpg', photos / CLASSES[1 + i % 3])
    flags = ('--images', photos, '--tags', photos, '--classes', folder / 'classes.txt')
    result = run_command('selection.copy_photographs', *flags, '--out', copies)
    assert result.code == 0, result.error
    assert len(read_list(copies / 'photos.txt', copies)) == 6
    shutil.copy(folder / 'photos/s0.jpg', photos / CLASSES[2])
    result = run_command('selection.copy_photographs', *flags, '--out', copies)
    refused(result, f's0.jpg: has the name of {photos}')


def test_voc_without_cues_begins_with_the_classifier(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the project's own folder may hold weights of ImageNet
    dataset = folder / 'dataset'
    dataset.mkdir()
    (dataset / 'train.txt').write_text('s0\ns1\n')
    (dataset / 'val.txt').write_text('/photos/s2.jpg /SegmentationClassAug/s2.png\n')
    shutil.copy(folder / 'tags.txt', dataset)
    given = ('--data-dir', folder, '--dataset', dataset, '--work-dir', folder / 'voc')
    init = folder / 'model/init'
    given += ('--init', init, '--width', WIDTH, '--dry-run')
    result = run_command('reproduce', 'vgg', *given, '--imagenet', init)
    assert result.code == 0, result.error
    commands = [line for line in result.out.splitlines() if line.startswith('python ')]
    assert f'--pretrain-file {init} --out {folder}/voc/classifier' in commands[0]
    assert f'--restore-from {folder}/voc/classifier --out {folder}/voc/cues' in commands[1]
    assert f'--cues {folder}/voc/cues' in commands[2]
    # What was trained on masks of COCO must not make the cues of tags alone.
    result = run_command('reproduce', 'resnet', *given)
    refused(result, 'model/resnet/imagenet: not there; make it with: python -m deeplab_resnet.conv')


def test_bad_photographs_are_named(folder):
    def bad(changes, *words):
        changes = {'work-dir': folder / 'bad'} | changes
        refused(run_command('reproduce', *photos(folder, **changes)), *words)

    bad({'images': folder / 'nowhere'}, 'not there')
    tags = folder / 'other_tags.txt'
    tags.write_text('s0 1\ns1 2\ns2 3\ns3 1\ns4 2\nsunset 3\n')
    unknown = f'{tags}: has tags of sunset, and no image of that name is in {folder}/photos'
    bad({'tags': tags}, f'{folder}/photos/s5.jpg: has no tags in {tags}', unknown)
    bad({'cues': folder / 'photos'}, 'begins with tags')
    bad({'max-size': 0}, 'value 0 of --max-size')
    assert not (folder / 'bad').exists()
    refused(run_command('reproduce', 'vgg', '--max-size', '9'), '--max-size are for: reproduce.py')
    refused(run_command('reproduce', 'photos'), 'photos needs --images, a folder, and --tags')
    refused(run_command('reproduce', 'toy', '--imagenet', 'x'), 'toy has settings and data of its')

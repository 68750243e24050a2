import os
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image

from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.weights import checkpoints
from tests import golden
from tests.command import run_command

PHOTOS = golden.FOLDER / 'voc' / 'JPEGImages'


def narrow_checkpoint(folder, encoder_name):
    network = golden.NETWORKS[encoder_name]
    values = {n: v.numpy() for n, v in network.variables(network.build(width=1 / 16)).items()}
    checkpoints.write(folder / encoder_name, values)
    return folder / encoder_name


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return narrow_checkpoint(tmp_path_factory.mktemp('model'), 'vgg')


def predict(tmp_path, model, *images):
    arguments = ('--restore-from', model, '--save-dir', tmp_path / 'out')
    return run_command('predict', *images, *arguments)


@pytest.mark.parametrize('encoder_name', golden.NETWORKS)
def test_the_network_is_recognised_from_the_checkpoint(tmp_path, encoder_name):
    model = narrow_checkpoint(tmp_path, encoder_name)
    result = predict(tmp_path, model, PHOTOS / 'gold_000002.jpg')
    assert result.code == 0
    assert f'Restored {encoder_name} from' in result.out


def test_three_pictures_are_written_for_a_photograph(tmp_path, model):
    assert predict(tmp_path, model, PHOTOS / 'gold_000001.jpg').code == 0
    labels = np.array(Image.open(tmp_path / 'out/gold_000001.png'))
    colours = np.array(Image.open(tmp_path / 'out/gold_000001_colour.png'))
    np.testing.assert_array_equal(colours, colour_map()[labels])
    overlay = np.array(Image.open(tmp_path / 'out/gold_000001_overlay.png'))
    found = np.unique(labels)
    assert overlay.shape == (120 + 20 * len(found), max(150, 180), 3)
    for row, label in enumerate(found):
        swatch = overlay[120 + 20 * row + 10, 10]
        np.testing.assert_array_equal(swatch, colour_map()[label], CLASSES[label])


def test_folders_and_patterns_name_images(tmp_path, model):
    folder = shutil.copytree(PHOTOS, tmp_path / 'photos')
    (folder / 'notes.txt').write_text('no image')
    assert predict(tmp_path, model, folder).code == 0
    assert len(list((tmp_path / 'out').iterdir())) == 9
    shutil.rmtree(tmp_path / 'out')
    assert predict(tmp_path, model, folder / '*2.jpg').code == 0
    assert len(list((tmp_path / 'out').iterdir())) == 3
    shutil.rmtree(tmp_path / 'out')
    assert predict(tmp_path, model, tmp_path / '**').code == 0, 'no notes, no folders'
    assert len(list((tmp_path / 'out').iterdir())) == 9


def test_a_photograph_is_turned_as_it_was_held(tmp_path, model):
    straight = Image.open(PHOTOS / 'gold_000002.jpg')
    straight.save(tmp_path / 'straight.png')
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    straight.transpose(Image.Transpose.ROTATE_90).save(tmp_path / 'turned.png', exif=exif)
    assert predict(tmp_path, model, tmp_path / 'straight.png', tmp_path / 'turned.png').code == 0
    for ending in ('', '_overlay'):
        names = (tmp_path / f'out/{name}{ending}.png' for name in ('straight', 'turned'))
        np.testing.assert_array_equal(*(np.array(Image.open(name)) for name in names))


def test_a_name_that_is_not_utf_8_is_kept(tmp_path, model):
    image = tmp_path / os.fsdecode(b'caf\xe9.jpg')
    shutil.copy(PHOTOS / 'gold_000002.jpg', image)
    result = predict(tmp_path, model, image)
    assert result.code == 0, result.error
    assert (tmp_path / 'out' / os.fsdecode(b'caf\xe9_overlay.png')).is_file()


def test_pictures_that_would_overwrite_each_other_are_refused(tmp_path, model):
    folder = shutil.copytree(PHOTOS, tmp_path / 'photos')
    (folder / 'gold_000001.jpg').rename(folder / 'gold_000002_colour.jpg')
    result = predict(tmp_path, model, folder)
    assert result.code == 2
    assert 'would be saved under one name, gold_000002_colour.png' in result.error
    assert not (tmp_path / 'out').exists()


def test_bad_input_is_named(tmp_path, model):
    result = predict(tmp_path, model, tmp_path / 'nothing.jpg')
    assert result.code == 2 and 'nothing.jpg: no image of this name' in result.error
    (tmp_path / 'text.jpg').write_text('no image')
    result = predict(tmp_path, model, tmp_path / 'text.jpg')
    assert result.code == 2 and 'cannot read the image' in result.error
    checkpoints.write(tmp_path / 'other', {'w': np.float32(1)})
    result = predict(tmp_path, tmp_path / 'other', PHOTOS / 'gold_000001.jpg')
    assert result.code == 2 and 'not a checkpoint of any of these networks' in result.error

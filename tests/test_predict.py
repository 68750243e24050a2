import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import ExifTags, Image

from deeplablib.data.score_maps import image_probabilities
from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.prediction import photographs
from tests import golden
from tests.command import ROOT, refused, run_command

PHOTOS = golden.FOLDER / 'voc' / 'JPEGImages'


@pytest.fixture(scope='module', autouse=True)
def networks_loaded_once():
    with golden.networks_loaded_once():
        yield


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return golden.narrow_checkpoint(tmp_path_factory.mktemp('model') / 'vgg', 'vgg')


def predict(tmp_path, model, *images):
    arguments = ('--restore-from', model, '--save-dir', tmp_path / 'out')
    return run_command('predict', *images, *arguments)


@pytest.mark.parametrize('encoder_name', ['res50', 'vgg_aspp', 'lite0'])
def test_the_network_is_recognised_from_the_checkpoint(tmp_path, encoder_name):
    model = golden.narrow_checkpoint(tmp_path / encoder_name, encoder_name)
    result = predict(tmp_path, model, PHOTOS / 'gold_000002.jpg', '--single-scale')
    assert result.code == 0
    assert f'Restored model parameters of {encoder_name} from' in result.out


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
    Image.open(folder / 'gold_000003.jpg').save(folder / 'as_webp', 'WEBP')
    result = predict(tmp_path, model, folder)
    assert result.code == 0 and '1 others, such as' in result.out
    assert len(list((tmp_path / 'out').iterdir())) == 12
    (folder / 'as_webp').unlink()
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


def test_the_overlay_is_turned_only_where_the_labels_are(tmp_path, model):
    """EXIF that stands behind the pixels of a PNG is not looked for."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / 'late.png'
    Image.open(PHOTOS / 'gold_000002.jpg').save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], 'big')
    last = content.index(b'IEND') - 4
    path.write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    result = predict(tmp_path, model, path)
    assert result.code == 0, result.error
    labels, overlay = (Image.open(tmp_path / f'out/late{e}.png') for e in ('', '_overlay'))
    assert labels.size == Image.open(path).size and overlay.width == max(180, labels.width)


def test_pictures_that_would_overwrite_each_other_are_refused(tmp_path, model):
    folder = shutil.copytree(PHOTOS, tmp_path / 'photos')
    (folder / 'gold_000001.jpg').rename(folder / 'gold_000002_colour.jpg')
    result = predict(tmp_path, model, folder)
    refused(result, 'would be saved under one name, gold_000002_colour.png')
    assert not (tmp_path / 'out').exists()


def test_bad_input_is_named(tmp_path, model):
    result = predict(tmp_path, model, tmp_path / 'nothing.jpg')
    refused(result, 'nothing.jpg: no photographs here')
    (tmp_path / 'text.jpg').write_text('no image')
    refused(predict(tmp_path, model, tmp_path / 'text.jpg'), 'cannot read the image')


def run_predict(tmp_path, model, out, *arguments):
    folder = tmp_path / out
    where = ('--restore-from', model, '--save-dir', folder)
    result = run_command('predict', PHOTOS / 'gold_000001.jpg', *where, *arguments)
    assert result.code == 0, result.error
    pictures = {
        path.name[len('gold_000001') :]: np.array(Image.open(path)) for path in folder.iterdir()
    }
    return pictures, result.out


def test_a_large_photograph_is_seen_smaller_and_labelled_at_its_own_size(tmp_path, model):
    pictures, out = run_predict(tmp_path, model, 'small', '--max-size', '64', '--confidence')
    assert 'gold_000001.jpg (150x120); the network saw them smaller' in out
    assert pictures['.png'].shape == pictures['_confidence.png'].shape == (120, 150)
    assert pictures['_overlay.png'].shape[0] > 120
    whole, out = run_predict(tmp_path, model, 'whole', '--confidence')
    assert 'smaller' not in out and whole['_confidence.png'].dtype == np.uint8
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = Image.open(PHOTOS / 'gold_000001.jpg')
    photo.save(tmp_path / 'side.jpg', exif=exif)
    assert predict(tmp_path, model, tmp_path / 'side.jpg', '--max-size', '64').code == 0
    assert Image.open(tmp_path / 'out/side.png').size == (120, 150)


def test_bands_give_what_the_whole_gives(monkeypatch):
    rng = np.random.default_rng(0)
    score_map = rng.normal(0, 3, (5, 7, 4)).astype(np.float32)
    allowed = np.array([True, True, False, True])
    probabilities = image_probabilities(score_map, (37, 50), 'logits', allowed)
    monkeypatch.setattr(photographs, 'BAND', 300)
    labels, confidence = photographs.label_photograph(score_map, (37, 50), 'logits', allowed)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))
    np.testing.assert_array_equal(confidence, np.rint(255 * probabilities.max(-1)))


def test_memory_does_not_grow_with_a_photograph(monkeypatch):
    monkeypatch.setattr(photographs, 'BAND', 1 << 14)
    score_map = np.random.default_rng(0).normal(0, 3, (10, 8, 21)).astype(np.float32)
    every, peaks = np.ones(21, bool), []
    for size in ((200, 160), (1200, 960)):
        tracemalloc.start()
        photographs.label_photograph(score_map, size, 'logits', every)
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * size[0] * size[1])
        tracemalloc.stop()
    # Two maps of 8 bits are as large as the photograph; the 21 probabilities of a pixel are not.
    assert peaks[1] < 2 * peaks[0] < 2 * 1200 * 960 * 21


def test_tags_crf_and_scales_change_the_labels(tmp_path, model):
    plain, _ = run_predict(tmp_path, model, 'plain')
    tagged, _ = run_predict(tmp_path, model, 'tags', '--tags', 'dog', '15')
    assert set(np.unique(tagged['.png'])) <= {0, 12, 15}
    crf, _ = run_predict(tmp_path, model, 'crf', '--tags', 'dog', 'person', '--crf')
    assert set(np.unique(crf['.png'])) <= {0, 12, 15}
    single, _ = run_predict(tmp_path, model, 'single', '--single-scale', '--confidence')
    multi, _ = run_predict(tmp_path, model, 'multi', '--confidence')
    assert (single['_confidence.png'] != multi['_confidence.png']).any()
    np.testing.assert_array_equal(multi['.png'], plain['.png'])


def test_own_classes_are_in_the_legend_and_in_messages(tmp_path, model):
    names = [f'thing {i}' for i in range(21)]
    (tmp_path / 'classes.txt').write_text('\n'.join(names))
    own, _ = run_predict(tmp_path, model, 'own', '--classes', tmp_path / 'classes.txt')
    plain, _ = run_predict(tmp_path, model, 'plain')
    assert (own['_overlay.png'][120:] != plain['_overlay.png'][120:]).any()
    where = ('--restore-from', model, '--classes', tmp_path / 'classes.txt')
    result = run_command('predict', PHOTOS / 'gold_000001.jpg', *where, '--tags', 'dog')
    assert result.code == 2 and '--tags dog: no class; there are thing 1, thing 2' in result.error


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--max-size', '0'], 'value 0 of --max-size'),
        (['--max-size', '1k'], 'value 1k of --max-size: not a whole number'),
        (['--tags', 'unicorn'], '--tags unicorn: no class; there are aeroplane'),
    ],
)
def test_bad_flags_are_named(tmp_path, model, arguments, message):
    refused(predict(tmp_path, model, PHOTOS / 'gold_000001.jpg', *arguments), message)


def test_the_network_that_comes_with_the_project_knows_a_cat_and_a_person(tmp_path, monkeypatch):
    photographs = [ROOT / f'docs/photographs/{name}.jpg' for name in ('chelsea', 'astronaut')]
    monkeypatch.chdir(tmp_path)
    result = run_command('predict', *photographs, '--single-scale', '--max-size', '256')
    assert result.code == 0, result.error
    assert 'learnt from tags alone' in result.out
    for name, label in (('chelsea', 8), ('astronaut', 15)):
        labels = np.array(Image.open(tmp_path / f'result/labels/{name}.png'))
        assert np.mean(labels == label) > 0.4
        assert set(np.unique(labels)) <= {0, label}

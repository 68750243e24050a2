import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.score_maps import image_probabilities, read_score_map
from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.prediction import metrics, multi_scale_script, predict_list
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.prediction.photographs import prepared
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_model
from tests import golden
from tests.command import ROOT, refused, run_command, run_process

VOC = golden.FOLDER / 'voc'
NAMES = ['gold_000001', 'gold_000002', 'gold_000003']


@pytest.fixture(scope='module', autouse=True)
def networks_loaded_once():
    with golden.networks_loaded_once():
        yield


@pytest.fixture(scope='module')
def narrow(tmp_path_factory):
    """A narrow VGG16: fast, for what does not depend on the weights."""
    return golden.narrow_checkpoint(tmp_path_factory.mktemp('narrow') / 'model.vgg', 'vgg')


@pytest.fixture
def data(tmp_path):
    """A data set of our own to damage."""
    return Path(shutil.copytree(VOC, tmp_path / 'voc'))


def run_vgg(narrow, data, *options):
    arguments = {
        '--data-dir': data,
        '--data-list': data / 'list.txt',
        '--restore-from': narrow,
        '--save-dir': data / 'result',
    }
    given = [str(part) for pair in arguments.items() for part in pair if pair[0] not in options]
    return run_command('test_vocspsm_vgg', *given, *options)


def labels_of(path):
    return np.array(Image.open(path))


@pytest.mark.parametrize('script, encoder_name', [('resnet', 'deeplab'), ('vgg', 'vgg')])
def test_predictions_equal_those_of_the_released_script(tmp_path, script, encoder_name):
    checkpoints.write(tmp_path / 'released', golden.checkpoint_values(encoder_name))
    result = run_command(
        f'test_vocspsm_{script}',
        *('--data-dir', VOC),
        *('--data-list', VOC / 'list.txt'),
        *('--restore-from', tmp_path / 'released'),
        *('--save-dir', tmp_path / 'result'),
    )
    assert result.code == 0
    confusion = 0
    for name in NAMES:
        prediction = Image.open(tmp_path / 'result' / f'{name}.png')
        assert prediction.mode == 'P'
        assert bytes(prediction.getpalette()) == colour_map().tobytes()
        expected = labels_of(golden.FOLDER / f'msc_{golden.REFERENCE[encoder_name]}/{name}.png')
        assert np.mean(np.array(prediction) == expected) >= 0.999
        truth = labels_of(VOC / 'SegmentationClassAug' / f'{name}.png')
        confusion = confusion + metrics.confusion_matrix(truth, np.array(prediction))
    assert metrics.iou_table(confusion, CLASSES) in result.out


def test_a_script_runs_as_a_process_of_its_own(narrow, data):
    flags = ('--data-dir', data, '--data-list', data / 'list.txt', '--restore-from', narrow)
    done = run_process(ROOT / 'test_vocspsm_vgg.py', *flags, cwd=data)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (data / 'result').iterdir()) == [f'{n}.png' for n in NAMES]
    assert 'mean IoU' in done.stdout
    steps = [line.split(':')[0] for line in done.stderr.splitlines()]
    assert steps == ['checking', 'predicting', 'evaluating'], 'TensorFlow has written here too'


def test_only_the_crf_needs_its_package(narrow, data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)  # importing it fails
    (data / 'list.txt').write_text('gold_000001\n')
    result = run_vgg(narrow, data, '--crf')
    assert result.code == 2 and 'pip install pydensecrf2' in result.error
    assert not (data / 'result').exists()
    assert run_vgg(narrow, data).code == 0


def test_scores_are_saved_at_network_resolution(narrow, data):
    result = run_vgg(narrow, data, '--save-scores', data / 'scores')
    assert result.code == 0
    scores, size, input_size, kind = read_score_map(data / 'scores' / 'gold_000001.npz')
    assert (scores.shape, kind) == ((15, 19, 21), 'probabilities')
    assert size == input_size == (120, 150)
    assert scores.max() <= 1
    with np.load(data / 'scores' / 'gold_000001.npz') as file:
        assert file['scores'].dtype == np.float16


def test_single_scale_gives_other_scores(narrow, data):
    run_vgg(narrow, data, '--save-scores', data / 'multi')
    run_vgg(narrow, data, '--save-scores', data / 'single', '--single-scale')
    multi, single = (read_score_map(data / d / 'gold_000001.npz')[0] for d in ('multi', 'single'))
    assert (multi >= single).all() and (multi > single).any()


@pytest.mark.parametrize('options', ['--precision bfloat16', '--img-mean 0 0 0'])
def test_a_flag_of_the_network_gives_other_scores(narrow, data, options, monkeypatch):
    monkeypatch.setattr(multi_scale_script, 'require_precision', lambda precision: None)
    (data / 'list.txt').write_text('gold_000001\n')
    run_vgg(narrow, data, '--save-scores', data / 'plain')
    run_vgg(narrow, data, '--save-scores', data / 'other', *options.split())
    plain, other = (read_score_map(data / d / 'gold_000001.npz')[0] for d in ('plain', 'other'))
    assert not np.array_equal(plain, other)


def test_a_label_map_is_there_only_when_its_scores_are(narrow, data, monkeypatch):
    def fail(*_):
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr(predict_list, 'write_score_map', fail)
        assert run_vgg(narrow, data, '--save-scores', data / 'scores').code == 1
    assert not list((data / 'result').iterdir())
    run_vgg(narrow, data, '--save-scores', data / 'scores')
    (data / 'scores/gold_000002.npz').unlink()
    result = run_vgg(narrow, data, '--save-scores', data / 'scores', '--resume')
    assert '2 of 3 images are done already' in result.out
    assert (data / 'scores/gold_000002.npz').is_file()


def test_resume_predicts_only_what_is_missing(narrow, data):
    run_vgg(narrow, data)
    kept, lost, _ = (data / 'result' / f'{name}.png' for name in NAMES)
    before = lost.read_bytes()
    Image.new('L', (150, 120)).save(kept)
    lost.unlink()
    result = run_vgg(narrow, data, '--resume')
    assert result.code == 0
    assert '2 of 3 images are done already' in result.out
    assert lost.read_bytes() == before
    assert 'predicting: 1/1 images' in result.error
    assert labels_of(kept).max() == 0, 'predicted again'
    assert run_vgg(narrow, data, '--resume').code == 0, 'nothing left to do'


def test_large_images_are_seen_smaller_and_labelled_at_their_own_size(narrow, data):
    options = ('--save-scores', data / 'scores', '--crf', '--max-size')
    result = run_vgg(narrow, data, *options, '131')
    assert result.code == 0, result.error
    note = f'2 of 3 photographs are larger than 131 pixels, such as {data}/JPEGImages/gold_000001'
    assert f'{note}.jpg (150x120)' in result.out and 'mean IoU' in result.out
    scores, size, input_size, kind = read_score_map(data / 'scores/gold_000001.npz')
    assert (scores.shape[:2], size, input_size) == ((14, 17), (120, 150), (105, 131))
    labels = labels_of(data / 'result/gold_000001.png')
    image, size = prepared(data / 'JPEGImages/gold_000001.jpg', 131)
    name, model = load_model(golden.NETWORKS, narrow)
    by_hand = make_predictor(model, golden.NETWORKS[name].to_score_map)(image, np.ones(21, bool))[1]
    by_hand = image_probabilities(by_hand.numpy(), size, kind).argmax(-1)
    np.testing.assert_array_equal(labels, by_hand)
    assert labels_of(data / 'result/crf/gold_000001.png').shape == size
    small = {path.name: path.read_bytes() for path in (data / 'result').glob('*_000002.png')}
    assert run_vgg(narrow, data).code == 0
    assert small == {name: (data / 'result' / name).read_bytes() for name in small}
    assert (labels_of(data / 'result/gold_000001.png') != labels).any()
    refused(run_vgg(narrow, data, '--max-size', '0'), 'value 0 of --max-size: at least one')


def test_crf_gives_what_crf_vocspsm_gives(narrow, data):
    (data / 'list.txt').write_text('gold_000002\n')
    result = run_vgg(narrow, data, '--crf')
    assert result.code == 0, result.error
    where = ('--data-dir', data, '--data-list', data / 'list.txt', '--save-dir', data / 'crf')
    assert run_command('crf_vocspsm', '--scores', data / 'result/scores', *where).code == 0
    in_one_go, by_script = (labels_of(data / d / 'gold_000002.png') for d in ('result/crf', 'crf'))
    np.testing.assert_array_equal(in_one_go, by_script)


@pytest.mark.parametrize('form', ['file', 'folder'])
def test_tags_restrict_the_classes(narrow, data, form):
    tags = {'gold_000001': (3, 20), 'gold_000002': (7,), 'gold_000003': ()}
    path = data / 'tags'
    if form == 'file':
        path.write_text(''.join(f'{n} {" ".join(map(str, ids))}\n' for n, ids in tags.items()))
    else:
        path.mkdir()
        for name, ids in tags.items():
            (path / f'{name}.txt').write_text(''.join(f'{i}\n' for i in ids))
    assert run_vgg(narrow, data, '--tags', path, '--crf').code == 0
    for name, ids in tags.items():
        for folder in ('result', 'result/crf'):
            assert set(np.unique(labels_of(data / folder / f'{name}.png'))) <= {0, *ids}


def test_num_steps_takes_the_first_images(narrow, data):
    result = run_vgg(narrow, data, '--num-steps', '2')
    assert result.code == 0
    assert len(list((data / 'result').iterdir())) == 2
    assert run_vgg(narrow, data, '--num-steps', '0').code == 2


def test_a_list_may_be_written_in_many_ways(narrow, data):
    shutil.copy(data / 'JPEGImages/gold_000001.jpg', data / 'JPEGImages/img.v2.jpg')
    (data / 'JPEGImages/gold_000003.jpg').rename(data / 'JPEGImages/a_jpg_b.jpg')
    (data / 'list.txt').write_bytes(
        b'\xef\xbb\xbfJPEGImages/gold_000001.jpg SegmentationClassAug/gold_000001.png \r\n'
        b'\r\n'
        b'img.v2\r\n'
        b'  /JPEGImages/a_jpg_b.jpg'
    )
    result = run_vgg(narrow, data)
    assert result.code == 0, result.error
    written = sorted(path.stem for path in (data / 'result').iterdir())
    assert written == ['a_jpg_b', 'gold_000001', 'img.v2']
    assert 'mean IoU' not in result.out, 'two images name no mask'


def test_an_image_of_one_grey_pixel_is_labelled(narrow, data):
    Image.new('LA', (1, 1)).save(data / 'JPEGImages/one.png')
    (data / 'list.txt').write_text('/JPEGImages/one.png\n')
    assert run_vgg(narrow, data).code == 0
    assert labels_of(data / 'result/one.png').shape == (1, 1)


@pytest.mark.parametrize(
    'flag, name, message',
    [
        ('--data-dir', 'nowhere', 'nowhere: no such data directory'),
        ('--data-list', 'nowhere.txt', 'nowhere.txt: cannot read the list (No such file or dir'),
        ('--data-list', 'JPEGImages/gold_000001.jpg', 'gold_000001.jpg: not a text file'),
        ('--save-dir', 'list.txt/result', 'list.txt/result: cannot write here (Not a directory)'),
    ],
)
def test_a_path_of_no_use_is_named(narrow, data, flag, name, message):
    refused(run_vgg(narrow, data, flag, data / name), message)


def test_missing_files_are_named_with_list_and_line(narrow, data):
    (data / 'JPEGImages/gold_000001.jpg').unlink()
    (data / 'SegmentationClassAug/gold_000003.png').unlink()
    result = run_vgg(narrow, data)
    refused(
        result,
        '2 faults:',
        f'list.txt, line 1: no image at {data}/JPEGImages/gold_000001.jpg',
        f'list.txt, line 3: no mask at {data}/SegmentationClassAug/gold_000003.png',
    )
    assert not (data / 'result').exists(), 'refused before anything is written'


def test_two_images_that_would_be_saved_under_one_name_are_refused(narrow, data):
    (data / 'other').mkdir()
    shutil.copy(data / 'JPEGImages/gold_000001.jpg', data / 'other/gold_000001.jpg')
    (data / 'list.txt').write_text('gold_000001\n/other/gold_000001.jpg\n')
    refused(run_vgg(narrow, data), 'line 2', 'under one name, gold_000001.png')


@pytest.mark.parametrize(
    'text, message',
    [
        ('/a.jpg /b.png /c.png\n', 'list.txt, line 1: 3 fields, expected'),
        ('\n  \n', 'list.txt: the list is empty'),
    ],
)
def test_a_malformed_list_is_named(narrow, data, text, message):
    (data / 'list.txt').write_text(text)
    refused(run_vgg(narrow, data), message)


@pytest.mark.parametrize('part', [0, 0.5])
def test_an_unreadable_image_is_named_before_anything_is_written(narrow, data, part):
    path = data / 'JPEGImages/gold_000002.jpg'
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    refused(run_vgg(narrow, data), 'line 2: cannot read the image', 'gold_000002.jpg')
    assert not (data / 'result').exists()


def test_an_image_broken_inside_is_named_and_the_others_are_kept(narrow, data):
    path = data / 'JPEGImages/gold_000002.jpg'
    Image.open(path).save(path, format='PNG')
    whole = bytearray(path.read_bytes())
    whole[3000:4000] = bytes(1000)
    path.write_bytes(whole)
    result = run_vgg(narrow, data)
    refused(result, 'line 2: cannot read the image', 'gold_000002.jpg')
    assert 'function_node' not in result.error
    assert [path.name for path in (data / 'result').iterdir()] == ['gold_000001.png']


def test_a_bad_mask_is_named(narrow, data):
    Image.new('L', (131, 97)).save(data / 'SegmentationClassAug/gold_000002.png', 'JPEG')
    message = 'gold_000002.png: a mask must be an 8-bit grey or palette PNG, this'
    refused(run_vgg(narrow, data), message)
    assert not (data / 'result').exists(), 'refused before anything is written'


@pytest.mark.parametrize('folder', ['SegmentationClassAug', 'annotations'])
def test_the_data_is_never_overwritten(narrow, data, folder):
    if folder == 'annotations':
        (data / 'SegmentationClassAug').rename(data / folder)
        text = (data / 'list.txt').read_text()
        (data / 'list.txt').write_text(text.replace('SegmentationClassAug', folder))
    else:  # which are masks even where the list names none
        (data / 'list.txt').write_text('\n'.join(NAMES))
    before = {path: path.read_bytes() for path in (data / folder).iterdir()}
    result = run_vgg(narrow, data, '--save-dir', data / folder)
    refused(result, 'would be overwritten; choose another folder')
    assert {path: path.read_bytes() for path in (data / folder).iterdir()} == before


def test_a_checkpoint_of_no_network_is_named(narrow, data):
    checkpoints.write(data / 'other', {'w': np.float32(1)})
    message = 'not a checkpoint of any of these networks: deeplab, res101, res50, vgg, '
    refused(run_vgg(narrow, data, '--restore-from', data / 'other'), message)


@pytest.mark.parametrize(
    'text, message',
    [
        ('gold_000001 1\ngold_000002 2\n', 'tags.txt, which has gold_000001, gold_000002, ...'),
        ('', 'tags.txt: no tags here'),
        (None, 'tags.txt: cannot read the tags'),
    ],
)
def test_bad_tags_are_named(narrow, data, text, message):
    if text is not None:
        (data / 'tags.txt').write_text(text)
    refused(run_vgg(narrow, data, '--tags', data / 'tags.txt'), message)


def test_help_and_usage_errors(narrow, data):
    result = run_command('test_vocspsm_vgg', '--help')
    assert result.code == 0
    for flag in ('--data-dir', '--save-scores', '--single-scale', '--precision', '--resume'):
        assert flag in result.out
    assert run_command('test_vocspsm_vgg', '--precision', 'int8').code == 2

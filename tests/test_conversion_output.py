import ast
import dataclasses
import errno
import os
import shlex
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from deeplab_vgg import vgg
from deeplablib.network import convolution
from deeplablib.network.folding import fold_for_prediction
from deeplablib.prediction import exported_models
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.utils import errors
from deeplablib.utils.backend import keras, tf
from deeplablib.weights import checkpoints
from tests import conversion, golden
from tests.conversion import assert_same, model_with, narrow_model, narrow_values


@pytest.fixture
def convert(capfd):
    """Run a converter as from the command line; returns what it printed."""

    def run(encoder_name, *args):
        printed = conversion.convert(encoder_name, *args)
        assert not capfd.readouterr().err
        return printed

    return run


@pytest.fixture
def quick_exports(monkeypatch):
    """Put an empty file in the place of an ONNX file."""
    monkeypatch.setitem(exported_models.WRITERS, 'onnx', lambda path, *_: Path(path).touch())


def label_in_onnxruntime(path, image):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return session.run(['labels'], {'image': image})[0]


PHOTOGRAPH = np.array(Image.open(golden.FOLDER / 'voc/JPEGImages/gold_000001.jpg'))


@pytest.mark.parametrize('encoder_name', ['vgg', 'lite0'])
def test_keras_weights_load_into_the_network_and_back(tmp_path, convert, encoder_name):
    values = narrow_values(encoder_name)
    checkpoints.write(tmp_path / 'in', values)
    printed = convert(encoder_name, tmp_path / 'in', tmp_path / 'out.weights.h5')
    model = narrow_model(encoder_name)
    model.load_weights(tmp_path / 'out.weights.h5')
    variables = golden.NETWORKS[encoder_name].variables(model)
    assert_same({name: v.numpy() for name, v in variables.items()}, values)
    assert '.load_weights(' in printed
    convert(encoder_name, tmp_path / 'out.weights.h5', tmp_path / 'back')
    assert_same(checkpoints.read(tmp_path / 'back'), values)


def test_a_saved_model_labels_images_of_every_size(tmp_path, convert):
    encoder_name, values = 'vgg', narrow_values('vgg')
    checkpoints.write(tmp_path / 'in', values)
    folder = tmp_path / os.fsdecode(b'caf\xe9')  # which TensorFlow cannot name
    convert(encoder_name, tmp_path / 'in', f'{folder}/served/')
    (folder / 'served').rename(tmp_path / 'served')
    serve = tf.saved_model.load(str(tmp_path / 'served')).signatures['serving_default']
    model = fold_for_prediction(model_with(encoder_name, values))
    predict = make_predictor(model, golden.NETWORKS[encoder_name].to_score_map)
    for height, width in ((33, 50), (41, 17), (1, 1)):
        pixels = np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)
        labels = serve(image=tf.constant(pixels))['labels']
        assert labels.dtype == tf.uint8 and labels.shape == (height, width)
        np.testing.assert_array_equal(labels, predict(pixels, [True] * 21)[0])


@pytest.mark.parametrize('name', ['out', 'out.weights.h5', 'out/', 'out.onnx'])
def test_the_next_command_is_fit_for_a_shell(tmp_path, convert, quick_exports, name):
    folder = tmp_path / 'it\'s "my" $HOME'
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    printed = convert('vgg', tmp_path / 'in', f'{folder}/{name}')
    words = shlex.split(printed.partition('Next: ')[2])
    if name == 'out':
        assert words[-1] == f'{folder}/out'
    else:
        texts = [node.value for node in ast.walk(ast.parse(words[-1])) if hasattr(node, 'value')]
        assert f'{folder}/{name}' in texts


def test_a_saved_model_that_is_there_is_not_touched(tmp_path, convert):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    (tmp_path / 'served').mkdir()
    with pytest.raises(errors.InputError, match='served.*is there already'):
        convert('vgg', tmp_path / 'in', f'{tmp_path}/served/')
    assert not list((tmp_path / 'served').iterdir())


NO_SPACE = '{{function_node __wrapped__SaveV2}} No space left on device [Op:SaveV2]'


@pytest.mark.parametrize(
    'name, error, message',
    [
        ('out.weights.h5', OSError('disk full'), 'disk full'),
        (
            'served/',
            tf.errors.ResourceExhaustedError(None, None, NO_SPACE),
            r'served/: cannot be written as savedmodel \(No space left on device\)$',
        ),
        (
            'out.onnx',
            OSError(errno.ENOSPC, 'No space left on device'),
            r'out\.onnx: cannot be written as onnx \(No space left on device\)$',
        ),
    ],
)
def test_nothing_is_left_of_a_write_that_fails(
    tmp_path, convert, monkeypatch, name, error, message
):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    before = sorted(tmp_path.iterdir())

    def fail(first, second, *_):
        path = first if isinstance(first, str) else second  # save_weights has the model before it
        Path(path).write_text('half of it')
        raise error

    monkeypatch.setattr(keras.Model, 'save_weights', fail)
    for format in exported_models.WRITERS:
        monkeypatch.setitem(exported_models.WRITERS, format, fail)
    with pytest.raises(OSError, match=message):
        convert('vgg', tmp_path / 'in', f'{tmp_path}/{name}')
    assert sorted(tmp_path.iterdir()) == before


def test_a_disk_too_full_for_a_keras_file_is_named(tmp_path, convert, monkeypatch):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    usage = shutil.disk_usage(tmp_path)._replace(free=330_000)  # a little more than the weights
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(OSError, match=r'No space left on device: .*/out\.weights\.h5'):
        convert('vgg', tmp_path / 'in', tmp_path / 'out.weights.h5')


@pytest.mark.parametrize('name', ['out', 'out.onnx'])
def test_what_a_killed_conversion_left_is_removed(
    tmp_path, convert, monkeypatch, quick_exports, name
):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    folders = []

    def fail(source, _):
        folders.append(Path(source).resolve().parent)
        raise OSError('killed')

    with monkeypatch.context() as patch, pytest.raises(OSError, match='killed'):
        patch.setattr(os, 'replace', fail)
        convert('vgg', tmp_path / 'in', f'{tmp_path}/{name}')
    stem = f'.{Path(name).name}'
    others = [tmp_path / f'{stem}.original', tmp_path / f'{stem}_2.unfinished-x']
    for folder in (*folders, *others):
        folder.mkdir()
    convert('vgg', tmp_path / 'in', f'{tmp_path}/{name}')
    assert sorted(tmp_path.glob('.out*')) == others


@pytest.mark.parametrize(
    'name, message',
    [
        ('out.pth', 'read, not written'),
        ('out.h5', 'read, not written'),
        ('file/out.onnx', 'cannot write here'),
        ('out.index', 'a file of a checkpoint'),
        ('out.data-00000-of-00001', 'a file of a checkpoint'),
        ('.', 'is a folder'),
        ('file/out', 'cannot write here'),
        ('/proc/out', 'cannot write here'),
    ],
)
def test_a_destination_that_cannot_be_is_refused_first(tmp_path, convert, name, message):
    (tmp_path / 'file').touch()
    with pytest.raises(errors.InputError, match=message):
        convert('vgg', tmp_path / 'absent.pth', tmp_path / name)


# --- ONNX ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'encoder_name, num_classes, has_dilated_gradients',
    [('res50', 21, True), ('vgg', 3, False)],
)
def test_exported_files_label_as_the_saved_model_does(
    tmp_path, convert, monkeypatch, encoder_name, num_classes, has_dilated_gradients
):
    monkeypatch.setattr(convolution, 'has_dilated_gradients', lambda _: has_dilated_gradients)
    values = narrow_values(encoder_name, num_classes)
    checkpoints.write(tmp_path / 'in', values)
    convert(encoder_name, tmp_path / 'in', f'{tmp_path}/served/')
    serve = tf.saved_model.load(str(tmp_path / 'served')).signatures['serving_default']
    images = (PHOTOGRAPH[:97, :120], PHOTOGRAPH[20:84, 30:119], PHOTOGRAPH[:1, :1])
    expected = [serve(image=tf.constant(image))['labels'] for image in images]
    assert len(np.unique(expected[0])) > 1
    printed = convert(encoder_name, tmp_path / 'in', tmp_path / 'out.onnx')
    assert f'for {num_classes} classes' in printed and 'are those of the SavedModel' in printed
    for image, labels in zip(images, expected, strict=True):
        found = label_in_onnxruntime(tmp_path / 'out.onnx', image)
        assert found.dtype == np.uint8 and found.shape == image.shape[:2]
        assert np.mean(found == labels) >= 0.999  # ties are broken by rounding


def test_an_export_with_other_labels_is_refused(tmp_path, convert, monkeypatch):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    before = sorted(tmp_path.iterdir())
    exported = mock.Mock(SerializeToString=lambda: b'')
    monkeypatch.setattr(exported_models, '_onnx_model', lambda *_: exported)
    session = mock.Mock(run=lambda _, given: [np.full(given['image'].shape[:2], 255)])
    monkeypatch.setattr(onnxruntime, 'InferenceSession', lambda *_, **__: session)
    message = r'out.onnx: cannot be written as onnx \(on images of 97x129 .* \d.*% of its labels'
    with pytest.raises(OSError, match=message):
        convert('vgg', tmp_path / 'in', tmp_path / 'out.onnx')
    assert sorted(tmp_path.iterdir()) == before


def test_an_operation_that_a_format_lacks_is_named(tmp_path, convert, monkeypatch):
    checkpoints.write(tmp_path / 'in', narrow_values('vgg'))
    before = sorted(tmp_path.iterdir())
    network = dataclasses.replace(
        vgg.NETWORKS['vgg'], to_score_map=lambda x: tf.raw_ops.Betainc(a=x, b=x, x=x)
    )
    monkeypatch.setitem(vgg.NETWORKS, 'vgg', network)
    with pytest.raises(OSError, match=r'out.onnx: cannot be written .*Betainc') as raised:
        convert('vgg', tmp_path / 'in', tmp_path / 'out.onnx')
    assert '\n' not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('package', ['tf2onnx', 'onnxruntime'])
def test_a_package_that_onnx_lacks_is_named_first(tmp_path, convert, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.InputError, match=rf'pip install tf2onnx onnxruntime.*{package}'):
        convert('vgg', tmp_path / 'absent', tmp_path / 'out.onnx')
    assert not list(tmp_path.iterdir())


def test_an_exported_file_that_is_there_is_not_touched(tmp_path, convert):
    (tmp_path / 'out.onnx').write_text('theirs')
    with pytest.raises(errors.InputError, match='out.onnx: is there already'):
        convert('vgg', tmp_path / 'absent', tmp_path / 'out.onnx')
    assert (tmp_path / 'out.onnx').read_text() == 'theirs'

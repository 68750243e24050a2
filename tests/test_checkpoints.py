import os
from pathlib import Path

import numpy as np
import pytest

from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from deeplablib.weights import load_model as load_model_module
from deeplablib.weights.load_model import load_model, read_pretrained
from tests import golden
from tests.conversion import WIDTH, assert_same, narrow_values

VALUES = {
    'conv1/weights': np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    'conv1/weights/Momentum': np.ones((1, 2, 3), np.float32),
    'global_step': np.int64(7),
}
VGG = {'vgg': golden.NETWORKS['vgg']}


@pytest.fixture
def checkpoint(tmp_path):
    checkpoints.write(tmp_path / 'model.ckpt-7', VALUES)
    return tmp_path / 'model.ckpt-7'


@pytest.mark.parametrize(
    'named',
    ['', '.index', '.data-00000-of-00001', '.meta', 'folder', 'folder without state', 'state'],
)
def test_any_part_of_a_checkpoint_names_it(checkpoint, named):
    path = checkpoint.parent if 'folder' in named else f'{checkpoint}{named}'
    path = checkpoint.parent / 'checkpoint' if named == 'state' else path
    if named == 'folder without state':
        (checkpoint.parent / 'checkpoint').unlink()
    assert_same(checkpoints.read(path), VALUES)


def test_a_checkpoint_in_several_data_files_is_named_by_any_of_them(tmp_path):
    parts = [str(tmp_path / 'part0'), str(tmp_path / 'part1')]
    for part, name in zip(parts, ('a', 'b'), strict=True):
        tensors = [tf.constant([1.0, 2.0])]
        tf.raw_ops.SaveV2(prefix=part, tensor_names=[name], shape_and_slices=[''], tensors=tensors)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(tmp_path / 'model')
    )
    for part in ('', '.index', '.data-00000-of-00002', '.data-00001-of-00002'):
        assert set(checkpoints.read(tmp_path / f'model{part}')) == {'a', 'b'}
    (tmp_path / 'model.data-00001-of-00002').unlink()
    with pytest.raises(InputError, match='model: not a readable checkpoint'):
        checkpoints.read(tmp_path / 'model')


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    prefix = tmp_path / 'run[1]/model[a]'
    prefix.parent.mkdir()
    checkpoints.write(prefix, VALUES)
    for path in (prefix, prefix.parent, f'{prefix}.data-00000-of-00001'):
        assert_same(checkpoints.read(path), VALUES)
    checkpoints.remove(prefix)
    assert os.listdir(prefix.parent) == ['checkpoint']
    version_1 = prefix.parent / 'init.ckpt'
    tf.raw_ops.Save(filename=str(version_1), tensor_names=['v'], data=[np.ones(3, np.float32)])
    assert set(checkpoints.read(version_1)) == {'v'}


@pytest.fixture
def moved(checkpoint):
    """A folder of three checkpoints, the oldest step written last; returns its state file."""
    for step in (9, 3):
        checkpoints.write(checkpoint.with_name(f'model.ckpt-{step}'), {'v': np.float32(step)})
    return checkpoint.parent / 'checkpoint'


@pytest.mark.parametrize(
    'content',
    [
        b'model_checkpoint_path: "/elsewhere/model.ckpt-7"',
        b'model_checkpoint_path: "../elsewhere/model.ckpt-7"\nall_model_checkpoint_paths: "x"\n',
        rb'model_checkpoint_path: "C:\\runs\\new\\model.ckpt-7"',
        rb'model_checkpoint_path: "D:\runs\model.ckpt-7"',
        b'\xef\xbb\xbfmodel_checkpoint_path: "model.ckpt-7"\r\n',
        'model_checkpoint_path: "/elsewhere/model.ckpt-7"\r\n'.encode('utf-16'),
    ],
)
def test_a_state_file_from_elsewhere_names_a_checkpoint_of_its_folder(moved, caplog, content):
    moved.write_bytes(content)
    assert_same(checkpoints.read(moved.parent), VALUES)
    assert not caplog.records


def test_a_state_file_names_a_checkpoint_in_octal_digits(tmp_path):
    checkpoints.write(tmp_path / 'modèle', VALUES)
    checkpoints.write(tmp_path / 'other', {'v': np.float32(0)})
    (tmp_path / 'checkpoint').write_text(r'model_checkpoint_path: "/x/mod\303\250le"')
    assert checkpoints.find(tmp_path) == str(tmp_path / 'modèle')


def test_a_state_file_that_names_no_checkpoint_of_its_folder_is_refused(moved):
    moved.write_text('model_checkpoint_path: "/elsewhere/model.ckpt-5"')
    message = r'names model.ckpt-5, which is not .*: model.ckpt-3, model.ckpt-7, model.ckpt-9$'
    with pytest.raises(InputError, match=message):
        checkpoints.find(moved.parent)


@pytest.mark.parametrize('content', [None, b'\xff', b''])
def test_without_a_readable_state_file_the_last_step_is_taken_with_a_note(moved, capsys, content):
    moved.unlink() if content is None else moved.write_bytes(content)
    assert checkpoints.find(moved.parent).endswith('model.ckpt-9')
    assert 'no readable file `checkpoint`; its newest is model.ckpt-9' in capsys.readouterr().out


def test_a_folder_with_one_version_1_file_names_it(tmp_path):
    for name in ('a.ckpt', 'b.ckpt'):
        tf.raw_ops.Save(
            filename=str(tmp_path / name), tensor_names=['v'], data=[np.ones(3, np.float32)]
        )
        if name == 'a.ckpt':
            assert set(checkpoints.read(tmp_path)) == {'v'}
    with pytest.raises(InputError, match='no checkpoint in this folder'):
        checkpoints.read(tmp_path)


def test_the_newest_checkpoint_of_a_folder_is_read(checkpoint):
    checkpoints.write(checkpoint.parent / 'model.ckpt-8', {'v': np.float32(8)})
    assert set(checkpoints.read(checkpoint.parent)) == {'v'}


def test_a_version_1_file_is_read_value_for_value(tmp_path):
    values = golden.checkpoint_values('deeplab')
    path = tmp_path / 'deeplab_resnet_init.ckpt'
    tf.raw_ops.Save(filename=str(path), tensor_names=list(values), data=list(values.values()))
    assert not list(tmp_path.glob('*.index')), 'not a version 1 file'
    assert_same(checkpoints.read(path), values)


@pytest.mark.parametrize('encoder_name', ['deeplab', 'vgg'])
def test_tensorflow_1_restores_what_is_written_and_back(tmp_path, encoder_name):
    values = golden.checkpoint_values(encoder_name)
    checkpoints.write(tmp_path / 'ours', values)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(
                name, shape, initializer=tf.compat.v1.zeros_initializer(), use_resource=False
            )
            for name, shape in golden.layout(encoder_name).items()
        }
        saver = tf.compat.v1.train.Saver(list(variables.values()))
        saver.restore(session, str(tmp_path / 'ours'))
        assert_same(session.run(variables), values)
        saver.save(session, str(tmp_path / 'theirs'), write_meta_graph=False)
    assert_same(checkpoints.read(tmp_path / 'theirs'), values)


@pytest.mark.parametrize('encoder_name', ['res50', 'vgg_aspp', 'lite0'])
def test_a_network_is_built_as_wide_as_its_checkpoint(tmp_path, encoder_name):
    network = golden.NETWORKS[encoder_name]
    model = network.build(num_classes=5, width=3 / 64)
    values = {name: v.numpy() for name, v in network.variables(model).items()}
    checkpoints.write(tmp_path / 'narrow', values)
    name, loaded = load_model(golden.NETWORKS, tmp_path / 'narrow')
    assert name == encoder_name
    assert_same({n: v.numpy() for n, v in network.variables(loaded).items()}, values)


@pytest.mark.parametrize('encoder_name', golden.REFERENCE)
def test_a_network_is_known_by_the_names_of_its_variables(encoder_name):
    assert (
        load_model_module._recognise(golden.NETWORKS, golden.layout(encoder_name)) == encoder_name
    )


def test_bookkeeping_of_a_trainer_is_passed_over(tmp_path):
    values = narrow_values('vgg')
    extra = {f'{name}/Momentum': value for name, value in values.items()}
    # Sums of gradients of the original multi-scale trainer, which gives them no name.
    extra |= {'Variable': np.ones((3, 3, 3, 4)), 'Variable_1': np.ones(4)}
    checkpoints.write(tmp_path / 'm', values | extra | {'global_step': np.int64(3)})
    load_model(VGG, tmp_path / 'm')


def test_missing_extra_and_misshapen_variables_are_listed_together(tmp_path):
    values = narrow_values('vgg')
    del values['fc7_bias']
    values['conv2_1_weights'] = np.zeros((3, 3, 4, 9), np.float32)
    values['fc9_weights'] = np.zeros((1, 1), np.float32)
    checkpoints.write(tmp_path / 'm', values)
    with pytest.raises(InputError) as error:
        load_model(VGG, tmp_path / 'm')
    message = str(error.value)
    assert f'3 faults:\n  {tmp_path}/m does not fit the network; ' in message
    assert 'missing: fc7_bias [64]' in message
    assert 'wrong shape: conv2_1_weights is [3, 3, 4, 9], expected [3, 3, 4, 8]' in message
    assert 'extra: fc9_weights [1, 1]' in message


@pytest.mark.parametrize('number', [np.nan, np.inf])
def test_a_variable_that_is_not_finite_is_named(tmp_path, number):
    values = narrow_values('vgg')
    values['conv2_1_weights'] = np.full_like(values['conv2_1_weights'], number)
    checkpoints.write(tmp_path / 'm', values)
    with pytest.raises(InputError, match='m does not fit the network; not finite: conv2_1_weights'):
        load_model(VGG, tmp_path / 'm')


def test_more_classes_than_a_label_map_has_room_for_are_refused(tmp_path):
    network = golden.NETWORKS['vgg']
    for classes, fits in ((255, True), (256, False)):
        model = network.build(num_classes=classes, width=1 / 64)
        checkpoints.write(tmp_path / 'm', network.variables(model))
        if fits:
            load_model(VGG, tmp_path / 'm')
        else:
            with pytest.raises(InputError, match='m: 256 classes; label maps have room for 255'):
                load_model(VGG, tmp_path / 'm')


@pytest.mark.parametrize('shape', [(), (0,)])
@pytest.mark.parametrize('name', ['conv1_1_weights', 'fc8_bias'])
def test_a_variable_that_tells_the_size_of_a_network_may_have_any_shape(tmp_path, name, shape):
    checkpoints.write(tmp_path / 'm', narrow_values('vgg') | {name: np.zeros(shape, np.float32)})
    with pytest.raises(InputError, match=rf'wrong shape: {name} is \[0?\], expected'):
        load_model(VGG, tmp_path / 'm')


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoints.write(tmp_path / 'm', narrow_values('vgg'))
    resnets = {name: golden.NETWORKS[name] for name in ('deeplab', 'res101')}
    message = 'any of these networks: deeplab, res101; its variables are conv1_1_bias, '
    with pytest.raises(InputError, match=message):
        load_model(resnets, tmp_path / 'm')


@pytest.mark.parametrize(
    'encoder_name, form', [('vgg', 'scope'), ('vgg', 'Keras objects'), ('res50', 'Keras objects')]
)
def test_a_checkpoint_with_foreign_names_is_read(tmp_path, capsys, encoder_name, form):
    values = narrow_values(encoder_name)
    if form == 'Keras objects':
        network = golden.NETWORKS[encoder_name]
        model = network.build(width=WIDTH)
        for name, variable in network.variables(model).items():
            variable.assign(values[name])
        optimizer = keras.optimizers.SGD(momentum=0.9)
        optimizer.build(model.trainable_variables)
        prefix = tf.train.Checkpoint(model=model, optimizer=optimizer).save(tmp_path / 'ckpt')
    else:
        checkpoints.write(tmp_path / 'm', {f'model/net/{n}': v for n, v in values.items()})
        prefix = tmp_path / 'm'
    found, model = load_model(golden.NETWORKS, prefix)
    assert found == encoder_name
    for name, variable in golden.NETWORKS[found].variables(model).items():
        np.testing.assert_array_equal(variable, values[name], err_msg=name)
    assert (form == 'scope') == ('model/net/ is taken off' in capsys.readouterr().out)


def test_averaged_weights_are_passed_over_with_a_note(tmp_path, capsys):
    values = narrow_values('vgg')
    averages = {f'{name}/ExponentialMovingAverage': 2 * value for name, value in values.items()}
    checkpoints.write(tmp_path / 'm', values | averages)
    _, model = load_model(VGG, tmp_path / 'm')
    weights = golden.NETWORKS['vgg'].variables(model)['fc8_weights']
    np.testing.assert_array_equal(weights, values['fc8_weights'])
    assert 'averaged weights in it (NAME/Expon' in capsys.readouterr().out


def test_the_first_twenty_faults_are_listed_and_the_others_counted(tmp_path):
    checkpoints.write(tmp_path / 'm', {'conv1_1_weights': narrow_values('vgg')['conv1_1_weights']})
    with pytest.raises(InputError, match='31 faults') as error:
        load_model(VGG, tmp_path / 'm')
    lines = str(error.value).splitlines()
    assert len(lines) == 22 and lines[-1] == '  and 11 more'


def test_a_training_starts_from_all_that_a_file_holds_but_what_stands_behind(tmp_path):
    known = narrow_values('vgg')
    behind = {
        'fc8_extra_weights': np.ones((1, 1)),
        'resnet_v1_101/logits/weights': np.ones((1, 1)),
        'conv1_1_weights/Momentum': np.ones(3),
        'conv1_1_weights/Adam_1': np.ones(3),
        'conv1_1_weights/ExponentialMovingAverage': np.ones(3),
        'Variable_2': np.ones(3),
        'global_step': np.int64(3),
    }
    checkpoints.write(tmp_path / 'm', known | behind)
    values = read_pretrained(VGG['vgg'], tmp_path / 'm', known)
    assert_same({name: values[name] for name in known}, known)
    for name in ('conv3_4_weights', 'conv3_4/kernel_extra', 'layer3/fc1/weights'):
        checkpoints.write(tmp_path / 'm', known | {name: np.ones((1, 1))})
        with pytest.raises(InputError, match=f'm: holds layers that .* lacks, {name}; it is anot'):
            read_pretrained(VGG['vgg'], tmp_path / 'm', known)


@pytest.mark.parametrize(
    'lost, message',
    [
        (['.index'], 'data-* is there but'),
        (['.data-00000-of-00001'], 'index is there but'),
        (['.index', '.data-00000-of-00001'], 'no such checkpoint'),
    ],
)
def test_an_incomplete_checkpoint_is_named(checkpoint, lost, message):
    for part in lost:
        os.unlink(f'{checkpoint}{part}')
    for path in (checkpoint, f'{checkpoint}.index', f'{checkpoint}.data-00000-of-00001'):
        with pytest.raises(InputError, match='model.ckpt-7') as error:
            checkpoints.read(path)
        assert message in str(error.value)


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(InputError, match='no checkpoint in this folder'):
        checkpoints.read(tmp_path)


@pytest.mark.parametrize('part', ['.index', '.data-00000-of-00001'])
@pytest.mark.parametrize('damage', ['begin', 'end', 'empty', 'cut', 'garbage'])
def test_a_damaged_checkpoint_is_one_clear_line(checkpoint, part, damage):
    path = Path(f'{checkpoint}{part}')
    whole = path.read_bytes()
    content = {
        'begin': b'\xff' * 30 + whole[30:],
        'end': whole[:-9] + b'\xff' * 9,
        'empty': b'',
        'cut': whole[: len(whole) // 2],
        'garbage': np.random.default_rng(0).bytes(len(whole)),
    }[damage]
    path.write_bytes(content)
    with pytest.raises(InputError, match='not a readable checkpoint .*; copy its files') as error:
        checkpoints.read(checkpoint)
    assert str(checkpoint) in str(error.value) and '\n' not in str(error.value)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / 'a.ckpt'
    for content in (b'not a checkpoint at all' * 10, b''):
        path.write_bytes(content)
        with pytest.raises(InputError, match='a.ckpt: not a TensorFlow checkpoint; make one of it'):
            checkpoints.read(path)
    tf.raw_ops.Save(filename=str(path), tensor_names=['v'], data=[np.ones(300, np.float32)])
    path.write_bytes(path.read_bytes()[:500] + b'\xff' * 99 + path.read_bytes()[599:])
    with pytest.raises(InputError, match='a.ckpt: not a readable checkpoint'):
        checkpoints.read(path)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_rest(checkpoint):
    class Full:
        def __array__(self, *_, **__):
            raise OSError(28, 'No space left on device')

    before = sorted(os.listdir(checkpoint.parent))
    with pytest.raises((OSError, ValueError)):
        checkpoints.write(checkpoint, VALUES | {'x': Full()})
    assert sorted(os.listdir(checkpoint.parent)) == before
    assert_same(checkpoints.read(checkpoint), VALUES)


def test_a_checkpoint_is_written_elsewhere_and_then_moved(checkpoint, monkeypatch):
    def fail(*_):
        raise OSError(5, 'Input/output error')

    before = sorted(os.listdir(checkpoint.parent))
    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='Input/output error'):
        checkpoints.write(checkpoint.parent / 'model.ckpt-8', VALUES)
    assert sorted(os.listdir(checkpoint.parent)) == before

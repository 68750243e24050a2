"""Training runs of main.py on small networks: what they leave, and how they end."""

import os
import runpy
import shutil
import signal
import sys
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import main
from deeplablib.training import training_run
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import RunLog, read_log
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.weights import checkpoints
from tests import golden
from tests.command import refused, run_command
from tests.conversion import assert_same
from tests.training_run import make_samples, run_main

ORIGINAL_FLAGS = [
    *['option', 'num_steps', 'save_interval', 'random_seed', 'weight_decay', 'learning_rate'],
    *['power', 'momentum', 'encoder_name', 'pretrain_file', 'data_list', 'valid_step'],
    *['valid_num_steps', 'valid_data_list', 'out_dir', 'test_step', 'test_num_steps'],
    *['test_data_list', 'visual', 'data_dir', 'batch_size', 'input_height', 'input_width'],
    *['num_classes', 'ignore_label', 'random_scale', 'random_mirror', 'modeldir', 'logfile'],
    *['logdir', 'grad_update_every'],
]
ADDED_FLAGS = [
    *['restore_last', 'recipe', 'dropout_rate', 'shuffle', 'precision', 'resume', 'msc'],
    'strategy',
]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_samples(folder)
    return folder


def checkpoint(data, run, step):
    return checkpoints.read(data / run / f'model/model.ckpt-{step}')


@pytest.fixture(scope='module')
def whole_run(data):
    result = run_main(data, 'whole', save_interval=1)
    assert result.code == 0, result.error
    return {step: checkpoint(data, 'whole', step) for step in (0, 4)}, read_log(
        data / 'whole/log.txt'
    )


def copy_run(data, whole_run, run):
    """A copy of the whole run under another name; returns the folder of its checkpoints."""
    shutil.copytree(data / 'whole', data / run)
    return data / run / 'model'


def test_a_run_leaves_log_checkpoints_and_tensorboard(data):
    flags = {'logfile': None, 'logdir': None, 'save_interval': 3, 'max_to_keep': 2}
    result = run_main(data, 'first', **flags)
    assert result.code == 0, result.error
    model = data / 'first/model'
    lines = (model / 'log.txt').read_text().splitlines()
    assert [line.split(', ')[0] for line in lines] == ['0', '1', '2', '3', '4']
    assert all(len(line.split('.')[-1]) == 3 for line in lines)
    assert list(training_run.saved_steps(model)) == [3, 4], 'the last is saved in any case'
    assert checkpoints.find(model).endswith('model.ckpt-4')
    assert list((model / 'log').glob('events.out.tfevents.*'))


@pytest.mark.parametrize('encoder_name', ['deeplab', 'res50', 'vgg', 'vgg_aspp'])
def test_variables_have_the_original_names_and_momentum(encoder_name):
    network = golden.NETWORKS[encoder_name]
    trainer = Trainer(
        network.build(width=1 / 64), network, network.recipes['caffe'], Namespace(recompute=False)
    )
    layout = golden.layout(encoder_name)
    trained = [name for name in layout if not any(norm in name for norm in ('bn', 'BatchNorm'))]
    assert set(trainer.variables) == {*layout, *(f'{name}/Momentum' for name in trained)}
    for name in trained:
        assert trainer.variables[f'{name}/Momentum'].shape == trainer.variables[name].shape


def test_checkpoints_hold_momentum(whole_run):
    values = whole_run[0][4]
    slots = [name for name in values if name.endswith('/Momentum')]
    assert 2 * len(slots) == len(values) == 2 * len(golden.layout('vgg'))
    assert all(np.any(values[name]) for name in slots)


def test_a_frozen_encoder_stays_as_it_is_until_it_is_to_learn(data, whole_run):
    result = run_main(data, 'frozen', frozen=5)
    refused(result, '--frozen keeps weights of --pretrain_file')
    refused(run_main(data, 'frozen', output_stride=16), '--output_stride 16: not with vgg')
    flags = {'pretrain_file': data / 'whole/model/model.ckpt-4'}
    result = run_main(data, 'frozen', frozen=5, num_steps=2, **flags)
    assert result.code == 0, result.error
    before, after = whole_run[0][4], checkpoint(data, 'frozen', 2)
    encoder = [name for name in before if name.startswith('conv') and 'Momentum' not in name]
    for name in encoder:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert all('fc' in name for name in after if name.endswith('Momentum'))
    result = run_main(data, 'frozen', num_steps=4, resume_changed=True, **flags)
    assert result.code == 0, result.error
    learnt = checkpoint(data, 'frozen', 4)
    kernels = [name for name in encoder if name.endswith('weights')]
    assert not any(np.array_equal(learnt[name], before[name]) for name in kernels)


def test_a_finished_run_is_not_begun_again_or_overwritten(data, whole_run):
    before = (data / 'whole/log.txt').read_text()
    result = run_main(data, 'whole', save_interval=1)
    assert result.code == 0 and 'nothing is left to do' in result.out
    refused(run_main(data, 'whole', save_interval=1, resume=False), 'whole/model')
    assert (data / 'whole/log.txt').read_text() == before


def test_a_stopped_run_saves_its_step_and_goes_on_as_if_it_had_not_been(
    data, whole_run, monkeypatch
):
    def add_then_stop(log, step, *values):
        add(log, step, *values)
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    add, run = RunLog.add, 'stopped'
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, 'add', add_then_stop)
        result = run_main(data, run, save_interval=100)
    assert result.code == 130
    assert 'error: interrupted; step 1 is saved, the same command goes on from' in result.error
    assert list(training_run.saved_steps(data / run / 'model')) == [0, 1]
    with open(data / run / 'log.txt', 'a') as log:
        log.write('2, 9.999\n3, 9.9')  # a step that was not saved, and one cut off
    assert run_main(data, run, save_interval=100).code == 0
    assert_same(checkpoint(data, run, 4), whole_run[0][4])
    assert read_log(data / run / 'log.txt') == whole_run[1]


def flip_a_byte(index, data):
    contents = bytearray(data.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    data.write_bytes(contents)


def lose_data(index, data):
    data.unlink()


@pytest.mark.parametrize('damage', [flip_a_byte, lose_data])
def test_damaged_checkpoint_is_passed_over(data, whole_run, damage):
    run = damage.__name__
    prefix = copy_run(data, whole_run, run) / 'model.ckpt-4'
    parts = ('.index', '.data-00000-of-00001')
    damage(*(prefix.with_name(prefix.name + part) for part in parts))
    result = run_main(data, run, save_interval=1)
    assert result.code == 0, result.error
    assert 'passed over a checkpoint' in result.out and 'model.ckpt-3' in result.out
    assert_same(checkpoint(data, run, 4), whole_run[0][4])
    assert read_log(data / run / 'log.txt') == whole_run[1]


def test_what_a_killed_save_left_is_removed(data, whole_run):
    leftover = copy_run(data, whole_run, 'leftover') / '.model.ckpt-3.unfinished-abcd'
    leftover.mkdir(parents=True)
    (leftover / 'model.ckpt-3.data-00000-of-00001').write_bytes(b'half')
    assert run_main(data, 'leftover', save_interval=1).code == 0
    assert not leftover.exists()


def test_other_seeds_give_other_weights(data, whole_run):
    run_main(data, 'seed', random_seed=7, num_steps=1)
    name = 'conv1_1_weights'
    assert not np.array_equal(checkpoint(data, 'seed', 1)[name], whole_run[0][4][name])


def test_no_earlier_log_is_lost_and_spoilt_lines_do_not_stop_a_resume(data, whole_run, capsys):
    checkpoints.remove(copy_run(data, whole_run, 'spoilt') / 'model.ckpt-4')
    log = data / 'spoilt/log.txt'
    log.write_bytes(log.read_bytes() + b'\n\x00\x00\xff\n7')
    result = run_main(data, 'spoilt', save_interval=1)
    assert result.code == 0, result.error
    assert read_log(log) == whole_run[1]
    for ending in ('.old', '.old2'):
        before = log.read_text()
        RunLog(log, data / 'spoilt/log', 0)
        assert log.with_name(f'log.txt{ending}').read_text() == before
        assert f'is now {log}{ending}\n' in capsys.readouterr().out
        log.write_text('0, 1.0\n1, 1.0\n')


def test_a_list_without_masks_is_refused_even_without_the_check(data):
    (data / 'images.txt').write_text('/JPEGImages/s0.jpg\n')
    result = run_main(data, 'unmasked', data_list=data / 'images.txt', skip_check=True)
    refused(result, 'images.txt, line 1: no mask is named')


def test_images_of_one_name_in_two_folders_are_trained_on(data):
    (data / 'more').mkdir()
    shutil.copy(data / 'JPEGImages/s1.jpg', data / 'more/s0.jpg')
    line = '/{}/s0.jpg /SegmentationClassAug/s0.png\n'
    (data / 'same.txt').write_text(line.format('JPEGImages') + line.format('more'))
    assert run_main(data, 'same', data_list=data / 'same.txt', num_steps=1).code == 0


def test_a_step_that_is_not_there_is_named_with_those_that_are(data, whole_run):
    result = run_main(data, 'whole', option='predict', test_data_list=data / 'list.txt')
    refused(result, 'steps to name (--test_step) are 0, 1, 2, 3, 4')


def test_classifier_is_restored_only_when_asked(data, whole_run):
    pretrain = {'pretrain_file': data / 'whole/model/model.ckpt-4', 'num_steps': 1}
    # At the rate 0 the first step changes nothing.
    for run, flags, restored in [
        ('fresh', {}, ['conv1_1_weights', 'fc6_weights', 'fc7_bias']),
        ('authors', {'recipe': 'authors'}, ['conv1_1_weights', 'conv5_3_bias']),
        ('all', {'restore_last': True}, list(whole_run[0][4])),
    ]:
        result = run_main(data, run, learning_rate=0, **pretrain, **flags)
        assert result.code == 0, result.error
        values = checkpoint(data, run, 0)
        weights = [name for name in values if 'Momentum' not in name]
        same = [name for name in weights if np.array_equal(values[name], whole_run[0][4][name])]
        assert set(restored) & set(weights) <= set(same)
        assert ('fc8_weights' in same) == (run == 'all')
        assert ('fc6_weights' in same) == (run != 'authors')


def test_accumulated_gradients_are_those_of_the_larger_batch(data):
    # All samples must have as many labelled pixels: otherwise a mean of means is not the mean.
    folder = data / 'even'
    make_samples(folder)
    for mask in (folder / 'SegmentationClassAug').iterdir():
        labels = np.array(Image.open(mask))
        Image.fromarray(np.where(labels == 255, 0, labels)).save(mask)
    flags = {
        'dropout_rate': 0,
        'random_scale': False,
        'num_steps': 3,
        'input_height': 17,
        'input_width': 17,
    }
    assert run_main(folder, 'large', batch_size=4, **flags).code == 0
    result = run_main(folder, 'small', batch_size=1, grad_update_every=4, **flags)
    assert result.code == 0, result.error
    found, expected = (checkpoint(folder, run, 3) for run in ('small', 'large'))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], 1e-4, 1e-6, err_msg=name)


def test_multi_scale_training_sums_four_losses(data, whole_run):
    assert run_main(data, 'msc', num_steps=2, msc=True, grad_update_every=2).code == 0
    _, losses = read_log(data / 'msc/log.txt')
    # An untrained network gives all classes much the same probability, at every scale.
    assert losses[0] == pytest.approx(4 * whole_run[1][1][0], rel=0.2)
    assert len(losses) == 3


def test_bfloat16_trains_float32_variables(data, whole_run, monkeypatch):
    monkeypatch.setattr(main, 'require_precision', lambda precision: None)  # slow, but it works
    result = run_main(data, 'bfloat16', save_interval=1, precision='bfloat16', dropout_rate=0)
    assert result.code == 0, result.error
    assert run_main(data, 'float32', save_interval=1, dropout_rate=0).code == 0
    values = checkpoint(data, 'bfloat16', 4)
    assert {value.dtype for value in values.values()} == {np.dtype('float32')}
    losses, expected = (read_log(data / run / 'log.txt')[1] for run in ('bfloat16', 'float32'))
    np.testing.assert_allclose(losses, expected, rtol=0.01)
    assert not np.array_equal(
        values['conv1_1_weights'], checkpoint(data, 'float32', 4)['conv1_1_weights']
    )


def test_test_and_predict_use_the_trained_checkpoint(data, whole_run, monkeypatch):
    flags = {'option': 'test', 'valid_step': 4, 'valid_data_list': data / 'list.txt'}
    result = run_main(data, 'whole', **flags)
    assert result.code == 0, result.error
    assert 'mean IoU' in result.out and 'pixel accuracy' in result.out and 'class 3' in result.out
    assert 'IMG_MEAN' not in result.out
    with monkeypatch.context() as patch:
        patch.setattr(main, 'IMG_MEAN', (1.0, 2.0, 3.0))
        result = run_main(data, 'whole', **flags)
    assert 'model.ckpt-4 was trained with IMG_MEAN 104.0' in result.out
    assert 'here it is 1.0, 2.0, 3.0' in result.out
    result = run_main(
        data,
        'whole',
        option='predict',
        test_step=4,
        test_data_list=data / 'list.txt',
        test_num_steps=3,
    )
    assert result.code == 0, result.error
    indices = sorted((data / 'whole/output/prediction').iterdir())
    colours = sorted((data / 'whole/output/visual_prediction').iterdir())
    assert [path.name for path in indices] == [f's{i}_mask.png' for i in range(3)]
    assert [path.name for path in colours] == [f's{i}_mask_visual.png' for i in range(3)]
    labels, picture = Image.open(indices[0]), Image.open(colours[0])
    assert labels.mode == 'L' and labels.size == (33, 40) and np.array(labels).max() < 4
    assert picture.mode == 'RGB' and picture.size == labels.size


def test_predictions_overwrite_neither_each_other_nor_the_data(data, whole_run):
    flags = {'option': 'predict', 'test_step': 4, 'modeldir': data / 'whole/model'}
    lists = data / 'twice.txt'
    (data / 'others').mkdir()
    shutil.copy(data / 'JPEGImages/s0.jpg', data / 'others')
    lists.write_text('s0\n/others/s0.jpg\n')
    result = run_main(data, 'twice', **flags, test_data_list=lists)
    refused(result, 'line 2', 'under one name, s0_mask.png')
    for file in ('prediction/s0_mask.png', 'visual_prediction/s0_mask_visual.png'):
        image = data / f'twice/output/{file}'
        make_output_folder(image.parent)
        Image.open(data / 'JPEGImages/s0.jpg').save(image)
        lists.write_text(f's0\n/twice/output/{file}\n')
        result = run_main(data, 'twice', **flags, test_data_list=lists)
        refused(result, f'{file}: would be overwritten')


def test_a_checkpoint_for_another_number_of_classes_is_refused(data, whole_run):
    flags = {'option': 'predict', 'modeldir': data / 'whole/model', 'num_classes': 21}
    flags |= {'test_step': 4, 'test_data_list': data / 'list.txt'}
    result = run_main(data, 'classes', **flags)
    refused(result, '--num_classes 21, but the network in', 'model.ckpt-4 has 4')


def test_learning_rate_that_diverges_stops_the_run(data):
    result = run_main(data, 'diverged', learning_rate=1e9, num_steps=50, save_interval=50)
    refused(result, 'step', 'lower the learning rate', 'JPEGImages/s')
    saved = checkpoint(data, 'diverged', 0)
    assert all(np.isfinite(value).all() for value in saved.values())


def test_weights_that_are_not_finite_are_not_saved(data):
    # The loss of step 0 is as good as ever: only the step itself is too long for float32.
    result = run_main(data, 'infinite', learning_rate=1e38, num_steps=1)
    refused(result, 'step 0', 'diverges')
    assert not training_run.saved_steps(data / 'infinite/model')


def test_two_runs_do_not_share_a_folder(data):
    modeldir = make_output_folder(data / 'shared/model')
    with locked(modeldir):
        refused(run_main(data, 'shared'), modeldir, 'another process')


def test_image_that_cannot_be_decoded_is_named(data):
    folder = data / 'broken'
    make_samples(folder)
    path = folder / 'JPEGImages/s2.jpg'
    contents = path.read_bytes()
    path.write_bytes(contents[:300] + contents[-2:])
    result = run_main(folder, skip_check=True)
    refused(result, path, 'line 3')


@pytest.mark.parametrize(
    'flags, words',
    [
        ({'num_steps': 0}, ['num_steps']),
        ({'batch_size': -1}, ['batch_size']),
        ({'option': 'tarin'}, ['option']),
        ({'encoder_name': 'resnet'}, ['encoder_name', 'res101']),
        ({'learning_rate': 'fast'}, ['learning_rate']),
        ({'no_such_flag': 1}, ['no_such_flag']),
        ({'width': 0.3}, ['width']),
        (
            # Flags come before any file.
            {'train_batch_norm': True, 'recompute': True, 'data_list': '/nonexistent.txt'},
            ['--train_batch_norm'],
        ),
        ({'data_dir': '/nonexistent'}, ['/nonexistent']),
        ({'data_list': '/nonexistent.txt'}, ['/nonexistent.txt']),
        ({'pretrain_file': '/nonexistent.ckpt'}, ['/nonexistent.ckpt']),
        ({'modeldir': '/proc/model'}, ['/proc/model', 'cannot write']),
        ({'logfile': '/proc/log.txt'}, ['/proc/log.txt', 'cannot write']),
        ({'logdir': '/proc/log'}, ['/proc/log', 'cannot write']),
        ({'option': 'test', 'valid_step': 77}, ['model.ckpt-77']),
    ],
)
def test_bad_flags_are_one_line(data, flags, words):
    lists = {'valid_data_list': data / 'list.txt'}
    refused(run_main(data, 'bad', **lists | flags), *words)


def test_a_modeldir_with_another_network_is_refused(data, whole_run):
    model = copy_run(data, whole_run, 'taken')
    result = run_main(data, 'taken', width=1 / 32)
    refused(result, model, 'width', 'give this one a folder of its own')
    result = run_main(data, 'taken', width=1 / 32, resume_changed=True)
    refused(result, model, 'give this one a folder of its own')


def test_pretrained_file_of_another_network_is_refused(data):
    golden.narrow_checkpoint(data / 'other', 'res50', 1 / 64)
    result = run_main(data, 'refused', pretrain_file=data / 'other')
    refused(result, data / 'other', 'missing: conv1_1_weights')
    flags = {'encoder_name': 'res50', 'width': 1 / 32, 'pretrain_file': data / 'other'}
    result = run_main(data, 'refused', **flags)
    refused(result, 'wrong shape: resnet_v1_50/conv1/weights')


def test_bad_samples_are_listed_before_the_first_step(data):
    folder = data / 'bad_samples'
    make_samples(folder)
    (folder / 'JPEGImages/s0.jpg').unlink()
    (folder / 'SegmentationClassAug/s2.png').unlink()
    result = run_main(folder)
    refused(result, '2 faults', 's0.jpg', 's2.png', 'line 1', 'line 3')
    make_samples(folder)
    Image.fromarray(np.full((40, 33), 4, np.uint8)).save(folder / 'SegmentationClassAug/s1.png')
    Image.fromarray(np.zeros((33, 40), np.uint8)).save(folder / 'SegmentationClassAug/s3.png')
    refused(run_main(folder), 's1.png', 'value 4', 's3.png', '40x33')


def test_help_names_every_flag():
    result = run_command('main', '--help')
    assert result.code == 0
    for flag in ORIGINAL_FLAGS + ADDED_FLAGS:
        assert f'--{flag}:' in result.out or f'--[no]{flag}:' in result.out, flag


def test_the_script_can_run_twice_in_one_process(monkeypatch, capsys):
    """As %run does in a notebook."""
    monkeypatch.setattr(sys, 'argv', ['main.py', '--help'])
    for _ in range(2):
        runpy.run_path(main.__file__, run_name='__main__')
        assert '--num_steps:' in capsys.readouterr().out

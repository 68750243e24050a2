"""Validation while training: what is measured, and which checkpoint is kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from deeplablib.training.training_log import read_log
from deeplablib.training.validation import Validation
from deeplablib.weights import checkpoints
from tests import golden
from tests.command import run_command
from tests.training_run import make_samples, run_main


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_samples(folder)
    return folder


@pytest.fixture(scope='module')
def run(data):
    """A run that validates after steps 2, 4, 6 and at the end, and saves none of them but that."""
    flags = {'valid_data_list': data / 'list.txt', 'valid_num_steps': 3, 'valid_every': 2}
    flags |= {'num_steps': 7, 'save_interval': 7, 'learning_rate': 0.05}
    result = run_main(data, 'valid', **flags)
    assert result.code == 0, result.error
    return SimpleNamespace(folder=data / 'valid/model', out=result.out)


def test_the_mean_iou_of_a_validation_is_that_of_a_test(data, run):
    steps, values = read_log(run.folder / 'validation.txt')
    assert steps == [2, 4, 6, 7]
    flags = {'option': 'test', 'valid_step': 7, 'valid_data_list': data / 'list.txt'}
    result = run_main(data, 'valid', valid_num_steps=3, **flags)
    assert f'mean IoU           {100 * values[-1]:5.2f}' in result.out
    assert f'step 7: validation {values[-1]:.4f}, the best' in run.out


def test_the_best_checkpoint_is_loaded_by_its_name_and_is_not_the_newest(data, run):
    steps, values = read_log(run.folder / 'validation.txt')
    best = checkpoints.read(run.folder / 'model.ckpt-best')
    assert set(best) == set(golden.layout('vgg'))
    assert (
        f'step {steps[int(np.argmax(values))]}: validation {max(values):.4f}, the best so far'
        in (run.out)
    )
    assert checkpoints.find(run.folder).endswith('model.ckpt-7')
    arguments = ('--data-dir', data, '--data-list', data / 'list.txt', '--single-scale')
    arguments += ('--num-steps', '3', '--save-dir', data / 'best')
    result = run_command(
        'test_vocspsm_vgg', *arguments, '--restore-from', run.folder / 'model.ckpt-best'
    )
    assert result.code == 0, result.error
    assert f'{100 * max(values):8.2f}' in result.out


def validate(values, steps, folder, first_step):
    """Validate a network whose one weight is the step, after those of some steps that are due."""
    weight = SimpleNamespace(value=0)
    network = SimpleNamespace(variables=lambda model: {'w': np.float32(weight.value)})
    settings = SimpleNamespace(valid_every=2, num_steps=9)
    trainer = SimpleNamespace(model=None, network=network, settings=settings)
    validation = Validation(trainer, lambda: values[weight.value], folder, first_step)
    for weight.value in steps:
        if validation.is_due(weight.value):
            validation(weight.value)


VALUES = {2: 0.3, 4: float('nan'), 6: 0.5, 8: 0.4, 9: 0.5}


def test_the_step_with_the_highest_value_is_kept_also_after_a_stop(tmp_path):
    validate(VALUES, range(10), tmp_path, 0)
    assert read_log(tmp_path / 'validation.txt')[0] == [2, 4, 6, 8, 9]
    assert checkpoints.read(tmp_path / 'model.ckpt-best')['w'] == 6
    whole = (tmp_path / 'validation.txt').read_bytes()
    # The run is stopped after step 8, of which nothing was saved, and goes on from 5.
    for stopped in (6, 9):
        validate(VALUES, range(stopped), tmp_path, 0)
        validate(VALUES, range(5, 10), tmp_path, 5)
        assert (tmp_path / 'validation.txt').read_bytes() == whole
        assert checkpoints.read(tmp_path / 'model.ckpt-best')['w'] == 6


@pytest.mark.parametrize(
    'flags, message',
    [
        ({'valid_data_list': '/nonexistent.txt'}, '/nonexistent.txt: cannot read the list'),
        ({'valid_every': -1}, 'valid_every'),
    ],
)
def test_bad_flags_are_named_before_the_first_step(data, flags, message):
    result = run_main(data, 'bad', **({'valid_every': 2} | flags))
    assert result.code == 2 and message in result.error


def test_a_resume_that_validates_otherwise_chooses_its_best_anew(data):
    flags = {'valid_data_list': data / 'list.txt', 'valid_every': 1, 'num_steps': 4}
    assert run_main(data, 'anew', valid_num_steps=1, **flags).code == 0
    model = data / 'anew/model'
    for path in model.glob('model.ckpt-4*'):
        path.unlink()
    result = run_main(data, 'anew', valid_num_steps=2, **flags)
    assert result.code == 0, result.error
    assert 'validation is not what it was' in result.out
    assert read_log(model / 'validation.txt')[0] == [2, 3, 4]


def test_a_run_that_is_stopped_while_it_validates_makes_up_for_it(data, run, monkeypatch):
    def stop(validation, step):
        raise KeyboardInterrupt

    flags = {'valid_data_list': data / 'list.txt', 'valid_num_steps': 3, 'valid_every': 2}
    flags |= {'num_steps': 7, 'save_interval': 7, 'learning_rate': 0.05}
    with monkeypatch.context() as patch:
        patch.setattr(Validation, '__call__', stop)
        result = run_main(data, 'made_up', **flags)
    assert result.code == 130 and 'interrupted; step 2 is saved' in result.error
    assert run_main(data, 'made_up', **flags).code == 0
    folder = data / 'made_up/model'
    assert read_log(folder / 'validation.txt') == read_log(run.folder / 'validation.txt')

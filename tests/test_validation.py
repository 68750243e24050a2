"""Validation while training: what is measured, and which checkpoint is kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from deeplablib.data.image_lists import read_list
from deeplablib.training.training_log import read_log
from deeplablib.training.validation import Validation, crf_agreement_on
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


def test_the_best_checkpoint_of_a_resnet_is_read_by_its_test_script(data):
    flags = {'valid_data_list': data / 'list.txt', 'valid_every': 1, 'num_steps': 2}
    result = run_main(data, 'resnet', encoder_name='res50', batch_size=1, **flags)
    assert result.code == 0, result.error
    steps, values = read_log(data / 'resnet/model/validation.txt')
    assert steps == [1, 2]
    arguments = ('--data-dir', data, '--data-list', data / 'list.txt', '--single-scale')
    arguments += ('--save-dir', data / 'best_resnet')
    best = data / 'resnet/model/model.ckpt-best'
    result = run_command('test_vocspsm_resnet', *arguments, '--restore-from', best)
    assert result.code == 0, result.error
    assert f'{100 * max(values):8.2f}' in result.out


def stand_in(values, folder, first_step):
    """A Validation of a network whose one weight is the step, and its log."""
    weight, logged = SimpleNamespace(value=0), []
    network = SimpleNamespace(
        to_score_map=None, variables=lambda model: {'w': np.float32(weight.value)}
    )
    trainer = SimpleNamespace(
        model=SimpleNamespace(output=np.zeros((1, 1, 1, 2))),
        is_finite=lambda: True,
        batches=SimpleNamespace(img_mean=(0, 0, 0)),
        settings=SimpleNamespace(num_steps=len(values) - 1),
    )
    log = SimpleNamespace(add_value=lambda *row: logged.append(row))

    def measure(predict):
        return values[weight.value]

    validation = Validation(trainer, network, measure, 2, folder, log, first_step)

    def go(steps):
        for weight.value in steps:
            validation(weight.value)
        return logged

    return go


VALUES = [0.9, 0.9, 0.3, 0.9, float('nan'), 0.9, 0.5, 0.9, 0.4, 0.5]


def test_the_step_with_the_highest_value_is_kept_also_after_a_stop(tmp_path):
    logged = stand_in(VALUES, tmp_path, 0)(range(10))
    assert [row[0] for row in logged] == [2, 4, 6, 8, 9] and logged[2][2] == 0.5
    assert checkpoints.read(tmp_path / 'model.ckpt-best')['w'] == 6
    whole = (tmp_path / 'validation.txt').read_bytes()
    # The run is stopped after step 8, of which nothing was saved, and goes on from 5.
    for stopped in (6, 8):
        stand_in(VALUES, tmp_path, 0)(range(stopped))
        stand_in(VALUES, tmp_path, 5)(range(5, 10))
        assert (tmp_path / 'validation.txt').read_bytes() == whole
        assert checkpoints.read(tmp_path / 'model.ckpt-best')['w'] == 6


def test_agreement_with_the_crf_needs_no_true_masks(data):
    samples = read_list(data / 'list.txt', data)[:2]
    rng = np.random.default_rng(0)
    scores = rng.random((5, 5, 4), np.float32)

    def predict(image):
        return None, SimpleNamespace(numpy=lambda: scores)

    value = crf_agreement_on(predict, samples, 4, 255, 'probabilities')
    assert 0 < value < 1
    whole = scores.copy()
    scores[..., 0] = 100  # background for sure: the CRF changes nothing, but the tags are missed
    assert crf_agreement_on(predict, samples, 4, 255, 'probabilities') == 0.5
    scores[...] = whole
    assert crf_agreement_on(predict, samples, 4, 255, 'probabilities') == value


@pytest.mark.parametrize(
    'flags, message',
    [
        ({'valid_data_list': '/nonexistent.txt'}, '/nonexistent.txt: cannot read the list'),
        ({'valid_every': -1}, 'valid_every'),
        ({'valid_by': 'luck'}, 'valid_by'),
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
    assert read_log(model / 'validation.txt')[0] == [3, 4]

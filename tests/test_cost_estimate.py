from pathlib import Path
from types import SimpleNamespace

import pytest

from deeplab_vgg import NETWORKS
from deeplablib.network.flops import forward_flops
from deeplablib.run.stage_runner import Stage
from experiments.cost_estimate import Cost, estimate, report

FLAGS = SimpleNamespace(
    num_steps=10,
    batch_size=4,
    grad_update_every=1,
    msc=False,
    input_height=33,
    input_width=49,
    save_interval=4,
    max_to_keep=0,
)
SIZE = (48, 64)


@pytest.fixture(scope='module')
def model():
    return NETWORKS['vgg'].build(width=1 / 64)


def cost_of(model, *command, **flags):
    read_flags = lambda _: SimpleNamespace(**vars(FLAGS) | flags)  # noqa: E731
    stage = Stage('a', command, Path('a'))
    return estimate([stage], model, {'five.txt': 5}, read_flags, SIZE)


def test_a_training_costs_three_passes_for_each_crop_of_each_step(model):
    cost = cost_of(model, 'main.py')
    assert cost.training == 11 * 4 * 3 * forward_flops(model, 33, 49)
    assert cost_of(model, 'main.py', grad_update_every=3).training == 3 * cost.training
    scaled = sum(forward_flops(model, *size) for size in ((33, 49), (24, 36), (16, 24)))
    assert cost_of(model, 'main.py', msc=True).training == 11 * 4 * 3 * scaled


def test_checkpoints_hold_weights_and_momentum(model):
    values = sum(w.numpy().size for w in (*model.weights, *model.trainable_weights))
    assert cost_of(model, 'main.py').bytes == 4 * 4 * values, 'of steps 0, 4, 8 and 10'
    assert cost_of(model, 'main.py', num_steps=8).bytes == 3 * 4 * values
    assert cost_of(model, 'main.py', max_to_keep=2).bytes == 2 * 4 * values


def test_a_prediction_costs_a_pass_for_each_scale(model):
    command = ('test_vocspsm_resnet.py', '--data-list', Path('five.txt'), '--save-dir', 'x')
    one = cost_of(model, *command, '--single-scale')
    assert one.prediction == 5 * forward_flops(model, *SIZE)
    three = cost_of(model, *command, '--save-scores', 'y')
    sizes = (SIZE, (36, 48), (24, 32))
    assert three.prediction == 5 * sum(forward_flops(model, *size) for size in sizes)
    assert three.bytes - one.bytes == 5 * 6 * 8 * 21 * 2


def test_tags_make_the_crf_cheaper(model):
    every = cost_of(model, 'crf_vocspsm.py', '--data-list', 'five.txt')
    tagged = cost_of(model, '-m', 'selection.refine', '--data-list', 'five.txt', '--tags', 't')
    assert 0 < tagged.crf < every.crf


def test_what_is_small_costs_nothing(model):
    assert cost_of(model, 'eval_iou.py', '--json', 'x') == Cost()
    assert cost_of(model, '-m', 'selection.masks', '--data-list', 'five.txt') == Cost()


def test_the_report_is_for_this_machine(tmp_path):
    text = report(Cost(1e9, 2e9, 7200, 3, 5e9), 'float32', tmp_path / 'not/yet/there')
    assert 'training              1 GFLOP' in text and 'prediction            2 GFLOP' in text
    assert '2.0 core hours' in text and '3 times  45 s' in text
    assert '5 GB' in text and f'free at {tmp_path}' in text

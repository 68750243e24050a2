from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from deeplab_vgg.vgg import NETWORKS
from deeplablib.network.flops import forward_flops
from deeplablib.training.training_settings import TrainingSettings
from deeplablib.utils.stages import Stage
from experiments.cost_estimate import PHOTOGRAPH, Cost, estimate, estimate_text, mean_size
from selection.rounds.round_stages import Prediction, Refinement, Training

SETTINGS = TrainingSettings(
    num_steps=10, batch_size=4, input_height=33, input_width=49, save_interval=4
)
SIZE = (48, 64)
FIVE = Path('five.txt')


@pytest.fixture(scope='module')
def model():
    return NETWORKS['vgg'].build(width=1 / 64)


def cost_of(model, work):
    return estimate([Stage('a', (), Path('a'), work=work)], model, {FIVE: 5}, SIZE)


def training_cost(model, **changes):
    return cost_of(model, Training(replace(SETTINGS, **changes)))


def test_a_training_costs_three_passes_for_each_crop_of_each_step(model):
    cost = training_cost(model)
    assert cost.training == 11 * 4 * 3 * forward_flops(model, 33, 49)
    assert training_cost(model, grad_update_every=3).training == 3 * cost.training
    scaled = sum(forward_flops(model, *size) for size in ((33, 49), (24, 36), (16, 24)))
    assert training_cost(model, msc=True).training == 11 * 4 * 3 * scaled
    assert training_cost(model, frozen=4).training == cost.training
    assert training_cost(model, frozen=5).training == pytest.approx(cost.training * 1.2 / 3)


def test_checkpoints_hold_weights_and_momentum(model):
    values = sum(w.numpy().size for w in (*model.weights, *model.trainable_weights))
    assert training_cost(model).bytes == 4 * 4 * values, 'of steps 0, 4, 8 and 10'
    assert training_cost(model, num_steps=8).bytes == 3 * 4 * values
    assert training_cost(model, max_to_keep=2).bytes == 2 * 4 * values


def test_a_prediction_costs_a_pass_for_each_scale(model):
    one = cost_of(model, Prediction(FIVE, single_scale=True, saves_score_maps=False))
    assert one.prediction == 5 * forward_flops(model, *SIZE)
    three = cost_of(model, Prediction(FIVE, single_scale=False, saves_score_maps=True))
    sizes = (SIZE, (36, 48), (24, 32))
    assert three.prediction == 5 * sum(forward_flops(model, *size) for size in sizes)
    assert three.bytes - one.bytes == 5 * 6 * 8 * 21 * 2


def test_tags_make_the_crf_cheaper(model):
    every = cost_of(model, Refinement(FIVE, has_tags=False))
    tagged = cost_of(model, Refinement(FIVE, has_tags=True))
    assert 0 < tagged.crf < every.crf


def test_what_is_small_costs_nothing(model):
    assert cost_of(model, None) == Cost()


def test_the_size_of_photographs_is_their_mean(tmp_path):
    paths = []
    for width, height in ((40, 20), (20, 40), (30, 33)):
        paths.append(tmp_path / f'{width}.png')
        Image.new('RGB', (width, height)).save(paths[-1])
    assert mean_size(paths) == (31, 30), 'height, width'
    broken = tmp_path / 'broken.png'
    broken.write_bytes(paths[0].read_bytes()[:40])
    assert mean_size([*paths, broken, tmp_path / 'not_there.png']) == (31, 30)
    assert mean_size([broken]) == PHOTOGRAPH, 'what most of VOC has'


def test_the_report_is_for_this_machine(tmp_path):
    text = estimate_text(Cost(1e9, 2e9, 7200, 3, 5e9), 'float32', tmp_path / 'not/yet/there')
    assert 'training              1 GFLOP' in text and 'prediction            2 GFLOP' in text
    assert '2.0 core hours' in text and '3 times  45 s' in text
    assert '5 GB' in text and f'free at {tmp_path}' in text

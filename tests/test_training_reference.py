"""main.py against the original trainers: three steps on one batch, full-size networks."""

import json

import numpy as np
import pytest

from deeplablib.training import objective, training_run
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import read_log
from deeplablib.utils.backend import keras, tf
from deeplablib.weights import checkpoints
from tests import golden
from tests.command import run_command

# The original's flags, and what is added to reproduce a run without any chance in it.
FLAGS = {
    'data_dir': golden.FOLDER / 'train_65x65',
    'data_list': golden.FOLDER / 'train_65x65/list.txt',
    'batch_size': 2,
    'input_height': 65,
    'input_width': 65,
    'random_scale': False,
    'random_mirror': False,
    'shuffle': False,
    'dropout_rate': 0,
    'restore_last': True,
}


def race_as_tensorflow_1(monkeypatch):
    """Train with the race that the reference run of the ResNet trainer shows.

    Variables of TensorFlow 1 are updated in place, as soon as their own gradient is known. In that
    run the kernels of the four classifiers were updated before the gradient went on through them
    into the encoder. Its first step left the classifiers far off, so that this gradient is sixty
    times the true one; at the rates of a real run the two agree. Only this is replaced here; the
    VGG run, where the classifiers' steps are small, is reproduced to five digits without.
    """
    step_of_device, true_loss, now = Trainer._step_of_device, objective.pixel_loss, {}

    def remembering(self, images, labels, step):
        settings = self.settings
        now['trainer'] = self
        now['rate'] = objective.poly_rate(
            step, settings.learning_rate, settings.num_steps, settings.power
        )
        return step_of_device(self, images, labels, step)

    def raced_loss(model, images, targets, counts, outputs):
        """The true loss; its gradient is the raced one."""
        trainer, settings = now['trainer'], now['trainer'].settings
        variables = [v.value for v in trainer._trainable.values()]
        with tf.GradientTape() as tape:
            loss = true_loss(model, images, targets, counts, outputs)
        gradients = tape.gradient(loss, variables)
        updated = []
        for (name, kernel), gradient in zip(trainer._trainable.items(), gradients, strict=True):
            if 'fc' in name and objective.is_kernel(name):
                gradient += settings.weight_decay * kernel.value
                velocity = settings.momentum * trainer._slots[f'{name}/Momentum'] + gradient
                updated.append((kernel, kernel.value - 10 * now['rate'] * velocity))
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            tape.watch(logits)
            scores_loss = true_loss(lambda *_, **__: logits, images, targets, counts, outputs)
        logits_gradient = tape.gradient(scores_loss, logits)
        with tf.GradientTape() as tape, keras.StatelessScope(state_mapping=updated):
            through_updated = tf.reduce_sum(model(images, training=True) * logits_gradient)
        raced = tape.gradient(through_updated, variables)
        products = [
            tf.reduce_sum(tf.stop_gradient(true if 'fc' in name else race) * variable)
            for name, variable, true, race in zip(
                trainer._trainable, variables, gradients, raced, strict=True
            )
        ]
        gradients_only = tf.add_n(products)
        return tf.stop_gradient(loss) + (gradients_only - tf.stop_gradient(gradients_only))

    monkeypatch.setattr(Trainer, '_step_of_device', remembering)
    monkeypatch.setattr(objective, 'pixel_loss', raced_loss)


def run_reference(encoder_name, recipe, folder, monkeypatch):
    """Run main.py as the reference was run. Returns its losses and the last checkpoint's values."""
    name = golden.REFERENCE[encoder_name]
    reference = json.loads((golden.FOLDER / f'train_{name}_65x65.json').read_text())
    last_step = reference['steps'] - 1
    checkpoints.write(folder / 'initial', golden.checkpoint_values(encoder_name))

    def save_then_interrupt(trainer, modeldir, step, max_to_keep):
        save(trainer, modeldir, step, max_to_keep)
        if step == last_step:
            raise KeyboardInterrupt

    save = training_run.save
    monkeypatch.setattr(training_run, 'save', save_then_interrupt)
    flags = FLAGS | {
        'encoder_name': encoder_name,
        'recipe': recipe,
        'learning_rate': reference['lr'],
        'num_steps': reference['num_steps'],
        'save_interval': last_step,
        'pretrain_file': folder / 'initial',
        'modeldir': folder / 'model',
        'logfile': folder / 'log.txt',
        'logdir': folder / 'log',
    }
    result = run_command('main', *(f'--{flag}={value}' for flag, value in flags.items()))
    assert 'interrupted' in result.error
    steps, losses = read_log(folder / 'log.txt')
    assert steps == list(range(reference['steps']))
    return reference, losses, checkpoints.read(folder / f'model/model.ckpt-{last_step}')


def test_losses_equal_those_of_the_original_without_its_race(tmp_path, monkeypatch):
    # The original graph on the same batch, with every update held back until all gradients are
    # known (and, the same to all digits, with resource variables).
    expected = [32.57766, 157.96767, 396.8928]
    _, losses, _ = run_reference('deeplab', 'caffe', tmp_path, monkeypatch)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize('encoder_name, recipe', [('deeplab', 'caffe'), ('vgg', 'authors')])
def test_losses_and_updates_equal_those_of_the_original(
    encoder_name, recipe, tmp_path, monkeypatch
):
    if encoder_name == 'deeplab':
        race_as_tensorflow_1(monkeypatch)
    reference, losses, trained = run_reference(encoder_name, recipe, tmp_path, monkeypatch)
    np.testing.assert_allclose(losses, reference['losses'], rtol=1e-3)

    initial = golden.checkpoint_values(encoder_name)
    assert set(trained) == set(reference['globals'])
    for name, (norm, change_norm, change_sum) in reference['vars'].items():
        change = trained[name].astype(np.float64) - initial[name]
        assert np.linalg.norm(trained[name]) == pytest.approx(norm, rel=1e-4), name
        assert np.linalg.norm(change) == pytest.approx(change_norm, rel=0.02), name
        assert change.sum() == pytest.approx(
            change_sum, abs=0.02 * change_norm * change.size**0.5
        ), name

from types import SimpleNamespace

import numpy as np
import pytest

from deeplablib.network.folding import fold_for_training
from deeplablib.training.trainer import Trainer
from deeplablib.utils.backend import tf
from selection.make_cams import make_cam_function
from selection.train_classifier import RECIPE
from tests import golden
from tests.gpu_kernels import without_gpu_kernel

SETTINGS = {
    'num_steps': 10,
    'learning_rate': 1e-3,
    'power': 0.9,
    'momentum': 0.9,
    'weight_decay': 5e-4,
    'random_seed': 1,
    'recompute': False,
    'output_stride': 8,
    'warmup_steps': 5,
}


@pytest.mark.parametrize(
    'encoder_name, precision, multi_scale',
    [
        ('res50', 'float32', False),
        ('res50', 'bfloat16', False),
        ('vgg', 'bfloat16', True),
        ('lite0', 'float32', False),
    ],
)
def test_every_operation_of_a_step_has_a_gpu_kernel(encoder_name, precision, multi_scale):
    network = golden.NETWORKS[encoder_name]
    model = fold_for_training(network.build(width=1 / 64), precision)
    parts = 2 if multi_scale else 1
    settings = SimpleNamespace(**SETTINGS, msc=multi_scale, grad_update_every=parts)
    for recipe in set(network.recipes.values()):
        trainer = Trainer(model, network, recipe, settings)
        images = tf.TensorSpec([parts, 2, 33, 33, 3], tf.float32)
        labels = tf.TensorSpec([parts, 2, 33, 33], tf.uint8)
        step = trainer.step.get_concrete_function(images, labels, tf.TensorSpec([], tf.int64))
        assert without_gpu_kernel(step) == []
        assert without_gpu_kernel(trainer.panel.get_concrete_function(images, labels)) == []


def test_every_operation_of_a_classifier_and_of_its_cams_has_a_gpu_kernel():
    network = golden.NETWORKS['vgg']
    classifier = network.build_classifier(width=1 / 64)
    settings = SimpleNamespace(**SETTINGS, grad_update_every=1)
    trainer = Trainer(
        fold_for_training(classifier, 'bfloat16'),
        network,
        RECIPE,
        settings,
        tag_labels=np.eye(20, dtype=np.uint8),
    )
    images = tf.TensorSpec([1, 2, 33, 33, 3], tf.float32)
    tags = tf.TensorSpec([1, 2, 20], tf.uint8)
    step = trainer.step.get_concrete_function(images, tags, tf.TensorSpec([], tf.int64))
    assert without_gpu_kernel(step) == []
    cams = make_cam_function(classifier, precision='bfloat16')
    assert without_gpu_kernel(cams.get_concrete_function()) == []

"""Reference results of the original programs, and networks that hold their weights."""

import contextlib
import functools
import json
from pathlib import Path
from unittest import mock

import numpy as np

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.prediction import multi_scale_script
from deeplablib.utils.backend import keras
from deeplablib.weights import checkpoints
from tests.deterministic import weight

FOLDER = Path(__file__).parent / 'golden'
NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
# Our name of a network of the original programs: its name in the reference files.
REFERENCE = {
    'deeplab': 'resnet',
    'res101': 'res101',
    'res50': 'res50',
    'vgg': 'vgg',
    'vgg_aspp': 'aspp',
}


def layout(encoder_name):
    """Names and shapes of the original checkpoint of a network, in creation order."""
    layouts = json.loads((FOLDER / 'checkpoint_layout.json').read_text())
    return {name: tuple(shape) for name, shape in layouts[REFERENCE[encoder_name]].items()}


@functools.cache
def checkpoint_values(encoder_name):
    """The deterministic weights behind the reference results, by variable name."""
    return {name: weight(name, shape) for name, shape in layout(encoder_name).items()}


@functools.cache
def model(encoder_name):
    """A full-size network with the deterministic weights; not to be changed by a test."""
    network = NETWORKS[encoder_name]
    model = network.build()
    for name, variable in network.variables(model).items():
        variable.assign(weight(name, tuple(variable.shape)))
    return model


def narrow_checkpoint(prefix, encoder_name, width=1 / 16):
    """Write a checkpoint of a narrow network, the same every time; returns prefix."""
    keras.utils.set_random_seed(1)
    network = NETWORKS[encoder_name]
    checkpoints.write(prefix, network.variables(network.build(width=width)))
    return prefix


def arrays(name):
    """The arrays of one reference file."""
    with np.load(FOLDER / name) as file:
        return dict(file)


@contextlib.contextmanager
def networks_loaded_once():
    """Let the scripts that predict load and trace each network once, however often they run."""
    load_model = multi_scale_script.load_model
    load = functools.cache(lambda path: load_model(NETWORKS, path))
    with mock.patch.multiple(
        multi_scale_script,
        load_model=lambda _, path: load(path),
        fold_for_prediction=functools.cache(multi_scale_script.fold_for_prediction),
        make_predictor=functools.cache(multi_scale_script.make_predictor),
    ):
        yield

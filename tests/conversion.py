"""The converters, run on narrow networks with deterministic weights."""

import contextlib
import functools
import io
import sys
from unittest import mock

import numpy as np

import deeplab_efficientnet.convert
import deeplab_resnet.convert
import deeplab_vgg.convert
from deeplablib.weights import checkpoints
from tests import golden
from tests.deterministic import weight

WIDTH = 1 / 16
CONVERTERS = (deeplab_resnet.convert, deeplab_vgg.convert, deeplab_efficientnet.convert)


def convert(encoder_name, *args):
    """Run the converter that makes such networks as from the command line: args.

    Returns what it printed.
    """
    module = next(m for m in CONVERTERS if encoder_name in m.NETWORKS)
    printed = io.StringIO()
    with (
        mock.patch.object(sys, 'argv', ['convert', *map(str, args)]),
        contextlib.redirect_stdout(printed),
    ):
        module.main()
    return printed.getvalue()


def narrow_model(encoder_name, num_classes=21):
    return golden.NETWORKS[encoder_name].build(num_classes=num_classes, width=WIDTH)


@functools.cache
def _narrow_values(encoder_name, num_classes):
    variables = golden.NETWORKS[encoder_name].variables(narrow_model(encoder_name, num_classes))
    return {name: weight(name, tuple(v.shape)) for name, v in variables.items()}


def narrow_values(encoder_name, num_classes=21):
    """The deterministic weights of a narrow network, by variable name."""
    return dict(_narrow_values(encoder_name, num_classes))


def model_with(encoder_name, values, num_classes=21):
    """A narrow network that holds such values."""
    model = narrow_model(encoder_name, num_classes)
    checkpoints.assign(values, golden.NETWORKS[encoder_name].variables(model), 'test')
    return model


def assert_same(found, expected):
    """That two dicts from name to array are equal."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name, strict=True)

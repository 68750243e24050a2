"""experiments/benchmark.py: that it compares equals, and writes what it measured."""

import numpy as np
import pytest

from deeplablib.network.convolution import has_dilated_gradients
from deeplablib.utils.backend import tf
from experiments.benchmark import plain_form
from tests import golden
from tests.command import refused, run_command
from tests.deterministic import image


def operations(model):
    function = tf.function(model).get_concrete_function(tf.TensorSpec([1, 33, 33, 3]))
    return {operation.type for operation in function.graph.get_operations()}


@pytest.mark.parametrize('encoder_name', ['res50', 'vgg'])
def test_the_plain_form_computes_the_same_with_the_originals_operations(encoder_name):
    model = golden.NETWORKS[encoder_name].build(width=1 / 16)
    plain = plain_form(model)
    pixels = image(65, 81, 7)
    expected = model(pixels, training=False)
    near = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(plain(pixels, training=False), expected, rtol=0, atol=near)
    assert 'SpaceToBatchND' in operations(plain) - operations(model)


def test_every_form_is_in_the_table(tmp_path):
    small = ('--encoders', 'vgg', '--width', 1 / 64, '--sizes', '33x33', '--batch-sizes', 2)
    out = tmp_path / 'new/table.md'
    result = run_command('experiments.benchmark', *small, '--repetitions', 2, '--out', out)
    assert result.code == 0, result.error
    table = out.read_text()
    assert table in result.out
    rows = [line.split('|')[1:-1] for line in table.splitlines()[4:]]
    works = ('vgg, 33x33, scales: 1', 'vgg, 33x33, scales: 3', 'vgg, step, 2 of 33x33')
    cells = {(row[0].strip(), row[1].strip()): [cell.strip() for cell in row[2:]] for row in rows}
    assert list(cells) == [
        (work, form) for work in works for form in ('plain', 'float32', 'bfloat16')
    ]
    for (_, form), (seconds, spread, ratio) in cells.items():
        if form == 'bfloat16' and not has_dilated_gradients('bfloat16'):
            assert 'this CPU does not compute in it' in seconds
            continue
        low, high = map(float, spread.split(' - '))
        assert 0 < low <= float(seconds) <= high
        assert (form != 'plain' or ratio == '1.00') and float(ratio) > 0


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--sizes', '0x5'], '0x5'),
        (['--repetitions', '0'], 'must be 1 or more'),
        (['--encoders', 'flying'], "'deeplab', 'res101', 'res50', 'vgg'"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, words):
    result = run_command('experiments.benchmark', *arguments, '--out', tmp_path / 'table.md')
    refused(result, words)

"""experiments/benchmark.py: that it compares equals, and writes what it measured."""

import json

import numpy as np
import pytest

from deeplablib.network.convolution import has_dilated_gradients
from deeplablib.utils.backend import tf
from experiments.benchmarks.cases import SECTIONS
from experiments.benchmarks.measure import Variant, alternate
from experiments.benchmarks.plain_form import plain_form
from tests import golden
from tests.command import run_command
from tests.deterministic import image

TINY = (
    *('--encoders', 'vgg', '--scales', 3),
    *('--width', 1 / 64, '--sizes', '33x33', '--batch-sizes', 2, '--images', 2),
    *('--repetitions', 1, '--counts', 1, 2),
)


def operations(model):
    function = tf.function(model).get_concrete_function(tf.TensorSpec([1, 33, 33, 3]))
    return {operation.type for operation in function.graph.get_operations()}


@pytest.mark.parametrize('encoder_name', ['deeplab', 'vgg'])
def test_the_plain_form_computes_the_same_with_the_originals_operations(encoder_name):
    model = golden.model(encoder_name)
    plain = plain_form(model)
    expected = model(image(65, 81, 7), training=False)
    np.testing.assert_allclose(
        plain(image(65, 81, 7), training=False),
        expected,
        rtol=0,
        atol=1e-5 * np.abs(expected).max(),
    )
    assert 'SpaceToBatchND' in operations(plain)
    assert 'SpaceToBatchND' not in operations(model)


@pytest.mark.parametrize('encoder_name', ['deeplab', 'vgg'])
def test_the_pytorch_form_computes_the_same(encoder_name):
    torch = pytest.importorskip('torch')
    torch_form = pytest.importorskip('experiments.benchmarks.torch_form')
    model = golden.model(encoder_name)
    expected = model(image(65, 81, 7), training=False)
    module = torch_form.TorchForm(model).eval()
    with torch.inference_mode():
        logits = module(torch.from_numpy(image(65, 81, 7)).permute(0, 3, 1, 2))
    np.testing.assert_allclose(
        logits.permute(0, 2, 3, 1), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


def test_figures_are_written_as_a_table_and_as_json(tmp_path):
    sections = ('training', 'crf', 'scoring', 'evaluation')
    result = run_command(
        'experiments.benchmark',
        *TINY,
        '--quick',
        '--sections',
        *sections,
        '--out',
        tmp_path / 'figures',
    )
    assert result.code == 0, result.error
    results = json.loads((tmp_path / 'figures.json').read_text())
    assert [*dict.fromkeys(row['section'] for row in results['rows'])] == [*sections]
    for row in results['rows']:
        if 'bfloat16' in row['variant'] and not has_dilated_gradients('bfloat16'):
            assert 'this CPU does not compute in it' in row['failure']
            continue
        assert 0 < row['low'] <= row['seconds'] <= row['high']
        assert row['peak_bytes'] > 1e6
        assert (row['section'] == 'training') == ('floor' in row)
    assert {row['ratio'] for row in results['rows'] if row['variant'].startswith('plain')} == {1}
    table = (tmp_path / 'figures.md').read_text()
    assert table.count('\n| ') > len(results['rows'])
    assert table in result.out
    for section in sections:
        assert f'## {section.capitalize()}' in table


def test_a_variant_that_fails_leaves_the_others_alone():
    variants = [
        Variant(name, 'experiments.benchmarks.on_files', 'command', {'arguments': ['-c', program]})
        for name, program in (('good', 'pass'), ('bad', 'raise SystemExit(1)'))
    ]
    for together in (True, False):
        good, bad = alternate(variants, 2, together)
        assert len(good.seconds) == 2
        assert min(good.seconds) > 0
        assert bad.failure.startswith('CalledProcessError')
        assert not bad.seconds


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--sizes', '321'], '321: expected HEIGHTxWIDTH'),
        (['--sizes', '0x5'], '0x5'),
        (['--width', '0.3'], '0.3 is not a positive multiple'),
        (['--repetitions', '0'], 'must be 1 or more'),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    result = run_command('experiments.benchmark', *arguments)
    assert result.code == 2
    assert words in result.error
    assert 'Traceback' not in result.error


def test_an_unknown_section_is_a_usage_error_that_names_the_known(capsys):
    result = run_command('experiments.benchmark', '--sections', 'flying')
    assert result.code == 2
    for section in SECTIONS:
        assert section in result.error


def test_a_process_that_dies_is_reported():
    options = {'arguments': ['-c', 'import os, signal; os.kill(os.getppid(), signal.SIGKILL)']}
    killed = Variant('killed', 'experiments.benchmarks.on_files', 'command', options)
    (timing,) = alternate([killed], 1)
    assert timing.failure == 'the process died (exit code -9)'


def test_what_cannot_fit_into_memory_is_not_tried(tmp_path):
    result = run_command(
        *('experiments.benchmark', *TINY, '--sections', 'training', '--batch-sizes', 10**9),
        *('--out', tmp_path / 'figures.1'),
    )
    assert result.code == 0, result.error
    rows = json.loads((tmp_path / 'figures.1.json').read_text())['rows']
    assert rows
    assert all('GB are free' in row['failure'] for row in rows)

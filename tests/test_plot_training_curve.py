import os

import numpy as np
import pytest
from PIL import Image

from plot_training_curve import running_mean
from tests.command import run_command


def test_curve_of_several_logs_is_drawn(tmp_path):
    for name in ('a', 'b$x^', os.fsdecode(b'caf\xe9')):
        (tmp_path / name).write_text(''.join(f'{i}, {3 - i / 100:.3f}\n' for i in range(200)))
    output = tmp_path / 'new/curve.png'
    result = run_command(
        'plot_training_curve', *sorted(tmp_path.iterdir()), '--output', output, '--smooth', 10
    )
    assert result.code == 0, result.error
    pixels = np.array(Image.open(output).convert('RGB'))
    assert min(pixels.shape[:2]) > 300 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_running_mean_is_over_the_steps_before():
    np.testing.assert_allclose(running_mean(np.array([1.0, 3, 5, 9]), 2), [1, 2, 4, 7])
    np.testing.assert_allclose(running_mean(np.array([1.0, 3]), 100), [1, 2])


@pytest.mark.parametrize(
    'contents, word',
    [('', 'empty'), ('0, 1.0\nstep one\n', 'line 2'), ('0 1.0\n', 'line 1'), (None, 'cannot read')],
)
def test_bad_logs_are_one_line(tmp_path, contents, word):
    log = tmp_path / 'log.txt'
    if contents is not None:
        log.write_text(contents)
    result = run_command('plot_training_curve', log, '--output', tmp_path / 'curve.png')
    assert result.code == 2 and str(log) in result.error and word in result.error
    assert not (tmp_path / 'curve.png').exists()

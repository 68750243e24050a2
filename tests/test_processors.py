"""What must hold on every processor, in processes that are told to be another one.

Each machine runs the suite with oneDNN as TensorFlow has it there; these tests run it the other way
round, and with oneDNN's kernels kept to AVX2.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeplablib.network.convolution import has_dilated_gradients

ROOT = Path(__file__).parent.parent
OTHER_WAY = {'TF_ENABLE_ONEDNN_OPTS': '0' if has_dilated_gradients('float32') else '1'}
AVX2_KERNELS = {'TF_ENABLE_ONEDNN_OPTS': '1', 'ONEDNN_MAX_CPU_ISA': 'AVX2'}


@pytest.mark.parametrize(
    'environment, tests',
    [
        (OTHER_WAY, ['test_training_reference.py', 'test_learning.py']),
        (OTHER_WAY, ['test_resume.py', 'test_multi_scale.py']),
        (AVX2_KERNELS, ['test_multi_scale.py']),
    ],
    ids=['training, the other way round', 'resuming, the other way round', 'AVX2 kernels'],
)
def test_it_holds_on_another_processor_too(environment, tests):
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '--quiet', *(f'tests/{name}' for name in tests)],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr

"""What must hold on every processor, in processes that are told to be another one.

Without AVX-512, TensorFlow leaves oneDNN off, and the suite itself runs without it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeplablib.network.convolution import has_dilated_gradients

ROOT = Path(__file__).parent.parent
# The race of TensorFlow 1 in the reference has nothing to do with the processor.
WITHOUT_RACE = ('-k', 'not deeplab-caffe')
WITHOUT_ONEDNN = {'TF_ENABLE_ONEDNN_OPTS': '0', 'KILLS': '3'}
AVX2_KERNELS = {'TF_ENABLE_ONEDNN_OPTS': '1', 'ONEDNN_MAX_CPU_ISA': 'AVX2'}


def run_tests(environment, *names, options=()):
    tests = [f'tests/{name}' for name in names]
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '--quiet', *tests, *options],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(
    not has_dilated_gradients('float32'), reason='the whole suite runs without oneDNN here'
)
@pytest.mark.parametrize(
    'names',
    [
        ('test_training_reference.py', 'test_learning.py'),
        ('test_resume.py', 'test_multi_scale.py'),
    ],
    ids=['training', 'resuming and prediction'],
)
def test_it_holds_without_onednn(names):
    run_tests(WITHOUT_ONEDNN, *names, options=WITHOUT_RACE)


def test_it_holds_with_the_kernels_of_avx2():
    # Where the processor has bfloat16, TensorFlow takes oneDNN's kernels for it although oneDNN is
    # told that there are none.
    bfloat16 = ' and not bfloat16' if has_dilated_gradients('bfloat16') else ''
    without = ('-k', WITHOUT_RACE[1] + bfloat16)
    run_tests(AVX2_KERNELS, 'test_training_reference.py', 'test_multi_scale.py', options=without)

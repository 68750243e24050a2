"""What must hold on every processor, in processes that are told to be another one.

Without AVX-512, TensorFlow leaves oneDNN off, and the suite itself runs without it.
"""

import pytest

from deeplablib.network.convolution import has_dilated_gradients
from tests.command import run_process

WITHOUT_ONEDNN = {'TF_ENABLE_ONEDNN_OPTS': '0', 'KILLS': '2'}
AVX2_KERNELS = {'TF_ENABLE_ONEDNN_OPTS': '1', 'ONEDNN_MAX_CPU_ISA': 'AVX2'}
TRAINING = (
    'test_training_reference.py::test_losses_and_updates_equal_those_of_the_original[vgg-authors]'
)
PREDICTION = (
    'test_prediction_scripts.py::test_predictions_equal_those_of_the_released_script[vgg-vgg]'
)


def run_tests(environment, *names):
    tests = [f'tests/{name}' for name in names]
    result = run_process('-m', 'pytest', '--quiet', *tests, environment=environment)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(
    not has_dilated_gradients('float32'), reason='the whole suite runs without oneDNN here'
)
def test_it_holds_without_onednn():
    run_tests(WITHOUT_ONEDNN, TRAINING, 'test_resume.py', PREDICTION)


def test_it_holds_with_the_kernels_of_avx2():
    run_tests(AVX2_KERNELS, TRAINING, PREDICTION)

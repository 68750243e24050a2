"""Convolutions on processors that have no gradient of a dilated one."""

import numpy as np
import pytest

from deeplablib.network import convolution
from deeplablib.network.folding import fold_for_prediction, fold_for_training
from deeplablib.utils.backend import tf
from tests import golden
from tests.command import run_command, run_process


def gradients(convolve, inputs, kernel, outputs_gradient):
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = convolve(inputs, kernel)
    return outputs, tape.gradient(outputs, [inputs, kernel], outputs_gradient)


@pytest.mark.parametrize('channels', [(5, 7), (7, 5), (4, 4), (1, 3)])
@pytest.mark.parametrize('size, dilation', [(1, 1), (3, 1), (3, 2), (3, 12), (5, 4), (7, 1)])
def test_gradients_equal_those_of_space_to_batch(channels, size, dilation):
    random = np.random.default_rng(size * dilation)
    inputs, kernel, outputs_gradient = (
        tf.constant(random.normal(size=shape), tf.float32)
        for shape in ([2, 9, 8, channels[0]], [size, size, *channels], [2, 9, 8, channels[1]])
    )

    def ours(inputs, kernel):
        return convolution.conv2d_with_forward_gradients(inputs, kernel, (dilation, dilation))

    def space_to_batch(inputs, kernel):
        return tf.nn.convolution(inputs, kernel, padding='SAME', dilations=[dilation, dilation])

    outputs, found = gradients(ours, inputs, kernel, outputs_gradient)
    expected_outputs, expected = gradients(space_to_batch, inputs, kernel, outputs_gradient)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=0, atol=1e-4)
    for gradient, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_dilated_convolution_trains_in_a_graph(dtype):
    kernel = tf.Variable(tf.ones([3, 3, 2, 2], dtype))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2], dtype)])
    def gradient(inputs):
        with tf.GradientTape() as tape:
            outputs = convolution.conv2d(inputs, kernel, (1, 1), (2, 2))
        return tape.gradient(outputs, kernel)

    # The middle of the kernel meets every pixel, its corners those two or more from two edges.
    found = gradient(tf.ones([1, 4, 5, 2], dtype))
    np.testing.assert_array_equal(found[1, 1], np.full((2, 2), 20.0))
    np.testing.assert_array_equal(found[0, 0], np.full((2, 2), 6.0))


def strided_1x1_convolutions(function):
    """The names of operations that oneDNN has a faulty gradient of, forward and backward."""
    kernels = {'Conv2D': 1, 'Conv2DBackpropInput': 1, 'Conv2DBackpropFilter': 1}
    return [
        op.name
        for op in function.graph.get_operations()
        if op.type in kernels
        and max(op.get_attr('strides')) > 1
        and (op.outputs[0] if op.type.endswith('Filter') else op.inputs[1]).shape[:2] == (1, 1)
    ]


@pytest.mark.parametrize('classifier', [False, True])
def test_no_strided_1x1_convolution_is_in_a_graph(classifier):
    network = golden.NETWORKS['res50']
    model = (network.build_classifier if classifier else network.build)(width=1 / 64)

    form = fold_for_training(model)

    def gradients(images):
        with tf.GradientTape() as tape:
            outputs = form(images, training=True)
        return tape.gradient(outputs, [v.value for v in model.trainable_variables])

    images = tf.TensorSpec([1, 33, 47, 3], tf.float32)
    for function in (fold_for_prediction(model), gradients):
        assert strided_1x1_convolutions(tf.function(function).get_concrete_function(images)) == []

    def plain(images):
        return tf.nn.conv2d(images, tf.ones([1, 1, 3, 2]), 2, 'SAME')

    plain = tf.function(plain).get_concrete_function(images)
    assert len(strided_1x1_convolutions(plain)) == 1, 'one is found where there is one'


@pytest.mark.parametrize('size', [(7, 8), (8, 7)])
def test_a_strided_1x1_convolution_is_that_of_tensorflow(size):
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(size=[2, *size, 5]), tf.float32)
    kernel = tf.constant(random.normal(size=[1, 1, 5, 16]), tf.float32)
    expected = tf.nn.conv2d(inputs, kernel, (2, 2), 'SAME')
    outputs = convolution.conv2d(inputs, kernel, (2, 2), (1, 1))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


SCRIPTS = ('main', 'predict', 'test_vocspsm_resnet', 'test_vocspsm_vgg')


@pytest.mark.parametrize('script', SCRIPTS)
def test_bfloat16_is_refused_before_any_work_where_the_cpu_cannot(script, monkeypatch):
    monkeypatch.setattr(convolution, 'has_dilated_gradients', lambda dtype: dtype == 'float32')
    photograph = ['nowhere.jpg'] if script == 'predict' else []
    result = run_command(script, *photograph, '--precision', 'bfloat16')
    assert result.code == 2
    assert result.error == (
        'error: bfloat16: this CPU does not compute in it; take float32, a GPU, or a CPU with '
        'AVX512-BF16 or AMX\n'
    )


def test_a_run_in_bfloat16_without_onednn_ends_in_one_line():
    environment = {'TF_ENABLE_ONEDNN_OPTS': '0', 'CUDA_VISIBLE_DEVICES': '-1'}
    result = run_process('main.py', '--precision', 'bfloat16', environment=environment)
    assert result.returncode == 2
    assert result.stderr.startswith('error: bfloat16: this CPU does not compute in it')
    assert result.stderr.count('\n') == 1

"""Convolution with a gradient on every processor, and what this processor has of its own.

TensorFlow's CPU kernels for the gradients of a dilated convolution are oneDNN's, and TensorFlow
switches oneDNN on by itself only on processors with AVX-512. Elsewhere its own (Eigen's) kernels
compute: fast forward, slow backward, and with no gradient of a dilated convolution at all. Both
gradients can be written as forward convolutions, which are fast there. Measured on a processor with
AVX2 (docs/benchmarks.md): so a training step takes less time than with oneDNN switched on. That is
why nothing here changes TF_ENABLE_ONEDNN_OPTS: TensorFlow's choice is the faster one.
"""

from functools import cache

from deeplablib.utils.backend import tf, without_native_messages
from deeplablib.utils.errors import InputError


def conv2d(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], dilations: tuple[int, int]
) -> tf.Tensor:
    """Convolve with padding SAME.

    inputs: [batch, height, width, in], float32 or bfloat16. kernel: [height, width, in, out] of the
    same type, of odd size. strides, dilations: (vertical, horizontal); one of them is (1, 1).
    Returns [batch, ceil(height / stride), ceil(width / stride), out].
    """
    if tuple(kernel.shape[:2]) == (1, 1) and tuple(strides) != (1, 1):
        # oneDNN's gradient of such a kernel into fewer than 16 channels writes past its memory.
        inputs, strides = inputs[:, :: strides[0], :: strides[1]], (1, 1)
    if tuple(strides) != (1, 1) or has_dilated_gradients(inputs.dtype.name):
        return tf.nn.conv2d(inputs, kernel, strides, padding='SAME', dilations=dilations)
    return conv2d_with_forward_gradients(inputs, kernel, dilations)


def conv2d_with_forward_gradients(
    inputs: tf.Tensor, kernel: tf.Tensor, dilations: tuple[int, int]
) -> tf.Tensor:
    """The same with stride 1, whose gradients are forward convolutions too.

    The gradient of the inputs is that of the outputs, convolved with the kernel turned by 180
    degrees. The gradient of the kernel is the inputs convolved with the gradient of the outputs:
    images take the place of channels, channels that of images, and the dilation that of the stride.

    inputs, kernel, dilations: as for conv2d.
    """

    @tf.custom_gradient
    def convolve(inputs, kernel):
        outputs = tf.nn.conv2d(inputs, kernel, 1, padding='SAME', dilations=dilations)

        def gradients(outputs_gradient):
            turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
            inputs_gradient = tf.nn.conv2d(
                outputs_gradient, turned, 1, padding='SAME', dilations=dilations
            )
            return inputs_gradient, _kernel_gradient(
                inputs, outputs_gradient, kernel.shape, dilations
            )

        return outputs, gradients

    return convolve(inputs, tf.convert_to_tensor(kernel))  # it takes no variables


def _kernel_gradient(inputs, outputs_gradient, kernel_shape, dilations):
    height, width, channels_in, channels_out = kernel_shape
    vertical, horizontal = (
        dilation * (size // 2) for dilation, size in zip(dilations, (height, width), strict=True)
    )
    padding = [[0, 0], [vertical, vertical], [horizontal, horizontal], [0, 0]]
    # The side with fewer channels slides: a matrix product is fastest into many columns.
    if channels_in <= channels_out:
        sliding, fixed = inputs, outputs_gradient
    else:
        sliding, fixed = outputs_gradient, inputs
    products = tf.nn.conv2d(
        tf.pad(tf.transpose(sliding, [3, 1, 2, 0]), padding),
        tf.transpose(fixed, [1, 2, 0, 3]),
        dilations,
        padding='VALID',
    )
    if channels_in <= channels_out:
        return tf.transpose(products, [1, 2, 0, 3])
    return tf.transpose(tf.reverse(products, [1, 2]), [1, 2, 3, 0])


@cache
def has_dilated_gradients(dtype: str) -> bool:
    """Whether TensorFlow has a gradient of dilated convolutions where it computes: it is asked.

    dtype: 'float32' or 'bfloat16'. True on a GPU, and on a CPU where oneDNN serves that type.
    """
    # The question is answered at once, also while a graph is traced.
    with tf.init_scope(), without_native_messages():
        pixel = tf.ones([1, 1, 1, 1], dtype)
        try:
            for operation, sizes in (
                (tf.raw_ops.Conv2DBackpropInput, {'filter': pixel, 'input_sizes': [1, 1, 1, 1]}),
                (tf.raw_ops.Conv2DBackpropFilter, {'input': pixel, 'filter_sizes': [1, 1, 1, 1]}),
            ):
                operation(
                    out_backprop=pixel,
                    strides=[1, 1, 1, 1],
                    padding='SAME',
                    dilations=[1, 2, 2, 1],
                    **sizes,
                )
        except tf.errors.OpError:
            return False
    return True


def require_precision(precision: str) -> None:
    """Raise InputError when this machine does not compute in a type itself.

    precision: 'float32' or 'bfloat16'. What such a CPU would do in bfloat16 is slower than float32.
    """
    if precision == 'bfloat16' and not has_dilated_gradients('bfloat16'):
        raise InputError(
            'bfloat16: this CPU does not compute in it; take float32, a GPU, or a CPU with '
            'AVX512-BF16 or AMX'
        )

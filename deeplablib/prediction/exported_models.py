"""A network as a program of its own that labels images: a SavedModel, or an ONNX file.

Each takes 'image', uint8 RGB [height, width, 3] of any size, and gives 'labels', uint8
[height, width].
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deeplablib.network.folding import fold_for_prediction
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.utils.backend import keras, tf, without_native_messages

OPSET = 17  # of ONNX: of 2022, so that older runtimes take it; later ones add nothing used here
TEST_SIZES = ((129, 97), (100, 150))  # 8k + 1, and neither
AGREEMENT = 0.999  # of the labels, at least; where two scores are equal, rounding chooses
HWIO_TO_OIHW = (3, 2, 0, 1)  # [height, width, in, out] -> [out, in, height, width]
OIHW_TO_HWIO = (2, 3, 1, 0)


def save_model(path: str | Path, network: NetworkSpec, model: keras.Model) -> None:
    """Write a SavedModel.

    path: a folder that is not there. model: with its weights.
    Raises tf.errors.OpError when it cannot be written.
    """
    predict = make_predictor(fold_for_prediction(model), network.to_score_map)
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8, name='image')])
    def serve(image):
        return {'labels': predict(image, _all_classes(model))[0]}

    signature = serve.get_concrete_function()
    module.weights = list(signature.variables)
    tf.saved_model.save(module, path, signatures={'serving_default': signature})


def write_onnx(path: str | Path, network: NetworkSpec, model: keras.Model) -> str:
    """Write an ONNX file, and try it in onnxruntime.

    path: of a file that is not there. model: with its weights.
    Returns what the trial showed. Raises OSError when it cannot be written, or does not label as
    the network does.
    """
    try:
        with without_native_messages():
            Path(path).write_bytes(_onnx_model(network, model).SerializeToString())
            import onnxruntime  # optional, as tf2onnx: only ONNX needs them

            session = onnxruntime.InferenceSession(
                os.fspath(path), providers=['CPUExecutionProvider']
            )
            found = [session.run(['labels'], {'image': image})[0] for image in _test_images()]
    except (OSError, MemoryError):
        raise
    except Exception as error:  # those of tf2onnx and onnxruntime have no other class in common
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise OSError(f'tf2onnx or onnxruntime does not take it: {reason}') from None
    predict = make_predictor(fold_for_prediction(model), network.to_score_map)
    with tf.device('/cpu:0'):  # a GPU rounds more coarsely
        expected = [predict(image, _all_classes(model))[0].numpy() for image in _test_images()]
    pairs = zip(found, expected, strict=True)
    equal = [np.mean(a == b) if a.shape == b.shape else 0 for a, b in pairs]
    sizes = ' and '.join(f'{width}x{height}' for height, width in TEST_SIZES)
    said = f'On images of {sizes} pixels {min(equal):.2%} of its labels are those of the SavedModel'
    if min(equal) < AGREEMENT:
        raise OSError(f'{said[0].lower()}{said[1:]}')
    return said


WRITERS: dict[str, Callable] = {'savedmodel': save_model, 'onnx': write_onnx}


def _onnx_model(network, model):
    import tf2onnx
    from onnx import numpy_helper

    # The kernels are inputs while tf2onnx works, and constants afterwards: it copies constants at
    # every turn, which took 12 GB and a minute more for a ResNet-101 of 176 MB. They come as ONNX
    # has them, so that the transposition that tf2onnx puts before each convolution goes away.
    fast = fold_for_prediction(model)
    kernels = {v.path: v for v in fast.weights if len(v.shape) == 4}
    predict = make_predictor(fast, network.to_score_map)
    specs = [
        tf.TensorSpec([v.shape[axis] for axis in HWIO_TO_OIHW], tf.float32, name=name)
        for name, v in kernels.items()
    ]

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8, name='image'), *specs])
    def serve(image, *given):
        ours = [tf.transpose(kernel, OIHW_TO_HWIO) for kernel in given]
        with keras.StatelessScope(list(zip(kernels.values(), ours, strict=True))):
            return {'labels': predict(image, _all_classes(model))[0]}

    onnx_model, _ = tf2onnx.convert.from_function(serve, serve.input_signature, opset=OPSET)
    graph = onnx_model.graph
    for entry in [entry for entry in graph.input if entry.name in kernels]:
        kernel = np.ascontiguousarray(kernels[entry.name].numpy().transpose(HWIO_TO_OIHW))
        graph.initializer.append(numpy_helper.from_array(kernel, entry.name))
        graph.input.remove(entry)
    for image in (graph.input[0], graph.output[0]):
        for axis, name in enumerate(('height', 'width')):
            image.type.tensor_type.shape.dim[axis].dim_param = name
    _set_explicit_padding(graph)
    return onnx_model


def _set_explicit_padding(graph):
    """Give dilated convolutions their padding in numbers: onnxruntime takes no auto_pad there.

    They have stride 1, where padding SAME is the same for every size of image.
    """
    from onnx import helper

    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == 'Conv' and max(attributes['dilations'].ints) > 1:
            sizes = zip(attributes['dilations'].ints, attributes['kernel_shape'].ints, strict=True)
            before = [dilation * (size // 2) for dilation, size in sizes]
            node.attribute.remove(attributes['auto_pad'])
            node.attribute.append(helper.make_attribute('pads', 2 * before))


def _all_classes(model):
    return [True] * model.output.shape[-1]


def _test_images():
    """Patches of random colours that run into each other: uint8 [height, width, 3]."""
    colours = np.random.default_rng(0).integers(0, 256, (1, 7, 7, 3))
    return [resize_bilinear(colours, size)[0].numpy().astype(np.uint8) for size in TEST_SIZES]

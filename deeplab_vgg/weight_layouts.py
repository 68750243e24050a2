"""Where the layers of a VGG16 stand in files of other programs."""

from collections.abc import Callable
from typing import NamedTuple

from deeplab_vgg.vgg import BLOCKS, HEADS
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights.conversion import (
    Converted,
    adapt_input,
    from_keras,
    guess_input,
    published_input,
    recognise,
)
from deeplablib.weights.readers.weight_file import WeightFile

CONVOLUTIONS = [
    f'conv{number}_{i + 1}' for number, block in BLOCKS.items() for i in range(block.convolutions)
]
# VGG19 has a fourth convolution in each of its last three blocks.
CONVOLUTIONS_19 = sorted([*CONVOLUTIONS, 'conv3_4', 'conv4_4', 'conv5_4'])

FULL_FC6 = 7  # VGG16's fc6 sees the whole 7x7 map of a 224x224 image
KEPT_TAPS, KEPT_CHANNELS = slice(None, None, 3), slice(None, None, 4)

# The files of torchvision and of jcjohnson/pytorch-vgg, which is Caffe's, are named by their hash.
PUBLISHED = {'397923af': 'torchvision', '00b39a1b': 'caffe'}


class Layout(NamedTuple):
    """The names that one program gives the layers of VGG16.

    name: turns one of CONVOLUTIONS into its name there. fc6, fc7: those of the dense layers.
    input: what the network takes, of conversion.INPUTS; None where the file must tell.
    """

    name: Callable[[str], str]
    fc6: str
    fc7: str
    input: str | None


def torchvision_name(name: str) -> str:
    """torchvision.models.vgg16 numbers convolutions, ReLUs and pools in a row: 'features.0'."""
    return _torchvision_names(CONVOLUTIONS, 2)[name]


def _torchvision_names(convolutions, layers_each):
    """Their names there; layers_each: how many a convolution makes, with its ReLU."""
    return {
        name: f'features.{layers_each * i + int(name[4]) - 1}'
        for i, name in enumerate(convolutions)
    }


def keras_name(name: str) -> str:
    """keras.applications.vgg16: 'block1_conv1'."""
    return name.replace('conv', 'block').replace('_', '_conv')


LAYOUTS = {
    'Caffe VGG16': Layout(str, 'fc6', 'fc7', 'caffe'),
    'torchvision VGG16': Layout(torchvision_name, 'classifier.0', 'classifier.3', None),
    'Keras VGG16': Layout(keras_name, 'fc1', 'fc2', 'keras'),
}
OTHERS = {
    'a VGG19 (Caffe)': CONVOLUTIONS_19,
    'a VGG19 (torchvision)': list(_torchvision_names(CONVOLUTIONS_19, 2).values()),
    'a VGG19 (Keras)': [keras_name(name) for name in CONVOLUTIONS_19],
    'a VGG16 with batch norm': list(_torchvision_names(CONVOLUTIONS, 3).values()),
    'a VGG19 with batch norm': list(_torchvision_names(CONVOLUTIONS_19, 3).values()),
}


def imagenet(encoder_name: str) -> WeightFile:
    """The ImageNet weights that a network starts from, of Keras Applications.

    With the dense layers: fc6 and fc7 are made of them.
    """
    return from_keras(keras.applications.VGG16)


def convert(
    file: WeightFile,
    encoder_name: str | None = None,
    exact_bn: bool = False,
    input: str | None = None,
) -> Converted:
    """Bring the weights of a VGG16 to a network.

    One head of the source becomes all four heads of an ASPP network.

    encoder_name: key of NETWORKS, or None for what the file suggests.
    exact_bn: without effect; VGG16 has no batch norm.
    input: what it was trained on, of conversion.INPUTS, or None for what the file shows.
    Returns a Converted. Raises InputError when the file is no VGG16, or has four heads for one.
    """
    layouts = {title: list(map(layout.name, CONVOLUTIONS)) for title, layout in LAYOUTS.items()}
    title, source = recognise(file, layouts, OTHERS)
    layout = LAYOUTS[title]
    has_aspp = 'fc6_1' in source
    encoder_name = encoder_name or ('vgg_aspp' if has_aspp else 'vgg')
    if has_aspp and encoder_name == 'vgg':
        raise InputError(f'{file.path}: has four heads (ASPP); give --encoder-name vgg_aspp')

    places = {name: layout.name(name) for name in CONVOLUTIONS}
    for head in HEADS[encoder_name]:
        suffix = head if has_aspp else ''
        places |= {f'fc6{head}': f'{layout.fc6}{suffix}', f'fc7{head}': f'{layout.fc7}{suffix}'}
        classifier = _classifier(source, suffix)
        places |= {f'fc8{head}': classifier} if classifier else {}
    layers = {name: source.get(place, {}) for name, place in places.items()}
    left = {name: layer for name, layer in source.items() if name not in places.values()}

    first = CONVOLUTIONS[0]
    input = input or layout.input or published_input(file.path, PUBLISHED)
    input = input or guess_input(file.path, layers[first], {})
    layers[first] = adapt_input(layers[first], input)
    for head in HEADS[encoder_name]:
        fc6, fc7 = layers[f'fc6{head}'], layers[f'fc7{head}']
        layers[f'fc6{head}'], layers[f'fc7{head}'] = _decimated(fc6, fc7, file.channels_first)
    return Converted(title, encoder_name, input, layers, left)


def _classifier(layers, head):
    """The layer that is the fc8 of a head: DeepLab calls it fc8_<dataset>, or fc8_<dataset>_1."""
    for name in layers:
        if name.startswith('fc8') and name.endswith(head):
            return name
    return None


def _decimated(fc6, fc7, channels_first):
    """Make DeepLab's small fc6 and fc7 of VGG16's large ones.

    Every third tap of 7x7 and every fourth of 4096 channels are kept, as in the reduced VGG16 that
    DeepLab and SSD start from (Liu et al., 2016: fc6 and fc7 are subsampled).

    fc6, fc7: layers with weights [in, out] or [height, width, in, out]; small ones stay.
    Returns both, with weights [3, 3, 512, 1024] and [1, 1, 1024, 1024].
    """
    fc6, fc7 = _as_convolution(fc6, FULL_FC6, channels_first), _as_convolution(fc7, 1, False)
    if 'weights' not in fc6 or fc6['weights'].shape[0] != FULL_FC6:
        return fc6, fc7
    fc6 = fc6 | {'weights': fc6['weights'][KEPT_TAPS, KEPT_TAPS]}
    fc7 = fc7 | {'weights': fc7['weights'][:, :, KEPT_CHANNELS]} if 'weights' in fc7 else fc7
    return tuple(
        {parameter: values[..., KEPT_CHANNELS] for parameter, values in layer.items()}
        for layer in (fc6, fc7)
    )


def _as_convolution(layer, size, channels_first):
    """See a dense layer over a map of size x size as a convolution of that size."""
    weights = layer.get('weights')
    if weights is None or weights.ndim != 2:
        return layer
    if channels_first:
        weights = weights.reshape(-1, size, size, weights.shape[-1]).transpose(1, 2, 0, 3)
    else:
        weights = weights.reshape(size, size, -1, weights.shape[-1])
    return layer | {'weights': weights}

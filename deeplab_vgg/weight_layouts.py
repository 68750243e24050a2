"""Where the layers of a VGG16 stand in files of other programs."""

from collections.abc import Callable
from dataclasses import dataclass

from deeplab_vgg.vgg import BLOCKS
from deeplablib.network.layers import ASPP_DILATIONS
from deeplablib.utils.errors import InputError
from deeplablib.weights.foreign_weights import (
    KERAS_CAFFE,
    OURS,
    TORCHVISION,
    Converted,
    Preprocessing,
    adapt_input,
    recognise,
)
from deeplablib.weights.imagenet import KerasFile
from deeplablib.weights.readers.weight_file import WeightFile

CONVOLUTIONS = [
    f'conv{number}_{i + 1}' for number, block in BLOCKS.items() for i in range(block.convolutions)
]
# Encoder name: what stands behind the names of the layers of its heads.
HEADS = {'vgg': ('',), 'vgg_aspp': tuple(f'_{i + 1}' for i in range(len(ASPP_DILATIONS)))}

FULL_FC6 = 7  # VGG16's fc6 sees the whole 7x7 map of a 224x224 image
KEPT_TAPS, KEPT_CHANNELS = slice(None, None, 3), slice(None, None, 4)


@dataclass(frozen=True)
class Layout:
    """The names that one program gives the layers of VGG16.

    names: turns one of CONVOLUTIONS into its name there. fc6, fc7: those of the dense layers.
    preprocessing: what the network takes.
    """

    names: Callable[[str], str]
    fc6: str
    fc7: str
    preprocessing: Preprocessing = OURS

    def layers(self) -> list[str]:
        """Names of all convolutions."""
        return [self.names(name) for name in CONVOLUTIONS]


def torchvision_name(name: str) -> str:
    """torchvision.models.vgg16 numbers convolutions, ReLUs and pools in a row: 'features.0'."""
    pools_before = int(name[4]) - 1
    return f'features.{2 * CONVOLUTIONS.index(name) + pools_before}'


def keras_name(name: str) -> str:
    """keras.applications.vgg16: 'block1_conv1'."""
    return name.replace('conv', 'block').replace('_', '_conv')


LAYOUTS = {
    'Caffe VGG16': Layout(names=str, fc6='fc6', fc7='fc7'),
    'torchvision VGG16': Layout(
        names=torchvision_name, fc6='classifier.0', fc7='classifier.3', preprocessing=TORCHVISION
    ),
    'Keras VGG16': Layout(names=keras_name, fc6='fc1', fc7='fc2', preprocessing=KERAS_CAFFE),
}


_VGG16 = KerasFile(  # with its dense layers: fc6 and fc7 are made of them
    'https://storage.googleapis.com/tensorflow/keras-applications/vgg16/'
    'vgg16_weights_tf_dim_ordering_tf_kernels.h5',
    '64373286793e3c8b2b4e3219cbf3544b',
)
IMAGENET_FILES = {'vgg': _VGG16, 'vgg_aspp': _VGG16}


def convert(file: WeightFile, encoder_name: str | None = None, exact_bn: bool = False) -> Converted:
    """Bring the weights of a VGG16 to a network.

    One head of the source becomes all four heads of an ASPP network.

    encoder_name: key of NETWORKS, or None for what the file suggests.
    exact_bn: without effect; VGG16 has no batch norm.
    Returns a Converted. Raises InputError when the file is no VGG16, or has four heads for one.
    """
    layouts = {title: layout.layers() for title, layout in LAYOUTS.items()}
    title, layers = recognise(file.path, file.layers, layouts)
    layout = LAYOUTS[title]
    has_aspp = 'fc6_1' in layers
    encoder_name = encoder_name or ('vgg_aspp' if has_aspp else 'vgg')
    if has_aspp and encoder_name == 'vgg':
        raise InputError(f'{file.path}: has four heads (ASPP); give --encoder-name vgg_aspp')
    result = Converted(title, encoder_name, layers)

    for name in CONVOLUTIONS:
        preprocessing = layout.preprocessing if name == CONVOLUTIONS[0] else OURS
        result.put(name, adapt_input(result.take(layout.names(name)), preprocessing))
    for head in HEADS[encoder_name]:
        source = head if has_aspp else ''
        fc6, fc7 = result.take(f'{layout.fc6}{source}'), result.take(f'{layout.fc7}{source}')
        fc6, fc7 = _decimated(fc6, fc7, file.channels_first)
        result.put(f'fc6{head}', fc6)
        result.put(f'fc7{head}', fc7)
        classifier = _classifier(layers, source)
        if classifier:
            result.put(f'fc8{head}', result.take(classifier))
    return result


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

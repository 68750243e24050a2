"""Weights that were made for another program, brought to these networks.

A layer is a dict from parameter to array, as in WeightFile.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeplablib.data.images import IMG_MEAN
from deeplablib.network.layers import BATCH_NORM_EPSILON
from deeplablib.network.network_spec import NetworkSpec, dimensions
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError, named
from deeplablib.weights import checkpoints
from deeplablib.weights.readers import keras_h5
from deeplablib.weights.readers.weight_file import VARIABLES, WeightFile

Layer = dict[str, npt.NDArray]

# What networks were trained on, (image - mean) / std of pixels of 0..255: mean and std per channel,
# in the order blue, green, red, and whether their kernels expect red first.
INPUTS = {
    'caffe': (IMG_MEAN, (1.0, 1.0, 1.0), False),  # ours
    # torchvision.transforms.Normalize with the values of every torchvision classification model.
    'torchvision': (
        (255 * 0.406, 255 * 0.456, 255 * 0.485),
        (255 * 0.225, 255 * 0.224, 255 * 0.229),
        True,
    ),
    # keras.applications.imagenet_utils.preprocess_input, mode 'caffe'.
    'keras': ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), False),
    # TensorFlow's lite/README.md of EfficientNet.
    'lite0': ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0), True),
}
INPUT_CHOICES = ('caffe', 'torchvision')
# A batch norm knows the variance of what the first convolution gives. Over the energy of its
# kernel this is about the variance of a pixel: 1 where it was standardised (0.2 of EfficientNet's
# was seen), 58 squared where it was not. Without a batch norm only a tiny kernel says something:
# the kernels of VGG16 have the same size in Caffe and in torchvision.
LARGEST_STANDARDISED, SMALLEST_OF_PIXELS = 10, 300
TINY_KERNEL = 0.01

FRESH_STDDEV = 0.01  # of the kernels of DeepLab v2's own classifiers
FRESH_SEED = 0

# So begin the names of layers behind an encoder, a last classifier or a head, which everybody has
# of his own, and of a loss, which may have weights of its classes.
_BEHIND = re.compile(
    r'(resnet_v1_\d+[./])?'
    r'(_?fc|layer[56]\.|dense|last_linear|criterion|loss|decoder|'
    r'\w*(aspp|classifier|head|logits|predictions|prob|score))'
)


class Converted(NamedTuple):
    """Weights of a file, as the layers of one network.

    title: what the file was recognised as. encoder_name: the network. input: of INPUTS, what it was
    trained on. layers: name here -> layer; what the file lacks is not in it. left: the file's
    layers that were not taken.
    """

    title: str
    encoder_name: str
    input: str
    layers: dict[str, Layer]
    left: dict[str, Layer]


def recognise(
    file: WeightFile, layouts: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]
) -> tuple[str, dict[str, Layer]]:
    """Find the layout that names the layers of a file, as they are or under a common prefix.

    layouts: title -> names of the layers that a file of that layout has. others: the same of
    networks that are none of ours.
    Returns the title, and the layers without the prefix, such as the 'backbone.' of a model that
    a network is a part of. Raises InputError when even the best layout lacks half of its layers, or
    is one of the others.
    """
    names_of = {**layouts, **others}

    def fit(choice):
        title, prefix = choice
        found = sum(f'{prefix}{name}' in file.layers for name in names_of[title])
        return 2 * found - len(names_of[title])

    parts = [name.split('.') for name in file.layers]
    prefixes = {''} | {''.join(f'{part}.' for part in p[:n]) for p in parts for n in (1, 2)}
    best = max(itertools.product(names_of, sorted(prefixes, key=len)), key=fit)
    known = ', '.join(layouts)
    if fit(best) <= 0:
        found = f'its layers are {named(file.layers)}'
        raise InputError(
            f'{file.path}: not the weights of any network known here ({known}); {found}'
        )
    title, prefix = best
    if title in others:
        raise InputError(f'{file.path}: the weights of {title}; known here are {known}')
    return title, {name.removeprefix(prefix): layer for name, layer in file.layers.items()}


def refuse_left(file: WeightFile, converted: Converted) -> None:
    """See that no layer of a file was left but copies of others and what stands behind an encoder.

    Raises InputError naming the others.
    """

    def content(layer):
        return frozenset((name, hash(value.tobytes())) for name, value in layer.items())

    left = converted.left
    untaken = {id(layer) for layer in left.values()}
    known = {content(layer) for layer in file.layers.values() if id(layer) not in untaken}
    known |= {content(layer) for name, layer in left.items() if _BEHIND.match(name)}
    new = [name for name, layer in left.items() if content(layer) not in known]
    refuse_other_layers(file.path, new, converted.title)


def refuse_other_layers(path: str | Path, left: Iterable[str], network: str) -> None:
    """See that of a file nothing is left over but what stands behind an encoder.

    A deeper network than ours has all its layers; without the others its weights are worth nothing.
    path: the file. left: names of its layers or variables that the network has no place for.
    network: what to call it in the message.
    Raises InputError naming the others.
    """
    other = [name for name in left if not _BEHIND.match(name)]
    if other:
        raise InputError(
            f'{path}: holds layers that {network} lacks, {named(other)}; it is another network, '
            'such as a deeper one'
        )


def from_keras(application: Callable, **options: Any) -> WeightFile:
    """Take the ImageNet weights of Keras Applications, which Keras keeps in ~/.keras/models.

    application: such as keras.applications.ResNet50. options: of it.
    Raises InputError when Keras has no such file and cannot fetch it.
    """
    try:
        return keras_h5.of_model(application(weights='imagenet', **options))
    except Exception as error:  # Keras raises no other kind when a download fails
        reason = str(error).split('\n')[0]
        raise InputError(
            f'cannot fetch ImageNet weights ({reason}); fetch that file by other means and put it '
            'into ~/.keras/models, or the folder models of KERAS_HOME'
        ) from None


def guess_input(path: str, conv: Layer, norm: Layer, has_foreign_layers: bool = False) -> str:
    """Tell which of INPUT_CHOICES a network was trained on, from its first layer.

    path: the file. conv: the first convolution, kernel [height, width, 3, out]. norm: the batch
    norm after it, or {}. has_foreign_layers: it has layers that torchvision's networks have not.
    Returns the input. Raises InputError where it cannot be known.
    """
    kernel = conv.get('weights', np.zeros((1, 1, 3, 0), np.float32))
    energy = np.square(kernel, dtype=np.float64).sum((0, 1, 2))
    if 'variance' in norm and energy.any():
        pixels = np.median(norm['variance'][energy > 0] / energy[energy > 0])
        if pixels > SMALLEST_OF_PIXELS:
            return 'caffe'
        if pixels < LARGEST_STANDARDISED and not has_foreign_layers:
            return 'torchvision'
    elif kernel.size and np.sqrt(np.mean(np.square(kernel))) < TINY_KERNEL:
        return 'caffe'
    raise InputError(
        f'{path}: nothing in it tells for certain which images it was trained on; say it: --input '
        'torchvision (RGB, standardised, as torchvision.models) or --input caffe (BGR of 0..255, '
        'minus the mean, as all that comes from Caffe)'
    )


def published_input(path: str, inputs: Mapping[str, str]) -> str | None:
    """The input of a published file; inputs: the beginning of its SHA-256 -> of INPUT_CHOICES."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(2**20):
            digest.update(part)
    return inputs.get(digest.hexdigest()[:8])


def adapt_input(layer: Layer, input: str, pixel_scale: float = 1.0) -> Layer:
    """Make the first convolution take our input, BGR minus IMG_MEAN, where it took another one.

    With x = (y + IMG_MEAN - mean) / std for our input y, the convolution of x is one of y, with
    kernel / std, plus a constant. Exact but where it reaches over the border, which is 0 in both.

    layer: its weights [height, width, 3, out]. input: of INPUTS. pixel_scale: what our network
    itself multiplies y by. Returns such a layer, with the constant in its biases.
    """
    if (input == 'caffe' and pixel_scale == 1) or 'weights' not in layer:
        return layer
    mean, std, is_rgb = INPUTS[input]
    kernel = layer['weights'].astype(np.float64)
    if is_rgb:
        kernel = kernel[:, :, ::-1]
    kernel = kernel / np.array(std)[:, None]
    constant = np.einsum('hwio,i->o', kernel, np.subtract(IMG_MEAN, mean))
    return {
        'weights': (kernel / pixel_scale).astype(np.float32),
        'biases': (layer.get('biases', 0) + constant).astype(np.float32),
    }


def biases_into_norm(conv: Layer, norm: Layer) -> tuple[Layer, Layer]:
    """Take the biases of a convolution from the mean of the batch norm after it: the same.

    Returns both layers, the convolution without biases.
    """
    if 'biases' in conv and 'mean' in norm:
        norm = norm | {'mean': norm['mean'] - conv['biases']}
    return {name: conv[name] for name in conv if name != 'biases'}, norm


def with_our_epsilon(norm: Layer, epsilon: float) -> Layer:
    """Make a batch norm do with our epsilon what it did with another.

    scale / sqrt(variance + epsilon) = new scale / sqrt(variance + BATCH_NORM_EPSILON).

    norm: of float32 arrays [channels]. Returns the same with its scale changed.
    """
    if epsilon == BATCH_NORM_EPSILON or not {'scale', 'variance'} <= norm.keys():
        return norm
    variance = norm['variance'].astype(np.float64)
    ratio = np.sqrt((variance + BATCH_NORM_EPSILON) / (variance + epsilon))
    return norm | {'scale': (norm['scale'] * ratio).astype(np.float32)}


def variables_of(network: NetworkSpec, layers: Mapping[str, Layer]) -> Layer:
    """The variables of a network, by their names in checkpoints, from its layers by theirs."""
    return {
        network.variable_name(f'{name}/{VARIABLES.get(parameter, parameter)}'): value
        for name, layer in layers.items()
        for parameter, value in layer.items()
    }


def build_with(
    network: NetworkSpec, values: Mapping[str, npt.NDArray], num_classes: int, path: str
) -> tuple[keras.Model, list[str]]:
    """Build a network and put weights into it.

    Variables of the classifier (in the widest sense that a recipe gives it) that are missing, and
    those of its last layers when they are for another number of classes, are drawn at random:
    kernels normal, biases zero, the same every time.

    values: variable name -> array. path: what they come from, for messages.
    Returns the Keras model and the names of the variables that were drawn.
    Raises InputError listing everything else that is missing or wrongly shaped.
    """
    model = network.build(**dimensions(network, values) | {'num_classes': num_classes})
    variables = network.variables(model)
    random = np.random.default_rng(FRESH_SEED)
    values, fresh = dict(values), []
    for name, variable in variables.items():
        if _is_classifier(network, name) and not _fits(values.get(name), variable, num_classes):
            fresh.append(name)
            if len(variable.shape) > 1:
                values[name] = random.normal(0, FRESH_STDDEV, variable.shape)
            else:
                values[name] = np.zeros(variable.shape)
    checkpoints.assign(values, variables, path)
    return model, fresh


def _is_classifier(network, name):
    return any(recipe.classifier in name for recipe in network.recipes.values())


def _fits(value, variable, num_classes):
    """Whether a classifier's variable can be used, or must raise as any other that does not fit."""
    if value is None:
        return False
    into_classes = variable.shape[-1] == num_classes
    return not into_classes or tuple(value.shape) == tuple(variable.shape)

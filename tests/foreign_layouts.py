"""Weights as files of other programs hold them: their names, and files of every kind."""

import re

import numpy as np

from deeplablib.utils.backend import keras
from tests.conversion import narrow_values

PARAMETERS = {
    'weights': 'weights',
    'biases': 'biases',
    'bias': 'biases',
    'gamma': 'scale',
    'beta': 'offset',
    'moving_mean': 'mean',
    'moving_variance': 'variance',
}
TORCHVISION_VGG = {
    'conv1_1': 'features.0',
    'conv1_2': 'features.2',
    'conv2_1': 'features.5',
    'conv2_2': 'features.7',
    'conv3_1': 'features.10',
    'conv3_2': 'features.12',
    'conv3_3': 'features.14',
    'conv4_1': 'features.17',
    'conv4_2': 'features.19',
    'conv4_3': 'features.21',
    'conv5_1': 'features.24',
    'conv5_2': 'features.26',
    'conv5_3': 'features.28',
    'fc6': 'classifier.0',
    'fc7': 'classifier.3',
    'fc8': 'classifier.6',
}
PARTS = {'1': 'shortcut', '2a': 'reduce', '2b': 'conv3x3', '2c': 'increase'}


def layers_of(values, rename=lambda name: name):
    """TF1 values as layers of a weight file, under other names."""
    layers = {}
    for name, value in values.items():
        layer, parameter = re.fullmatch(r'(.*?)[/_]([a-z]+|moving_[a-z]+)', name).groups()
        layers.setdefault(rename(layer), {})[PARAMETERS[parameter]] = value
    return layers


def _unit(name):
    """Parts of 'res4b7_branch2a': prefix, stage, number of the unit from 0, branch."""
    prefix, stage, unit, branch = re.fullmatch(r'(res|bn)(\d)([abc]\d*)_branch(\w+)', name).groups()
    number = int(unit[1:]) if len(unit) > 1 else 'abc'.index(unit)
    return prefix, int(stage), number, branch


def to_deeplab_pytorch(name):
    if name.startswith('fc1_voc12'):
        return f'base.aspp.{name[-2:]}'
    if 'conv1' in name:
        return f'base.layer1.conv1.{"bn" if "bn" in name else "conv"}'
    prefix, stage, number, branch = _unit(name)
    kind = 'conv' if prefix == 'res' else 'bn'
    return f'base.layer{stage}.block{number + 1}.{PARTS[branch]}.{kind}'


def to_torchvision(name):
    if 'conv1' in name:
        return 'bn1' if 'bn' in name else 'conv1'
    prefix, stage, number, branch = _unit(name)
    if branch == '1':
        part = f'downsample.{0 if prefix == "res" else 1}'
    else:
        part = f'{"conv" if prefix == "res" else "bn"}{" abc".index(branch[1])}'
    return f'layer{stage - 1}.{number}.{part}'


def narrow_vgg16(names):
    """An ImageNet VGG16 at 1/16 of its channels, whose dense layers are [in, out] in TF order."""
    values = {k: v for k, v in narrow_values('vgg').items() if not k.startswith('fc')}
    rs = np.random.RandomState(3)
    layers = layers_of(values)
    for name, shape in (('fc6', (7 * 7 * 32, 256)), ('fc7', (256, 256)), ('fc8', (256, 1000))):
        layers[name] = {
            'weights': rs.standard_normal(shape).astype(np.float32),
            'biases': rs.standard_normal(shape[1]).astype(np.float32),
        }
    return values, {names.get(name, name): layer for name, layer in layers.items()}


def keras_vgg16(include_top=True):
    """keras.applications.VGG16 at 1/32 of its channels: its layers, names and their order."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((224, 224, 3) if include_top else (None, None, 3))])
    for block, (filters, count) in enumerate(((2, 2), (4, 2), (8, 3), (16, 3), (16, 3)), 1):
        for i in range(1, count + 1):
            name = f'block{block}_conv{i}'
            model.add(layers.Conv2D(filters, 3, padding='same', name=name))
        model.add(layers.MaxPooling2D(2, name=f'block{block}_pool'))
    if include_top:
        model.add(layers.Flatten(name='flatten'))
        for name, units in (('fc1', 128), ('fc2', 128), ('predictions', 1000)):
            model.add(layers.Dense(units, name=name))
    return model

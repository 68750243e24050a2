"""Weights as files of other programs hold them: their names, and files of every kind."""

import re

import numpy as np
from safetensors.numpy import save_file

from tests import weight_file_writers as writers
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


def write_with(layers, path):
    {
        '.caffemodel': writers.write_caffemodel,
        '.npy': writers.write_kaffe,
        '.pth': lambda path, layers: writers.write_pth(path, writers.state_dict(layers)),
        '.safetensors': lambda path, layers: save_file(writers.state_dict(layers), path),
    }[path.suffix](path, layers)


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

"""The weights and images behind every reference file in this folder.

Weights are not stored: each is drawn from its own variable name, so a 176 MB
checkpoint can be rebuilt anywhere from `checkpoint_layout.json`.
"""

import zlib

import numpy as np

IMG_MEAN_BGR = np.array((104.00698793, 116.66876762, 122.67891434))


def weight(name, shape):
    """Value of one checkpoint variable.

    name: variable name in the TF1 checkpoint, e.g. 'res2a_branch1/weights'.
    shape: its shape, kernels as [height, width, in, out].
    Returns a float32 array.
    """
    rs = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    leaf = name.split('/')[-1]
    if leaf.endswith('weights'):
        gain = 0.05 if name.startswith(('fc1_voc12', 'fc8', 'decoder/')) else 1.0
        fan_in = int(np.prod(shape[:-1]))
        return (rs.standard_normal(shape) * gain * np.sqrt(2.0 / fan_in)).astype(np.float32)
    if leaf.endswith(('biases', 'bias')):
        return (rs.standard_normal(shape) * 0.1).astype(np.float32)
    if leaf == 'gamma':
        scale = 0.1 if ('branch2c/' in name or '/conv3/BatchNorm/' in name) else 1.0
        return (scale * (1.0 + 0.1 * rs.standard_normal(shape))).astype(np.float32)
    if leaf in ('beta', 'moving_mean'):
        return (0.1 * rs.standard_normal(shape)).astype(np.float32)
    if leaf == 'moving_variance':
        return (1.0 + 0.2 * np.abs(rs.standard_normal(shape))).astype(np.float32)
    raise KeyError(name)


def image(height, width, seed):
    """One network input: BGR, mean subtracted, float32, shape [1, height, width, 3]."""
    rs = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [
        127 + 60 * np.sin(x / (7 + 3 * c) + c) + 50 * np.cos(y / (5 + 2 * c) - c) for c in range(3)
    ]
    pixels = np.stack(channels, -1) + rs.standard_normal((height, width, 3)) * 10
    pixels = np.clip(np.rint(pixels), 0, 255)
    return (pixels - IMG_MEAN_BGR).astype(np.float32)[None]

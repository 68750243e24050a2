"""Write weights as other programs do, without those programs.

Layers are given as in WeightFile: name -> parameter -> array, kernels [height, width, in, out] and
dense weights [in, out].
"""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import h5py
import numpy as np
from safetensors.numpy import save_file

from deeplablib.utils.backend import tf

BATCH_NORM_FACTOR = 0.5  # a power of two: dividing by it loses nothing


def out_in_height_width(weights):
    return np.ascontiguousarray(weights.transpose(3, 2, 0, 1) if weights.ndim == 4 else weights.T)


# --- Caffe: protocol buffers put together by hand, after caffe.proto -----------------------------


def _varint(value):
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _blob(array, four_dimensions, double=False):
    if four_dimensions:
        shape = (1,) * (4 - array.ndim) + array.shape
        header = b''.join(_field(number, size) for number, size in enumerate(shape, 1))
    else:
        header = _field(7, _field(1, b''.join(map(_varint, array.shape))))
    return header + _field(8 if double else 5, array.astype('<f8' if double else '<f4').tobytes())


def write_caffemodel(path, layers, v1=False, double=False):
    """Batch norms are split into BatchNorm 'bn...' and Scale 'scale...'."""
    net = [_field(1, 'net')]
    for name, layer in layers.items():
        parts = []
        if 'weights' in layer:
            weights = out_in_height_width(layer['weights'])
            kind = ('Convolution', 4) if weights.ndim == 4 else ('InnerProduct', 14)
            parts.append((name, kind, [weights, *([layer['biases']] if 'biases' in layer else [])]))
        if 'mean' in layer:
            factor = np.float32(BATCH_NORM_FACTOR)
            blobs = [layer['mean'] * factor, layer['variance'] * factor, np.array([factor])]
            parts.append((name, ('BatchNorm', None), blobs))
            scale_name = name.replace('bn', 'scale', 1)
            parts.append((scale_name, ('Scale', None), [layer['scale'], layer['offset']]))
        for part_name, (kind, v1_kind), blobs in parts:
            net.append(caffe_layer(part_name, v1_kind if v1 else kind, blobs, v1, double))
    path.write_bytes(b''.join(net))


def caffe_layer(name, kind, blobs, v1=False, double=False):
    """One layer of a network; kind: its type, in the older form a number."""
    blobs = [_blob(blob, four_dimensions=v1, double=double) for blob in blobs]
    if v1:
        body = _field(4, name) + _field(5, kind)
        return _field(2, body + b''.join(_field(6, blob) for blob in blobs))
    body = _field(1, name) + _field(2, kind)
    return _field(100, body + b''.join(_field(7, blob) for blob in blobs))


# --- kaffe ---------------------------------------------------------------------------------------


def write_kaffe(path, layers, python2=False):
    buffer = io.BytesIO()
    np.save(buffer, np.array(layers, dtype=object), allow_pickle=True)
    if python2:
        header = buffer.getvalue()[: buffer.getvalue().index(b'\n') + 1]
        content = _Python2Pickler.dumps(np.array(layers, dtype=object))
        buffer = io.BytesIO(header + content)
    path.write_bytes(buffer.getvalue())


class _Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 and NumPy 1 did: protocol 2, str for bytes, numpy.core."""

    dispatch = dict(pickle._Pickler.dispatch)

    @classmethod
    def dumps(cls, content):
        buffer = io.BytesIO()
        cls(buffer, 2).dump(content)
        return buffer.getvalue().replace(b'cnumpy._core.', b'cnumpy.core.')

    def _save_str(self, text):
        self._save_bytes(text.encode('latin1'))

    def _save_bytes(self, content):
        self.write(pickle.BINSTRING + struct.pack('<i', len(content)) + content)
        self.memoize(content)

    dispatch[str] = _save_str
    dispatch[bytes] = _save_bytes


# --- PyTorch -------------------------------------------------------------------------------------


def state_dict(layers):
    """PyTorch's names and orders for layers."""
    names = {
        'weights': 'weight',
        'biases': 'bias',
        'scale': 'weight',
        'offset': 'bias',
        'mean': 'running_mean',
        'variance': 'running_var',
    }
    tensors = OrderedDict()
    for layer_name, layer in layers.items():
        for parameter, value in layer.items():
            value = out_in_height_width(value) if parameter == 'weights' else value
            tensors[f'{layer_name}.{names[parameter]}'] = value
        if 'mean' in layer:
            tensors[f'{layer_name}.num_batches_tracked'] = np.array(7)
    return tensors


class _Storage:
    def __init__(self, key, array):
        kind = {'f': 'FloatStorage', 'i': 'LongStorage'}[array.dtype.kind]
        self.reference = ('storage', getattr(sys.modules['torch'], kind), key, 'cpu', array.size)


class _TorchPickler(pickle.Pickler):
    def __init__(self, file, legacy):
        super().__init__(file, 2)
        self._legacy = legacy

    def persistent_id(self, content):
        if isinstance(content, _Storage):
            return (*content.reference, None) if self._legacy else content.reference


def write_pth(path, tensors, legacy=False):
    """Save a dictionary of arrays, or one that holds such, as torch.save does.

    legacy: as before PyTorch 1.6.
    """
    saved = {name: sys.modules.get(name) for name in ('torch', 'torch._utils')}
    torch, utils = types.ModuleType('torch'), types.ModuleType('torch._utils')
    for kind in ('FloatStorage', 'LongStorage'):
        setattr(torch, kind, type(kind, (), {'__module__': 'torch'}))

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__ = 'torch._utils'
    _rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    utils._rebuild_tensor_v2, torch._utils = _rebuild_tensor_v2, utils
    sys.modules.update({'torch': torch, 'torch._utils': utils})

    class Tensor:
        def __init__(self, key, array):
            strides = tuple(stride // array.itemsize for stride in array.strides)
            storage = _Storage(key, array)
            self.arguments = (storage, 0, array.shape, strides, False, OrderedDict())

        def __reduce__(self):
            return _rebuild_tensor_v2, self.arguments

    arrays = {}

    def with_tensors(value):
        if isinstance(value, dict):
            return OrderedDict((name, with_tensors(inner)) for name, inner in value.items())
        if not isinstance(value, np.ndarray):
            return value
        key = str(len(arrays))
        arrays[key] = np.array(value, order='C')
        return Tensor(key, arrays[key])

    content = with_tensors(tensors)
    content._metadata = OrderedDict(version=1)
    try:
        pickled = io.BytesIO()
        _TorchPickler(pickled, legacy).dump(content)
    finally:
        for name, module in saved.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    if legacy:
        head = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
        with open(path, 'wb') as file:
            for part in head:
                pickle.dump(part, file, 2)
            file.write(pickled.getvalue())
            pickle.dump(list(arrays), file, 2)
            for array in arrays.values():
                file.write(struct.pack('<q', array.size) + array.tobytes())
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', pickled.getvalue())
            archive.writestr('archive/byteorder', 'little')
            for key, array in arrays.items():
                archive.writestr(f'archive/data/{key}', array.tobytes())
            archive.writestr('archive/version', '3\n')


# --- Keras ---------------------------------------------------------------------------------------


def write_keras_1(path, layers):
    """A .h5 as Keras 1 wrote the published files: 'conv1_W_1:0', 'bn_conv1_running_std_1:0'."""
    names = {
        'weights': 'W',
        'biases': 'b',
        'scale': 'gamma',
        'offset': 'beta',
        'mean': 'running_mean',
        'variance': 'running_std',
    }
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [layer_name.encode() for layer_name in layers]
        for layer_name, layer in layers.items():
            group = file.create_group(layer_name)
            weight_names = [f'{layer_name}_{names[parameter]}_1:0' for parameter in layer]
            group.attrs['weight_names'] = [name.encode() for name in weight_names]
            for name, value in zip(weight_names, layer.values(), strict=True):
                group[name] = value


# --- TensorFlow 1 --------------------------------------------------------------------------------


def write_v1_checkpoint(path, values):
    """A checkpoint in one file, as TensorFlow wrote them before V2."""
    names = sorted(values)
    tf.raw_ops.Save(
        filename=str(path),
        tensor_names=names,
        data=[tf.convert_to_tensor(values[name]) for name in names],
    )


def write_with(layers, path):
    """Write layers in the format of a path's ending."""
    {
        '.caffemodel': write_caffemodel,
        '.npy': write_kaffe,
        '.pth': lambda path, layers: write_pth(path, state_dict(layers)),
        '.safetensors': lambda path, layers: save_file(state_dict(layers), path),
        '.h5': write_keras_1,
    }[path.suffix](path, layers)

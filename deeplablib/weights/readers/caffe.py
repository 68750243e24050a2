"""Caffe's .caffemodel, read without Caffe.

A .caffemodel is one protocol buffer. Only the fields that hold weights are declared here; the
numbers are those of caffe.proto (BVLC/caffe, src/caffe/proto/caffe.proto).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from deeplablib.utils.errors import InputError
from deeplablib.weights.readers.weight_file import WeightFile, height_width_in_out

EPSILON = 1e-5  # batch_norm_param.eps of caffe.proto

# Message: its fields as (name, number, type, repeated). `data` is a packed repeated float; declared
# as bytes, which look the same on the wire, it comes as one block instead of 60 million objects.
_MESSAGES = {
    'BlobShape': [('dim', 1, 'INT64', True)],
    'BlobProto': [
        ('num', 1, 'INT32', False),
        ('channels', 2, 'INT32', False),
        ('height', 3, 'INT32', False),
        ('width', 4, 'INT32', False),
        ('data', 5, 'BYTES', True),
        ('shape', 7, 'BlobShape', False),
        ('double_data', 8, 'BYTES', True),
    ],
    'LayerParameter': [
        ('name', 1, 'STRING', False),
        ('type', 2, 'STRING', False),
        ('blobs', 7, 'BlobProto', True),
    ],
    'V1LayerParameter': [
        ('name', 4, 'STRING', False),
        ('type', 5, 'INT32', False),
        ('blobs', 6, 'BlobProto', True),
    ],
    'NetParameter': [
        ('layers', 2, 'V1LayerParameter', True),
        ('layer', 100, 'LayerParameter', True),
    ],
}
# Such a file begins with nothing that tells it from others: what is unknown is read here.
_NOTHING_KNOWN = 'not a file of weights that is read here, or damaged'
_V1_TYPES = {4: 'Convolution', 14: 'InnerProduct'}  # V1LayerParameter.LayerType


def messages() -> Any:
    """Make the message classes: a dict from name to class."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name='caffe.proto', package='caffe', syntax='proto2')
    for message_name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            field = declared.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f'.caffe.{kind}'
            else:
                field.type = getattr(kinds, f'TYPE_{kind}')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f'caffe.{name}')) for name in _MESSAGES}


def read(path: str) -> WeightFile:
    """Read the convolution, dense, BatchNorm and Scale layers of a .caffemodel.

    A Scale layer becomes the scale and offset of its batch norm: 'scale4b7_branch2a' those of
    'bn4b7_branch2a'.

    path: the file; layers in either form, LayerParameter or the older V1LayerParameter.
    Returns a WeightFile. Raises InputError when it is no such file, is damaged, or has parameters
    in a layer of another type: without them the network would compute something else.
    """
    net = messages()['NetParameter']()
    try:
        net.ParseFromString(Path(path).read_bytes())
        layers: dict[str, dict] = {}
        for layer in (*net.layer, *net.layers):
            if not layer.blobs:
                continue  # it has no parameters
            kind = _V1_TYPES.get(layer.type, layer.type)
            if kind not in _LAYERS:
                known = ', '.join(_LAYERS)
                raise InputError(
                    f'{path}: layer {layer.name} has parameters and is of type {kind}; only '
                    f'{known} are read'
                )
            blobs = [_array(blob) for blob in layer.blobs]
            name, parameters = _LAYERS[kind](layer.name, *blobs)
            layers.setdefault(name, {}).update(parameters)
    except (message.DecodeError, ValueError, TypeError) as error:
        raise InputError(f'{path}: {_NOTHING_KNOWN} ({error})') from None
    if not layers:
        raise InputError(f'{path}: {_NOTHING_KNOWN} (it holds no layer)')
    return WeightFile(str(path), 'Caffe', layers, EPSILON, channels_first=True)


def _array(blob):
    if blob.data or not blob.double_data:
        values = np.frombuffer(b''.join(blob.data), '<f4')
    else:
        values = np.frombuffer(b''.join(blob.double_data), '<f8').astype(np.float32)
    shape = blob.shape.dim if blob.HasField('shape') else None
    return values.reshape(shape or (blob.num, blob.channels, blob.height, blob.width))


def _convolution(name, weights, biases=None):
    return name, _with_biases(height_width_in_out(weights), biases)


def _dense(name, weights, biases=None):
    # Old files give every blob four dimensions: [1, 1, out, in].
    return name, _with_biases(weights.reshape(weights.shape[-2:]).T, biases)


def _with_biases(weights, biases):
    layer = {'weights': weights}
    return layer if biases is None else layer | {'biases': biases.ravel()}


def _batch_norm(name, mean, variance, factor):
    # Sums, to be divided by how much was summed; batch_norm_layer.cpp takes 0 for "nothing".
    factor = np.float32(1 / factor.item() if factor.item() else 0)
    return name, {'mean': mean.ravel() * factor, 'variance': variance.ravel() * factor}


def _scale(name, scale, offset=None):
    offset = np.zeros_like(scale) if offset is None else offset
    return name.replace('scale', 'bn', 1), {'scale': scale.ravel(), 'offset': offset.ravel()}


# How each type is read: (name, *blobs) -> (name of the layer in the WeightFile, its parameters).
_LAYERS: dict[str, Callable] = {
    'Convolution': _convolution,
    'InnerProduct': _dense,
    'BatchNorm': _batch_norm,
    'Scale': _scale,
}

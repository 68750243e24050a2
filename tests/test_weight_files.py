import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints, readers
from tests import weight_file_writers as writers


def some_layers(norm='bn_conv1'):
    rs = np.random.RandomState(1)

    def draw(*shape):
        return rs.standard_normal(shape).astype(np.float32)

    return {
        'conv1': {'weights': draw(3, 5, 2, 4), 'biases': draw(4)},
        norm: {name: draw(4) for name in ('scale', 'offset', 'mean', 'variance')},
        'fc': {'weights': draw(6, 7), 'biases': draw(7)},
    }


def assert_layers(path, expected):
    layers = readers.read(path).layers
    assert {name: set(layer) for name, layer in layers.items()} == {
        name: set(layer) for name, layer in expected.items()
    }
    for name, layer in expected.items():
        for parameter, value in layer.items():
            np.testing.assert_array_equal(layers[name][parameter], value, f'{name} {parameter}')


@pytest.mark.parametrize('name', ['a.caffemodel', 'a.npy', 'a.pth', 'a.safetensors', 'a.h5'])
def test_every_format_is_read_into_the_same_layers(tmp_path, name):
    writers.write_with(some_layers(), tmp_path / name)
    assert_layers(tmp_path / name, some_layers())


def test_caffe_layers_of_the_older_kind(tmp_path):
    layers = {name: some_layers()[name] for name in ('conv1', 'fc')}
    writers.write_caffemodel(tmp_path / 'a.caffemodel', layers, v1=True)
    assert_layers(tmp_path / 'a.caffemodel', layers)


@pytest.mark.parametrize('v1, kind', [(True, '39'), (False, 'PReLU')])
def test_a_caffe_layer_of_another_type_is_refused_if_it_has_parameters(tmp_path, v1, kind):
    layers = {'conv1': some_layers()['conv1']}
    writers.write_caffemodel(tmp_path / 'a.caffemodel', layers, v1=v1)
    file = tmp_path / 'a.caffemodel'
    whole = file.read_bytes()
    file.write_bytes(whole + writers.caffe_layer('relu', int(kind) if v1 else kind, [], v1))
    assert_layers(file, layers)
    parameter = np.ones(4, np.float32)
    file.write_bytes(whole + writers.caffe_layer('up', int(kind) if v1 else kind, [parameter], v1))
    with pytest.raises(InputError, match=f'a.caffemodel: layer up has .* type {kind}; only Conv'):
        readers.read(file)


def test_caffe_blobs_in_double_precision(tmp_path):
    writers.write_caffemodel(tmp_path / 'a.caffemodel', some_layers(), double=True)
    assert_layers(tmp_path / 'a.caffemodel', some_layers())


def test_caffe_batch_norm_with_nothing_summed_is_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, 'BATCH_NORM_FACTOR', 0)
    writers.write_caffemodel(tmp_path / 'a.caffemodel', some_layers())
    norm = readers.read(tmp_path / 'a.caffemodel').layers['bn_conv1']
    assert not norm['mean'].any() and not norm['variance'].any()


def test_kaffe_dictionary_pickled_by_python_2(tmp_path):
    writers.write_kaffe(tmp_path / 'a.npy', some_layers(), python2=True)
    assert_layers(tmp_path / 'a.npy', some_layers())


def test_pytorch_file_in_the_format_before_1_6(tmp_path):
    tensors = writers.state_dict(some_layers())
    writers.write_pth(tmp_path / 'a.pt', tensors, legacy=True)
    assert_layers(tmp_path / 'a.pt', some_layers())


def test_keras_layers_without_weights_count_for_nothing(tmp_path):
    writers.write_keras_1(tmp_path / 'a.h5', some_layers() | {'pool1': {}})
    assert_layers(tmp_path / 'a.h5', some_layers())


def test_a_keras_network_with_scale_layers_of_its_own_is_refused(tmp_path):
    scale = {name: some_layers()['bn_conv1'][name] for name in ('scale', 'offset')}
    writers.write_keras_1(tmp_path / 'a.h5', some_layers() | {'scale_conv1': scale})
    with pytest.raises(InputError, match='a.h5: scale_conv1 is no convolution'):
        readers.read(tmp_path / 'a.h5')


def test_data_parallel_prefix_is_taken_off(tmp_path):
    tensors = writers.state_dict(some_layers())
    tensors = {f'module.{name}': value for name, value in tensors.items()}
    writers.write_pth(tmp_path / 'a.pth', tensors)
    assert_layers(tmp_path / 'a.pth', some_layers())


# --- hostile files -------------------------------------------------------------------------------


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def npy_of(pickled):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {'descr': '|O', 'fortran_order': False, 'shape': ()}
    )
    return header.getvalue() + pickled


def zip_of(pickled):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', pickled)
    return buffer.getvalue()


def legacy_of(pickled):
    head = (0x1950A86A20F9469CFC6C, 1001, {})
    return b''.join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2)


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize(
    'name, wrap',
    [('a.npy', npy_of), ('a.pth', zip_of), ('a.pth', legacy_of), ('a.pt', lambda pickled: pickled)],
)
@pytest.mark.parametrize('function', [os.system, eval, exec, getattr, __import__, open])
def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(
    tmp_path, name, wrap, function, protocol
):
    trace = tmp_path / 'trace'
    code = {os.system: f'touch {trace}', open: str(trace), __import__: 'antigravity'}
    arguments = (code.get(function, f'open({str(trace)!r}, "w")'),)
    arguments += ('w',) if function in (open, getattr) else ()
    pickled = pickle.dumps({'conv1': {'weights': Hostile(function, *arguments)}}, protocol)
    (tmp_path / name).write_bytes(wrap(pickled))
    refusal = rf'refused, for it names .*{function.__name__}|not a file of weights'
    with pytest.raises(InputError, match=rf'{name}: ({refusal})'):
        readers.read(tmp_path / name)
    assert not trace.exists()


def test_a_pickle_cannot_reach_beyond_the_table_by_a_dotted_name(tmp_path):
    pickled = b'\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.'
    (tmp_path / 'a.pth').write_bytes(zip_of(pickled))
    with pytest.raises(InputError, match='refused'):
        readers.read(tmp_path / 'a.pth')


def test_a_whole_pickled_module_is_refused_with_the_name_it_needs(tmp_path):
    (tmp_path / 'a.pth').write_bytes(zip_of(b'ctorchvision.models.resnet\nResNet\n.'))
    with pytest.raises(InputError, match='torchvision.models.resnet.ResNet'):
        readers.read(tmp_path / 'a.pth')


def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path):
    writers.write_pth(tmp_path / 'a.pth', {'conv1.weight': np.zeros(4, np.float32)})
    with zipfile.ZipFile(tmp_path / 'a.pth') as archive:
        pickled = archive.read('archive/data.pkl')
    # Shape (4,): the tuple of one small integer before its strides.
    assert pickled.count(b'K\x04\x85') == 1
    with zipfile.ZipFile(tmp_path / 'b.pth', 'w') as archive:
        archive.writestr('archive/data.pkl', pickled.replace(b'K\x04\x85', b'K\x05\x85'))
        archive.writestr('archive/data/0', bytes(16))
    readers.read(tmp_path / 'a.pth')
    with pytest.raises(InputError, match='b.pth: damaged'):
        readers.read(tmp_path / 'b.pth')


# --- damaged files -------------------------------------------------------------------------------


@pytest.mark.parametrize('part', [0.0, 0.02, 0.3, 0.9])
@pytest.mark.parametrize('name', ['a.caffemodel', 'a.npy', 'a.pth', 'a.safetensors'])
def test_a_truncated_file_is_one_error_that_names_it(tmp_path, name, part):
    writers.write_with(some_layers(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=name):
        readers.read(tmp_path / name)


@pytest.mark.parametrize('part', [0.05, 0.5, 0.99])
def test_a_truncated_file_of_the_older_pytorch_format(tmp_path, part):
    writers.write_pth(tmp_path / 'a.pth', writers.state_dict(some_layers()), legacy=True)
    content = (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'a.pth').write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match='a.pth'):
        readers.read(tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['a.caffemodel', 'a.npy', 'a.pth', 'a.safetensors', 'a.h5'])
@pytest.mark.parametrize('other', ['checkpoint.pth.tar', 'last.ckpt', 'pytorch_model.bin', 'plain'])
def test_a_file_is_read_by_what_it_holds(tmp_path, name, other):
    writers.write_with(some_layers(), tmp_path / name)
    (tmp_path / name).rename(tmp_path / other)
    assert_layers(tmp_path / other, some_layers())


@pytest.mark.parametrize('name', ['a.pth', 'a.ckpt', 'a.onnx', 'a.h5'])
@pytest.mark.parametrize(
    'content', [b'\x13\x37 something else entirely' * 50, b'<html>', b'', b'PK\3\4', b'\x80\4K\1.']
)
def test_something_else_is_one_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'{name}: .*(not|damaged)'):
        readers.read(path)


def test_an_archive_of_something_else_is_named(tmp_path):
    np.savez(tmp_path / 'a.npz', w=np.ones(3))
    with pytest.raises(InputError, match='a.npz: a zip archive, but not one of PyTorch'):
        readers.read(tmp_path / 'a.npz')


def test_checkpoints_of_tensorflow_are_known_by_what_they_hold(tmp_path):
    values = {'conv1/weights': np.ones((1, 1, 2, 3), np.float32)}
    checkpoints.write(tmp_path / 'm.pth', values)
    writers.write_v1_checkpoint(tmp_path / 'v1.h5', values)
    for name in ('m.pth', 'm.pth.index', 'm.pth.data-00000-of-00001', 'v1.h5'):
        assert set(readers.read(tmp_path / name).layers) == {'conv1'}
    with pytest.raises(InputError, match='absent.pth: no such checkpoint'):
        readers.read(tmp_path / 'absent.pth')


def test_a_parameter_that_is_unknown_keeps_its_name(tmp_path):
    tensors = writers.state_dict(some_layers()) | {'conv1.weight_orig': np.ones(3, np.float32)}
    writers.write_pth(tmp_path / 'a.pth', tensors)
    assert set(readers.read(tmp_path / 'a.pth').layers['conv1']) == {
        'weights',
        'biases',
        'weight_orig',
    }


def test_npy_and_pth_with_other_content(tmp_path):
    np.save(tmp_path / 'plain.npy', np.zeros(3))
    np.save(tmp_path / 'list.npy', np.array([1, 'a', None], dtype=object), allow_pickle=True)
    np.save(tmp_path / 'flat.npy', {'conv1': 3}, allow_pickle=True)
    (tmp_path / 'number.pth').write_bytes(zip_of(pickle.dumps(3)))
    for name in ('plain.npy', 'list.npy', 'flat.npy', 'number.pth'):
        with pytest.raises(InputError, match=name):
            readers.read(tmp_path / name)


@pytest.mark.parametrize(
    'keys',
    [
        'state_dict',
        'model',
        'model_state_dict',
        'model_state',
        'net',
        'my_name',
        'checkpoint.model',
    ],
)
def test_a_training_checkpoint_is_searched_for_its_state_dict(tmp_path, keys):
    tensors = writers.state_dict(some_layers())
    content = tensors
    for key in reversed(keys.split('.')):
        content = {'best': np.float64(3), key: content, 'optimizer': {'state': {0: {'step': 1}}}}
    writers.write_pth(tmp_path / 'a.pth', content)
    assert_layers(tmp_path / 'a.pth', some_layers())


def test_of_several_state_dicts_the_usual_one_is_taken(tmp_path):
    tensors = writers.state_dict(some_layers())
    others = {name: np.asarray(value + 1) for name, value in tensors.items()}
    writers.write_pth(tmp_path / 'a.pth', {'model_ema': others, 'model': tensors})
    assert_layers(tmp_path / 'a.pth', some_layers())
    assert readers.read(tmp_path / 'a.pth').others == ('model_ema',), 'named as dropped'
    writers.write_pth(tmp_path / 'a.pth', {'student': tensors, 'teacher': others})
    with pytest.raises(InputError, match='several state dicts, student, teacher; save one'):
        readers.read(tmp_path / 'a.pth')


def test_a_file_without_a_state_dict_is_refused_with_its_keys(tmp_path):
    (tmp_path / 'a.pth').write_bytes(
        zip_of(pickle.dumps({'epoch': 3, 'state_dict': OrderedDict()}, 2))
    )
    with pytest.raises(InputError, match='no state dict; its keys are epoch, state_dict; save'):
        readers.read(tmp_path / 'a.pth')

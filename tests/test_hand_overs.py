"""Tags and class activation maps as IRN and the programs that follow it save them."""

import io
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from deeplablib.data.masks import read_cams
from deeplablib.data.tags import read_tags
from deeplablib.utils.errors import InputError

CLASSES = ('background', 'cat', 'dog', 'cow')
MAPS = np.array([[[0, 0.5]], [[1, 1.5]]], np.float32)


class Tensor:
    """Pickled by its storage, as PyTorch pickles a tensor outside its own files."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        contents = io.BytesIO()
        for part in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}):
            pickle.dump(part, contents, 2)
        kind = {'f': 'FloatStorage', 'i': 'LongStorage'}[self.array.dtype.kind]
        reference = ('storage', getattr(sys.modules['torch'], kind), '0', 'cpu', 4, None)
        pickler = pickle.Pickler(contents, 2)
        pickler.persistent_id = lambda value: reference if value is self else None
        pickler.dump(self)
        pickle.dump(['0'], contents, 2)
        contents.write(struct.pack('<q', self.array.size) + self.array.tobytes())
        torch = sys.modules['torch']
        strides = tuple(stride // self.array.itemsize for stride in self.array.strides)
        storage = Call(torch.storage._load_from_bytes, contents.getvalue())
        return torch._utils._rebuild_tensor_v2, (storage, 0, self.array.shape, strides)


class Call:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.fixture
def torch(monkeypatch):
    """What a pickle names of PyTorch."""
    module = types.ModuleType('torch')
    names = ('FloatStorage', 'LongStorage'), ('_load_from_bytes',), ('_rebuild_tensor_v2',)
    for path, inner in zip(('torch', 'torch.storage', 'torch._utils'), names, strict=True):
        place = module if path == 'torch' else types.ModuleType(path)
        for name in inner:
            setattr(place, name, type(name, (), {'__module__': path}))
        monkeypatch.setitem(sys.modules, path, place)
    module.storage, module._utils = sys.modules['torch.storage'], sys.modules['torch._utils']


def test_tags_of_a_numpy_dictionary(tmp_path):
    labels = {'a/b.jpg': [0, 1, 1], 2007000032: np.float32([1, 0, 0]), 'none': np.zeros(3)}
    np.save(tmp_path / 'cls_labels.npy', {name: np.array(shown) for name, shown in labels.items()})
    expected = {'b': (2, 3), '2007_000032': (1,), 'none': ()}
    assert read_tags(tmp_path / 'cls_labels.npy', CLASSES) == expected
    for shown in ([0, 1], [0, 0.5, 1]):
        np.save(tmp_path / 'cls_labels.npy', {'a': np.array(shown)})
        with pytest.raises(InputError, match=r'cls_labels\.npy, a: expected 3 values, 0 or 1'):
            read_tags(tmp_path / 'cls_labels.npy', CLASSES)


@pytest.mark.parametrize(
    'cams',
    [
        {'keys': np.array([1, 2]), 'cam': MAPS[:, :, :1], 'high_res': MAPS},
        {1: MAPS[0], np.int64(2): MAPS[1]},
        {'keys': Tensor(np.array([1, 2])), 'cam': Tensor(MAPS), 'high_res': MAPS},
        {'keys': Tensor(np.array([1, 2])), 'high_res': Tensor(MAPS)},
    ],
)
def test_class_activation_maps_of_a_numpy_dictionary(tmp_path, torch, cams):
    np.save(tmp_path / 'a.npy', cams)
    maps = read_cams(tmp_path / 'a.npy', (1, 2))
    assert list(maps) == [2, 3]
    np.testing.assert_array_equal([*maps.values()], [[[0, 128]], [[255, 255]]])
    with pytest.raises(InputError, match=r'a\.npy: expected maps of 3x1'):
        read_cams(tmp_path / 'a.npy', (1, 3))


@pytest.mark.parametrize(
    'content', [np.zeros(3), {'a': print}, {'keys': [1]}, {'keys': 1}, [1, {}]]
)
def test_no_other_numpy_file_is_taken(tmp_path, content):
    np.save(tmp_path / 'a.npy', np.array(content, object if isinstance(content, list) else None))
    for read in (read_tags, lambda path: read_cams(path, (1, 2))):
        with pytest.raises(InputError, match=r'a\.npy'):
            read(tmp_path / 'a.npy')

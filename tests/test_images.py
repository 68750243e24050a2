import io
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.images import read_header, read_image, write_image
from deeplablib.data.masks import read_grey, read_mask, write_mask
from deeplablib.utils.errors import InputError

READERS = {
    'image': read_image,
    'map': lambda path: read_grey(path, (40, 50)),
    'mask': read_mask,
    'size': read_header,
}


def chunk(kind, content):
    check = zlib.crc32(kind + content).to_bytes(4, 'big')
    return len(content).to_bytes(4, 'big') + kind + content + check


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(2000, dtype=np.uint8).reshape(40, 50) % 21).save(buffer, 'PNG')
    return buffer.getvalue()


DAMAGED = {
    'a nameless chunk': png()[:33] + chunk(b'IDAT', b'') + chunk(b'\x9a' * 4, b''),  # SyntaxError
    'a short chunk': png()[:33] + chunk(b'pHYs', b'') + png()[33:],  # ValueError
    'cut off': png()[:60],
}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('damage', DAMAGED)
def test_a_damaged_png_is_named(tmp_path, reader, damage):
    (tmp_path / 'a.png').write_bytes(DAMAGED[damage])
    with pytest.raises(InputError, match=r'a\.png.*\(.+\)'):
        READERS[reader](tmp_path / 'a.png')


@pytest.mark.parametrize('reader', READERS)
def test_an_image_too_large_and_a_file_that_is_none_are_told_apart(tmp_path, reader):
    size = (20_000).to_bytes(4, 'big') + (10_000).to_bytes(4, 'big')
    head = chunk(b'IHDR', size + bytes([8, 0, 0, 0, 0]))
    (tmp_path / 'a.png').write_bytes(png()[:8] + head + png()[33:])
    with pytest.raises(InputError, match=r'a\.png.*200000000 pixels'):
        READERS[reader](tmp_path / 'a.png')
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'a\.png.*\(not an image\)'):
        READERS[reader](tmp_path / 'a.png')


@pytest.mark.parametrize('write', [write_mask, write_image])
def test_an_image_is_written_elsewhere_and_then_moved(tmp_path, monkeypatch, write):
    def fail(*_):
        raise OSError(5, 'Input/output error')

    (tmp_path / 'a.png').write_bytes(png())
    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='Input/output error'):
        write(tmp_path / 'a.png', np.zeros((2, 2), np.uint8))
    assert os.listdir(tmp_path) == ['a.png'] and (tmp_path / 'a.png').read_bytes() == png()

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, replacing


def write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write(tmp_path / 'a', 'old')
    with pytest.raises(RuntimeError), replacing(tmp_path / 'a') as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert (tmp_path / 'a').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a']


def test_a_failing_disk_is_reported_with_the_file(tmp_path):
    expected = f"No space left on device: '{tmp_path}/a'"
    with pytest.raises(OSError, match=expected), replacing(tmp_path / 'a'):
        raise OSError(28, 'No space left on device')
    with pytest.raises(OSError, match='gone/a'):
        write(tmp_path / 'gone' / 'a', '')


def test_a_link_is_followed_and_a_device_is_written_as_it_is(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    write(tmp_path / 'link', 'x')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'target').read_text() == 'x'
    os.mkfifo(tmp_path / 'pipe')
    with replacing(tmp_path / 'pipe') as temporary:
        assert temporary == tmp_path / 'pipe'
    assert stat.S_ISFIFO(os.stat(tmp_path / 'pipe').st_mode)


def test_a_pipe_is_written_as_it_is():
    reading, writing = os.pipe()
    write(f'/dev/fd/{writing}', 'x')
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.read() == 'x'


def test_files_of_many_threads_have_the_usual_permissions(tmp_path):
    umask = os.umask(0o022)
    os.umask(umask)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write(tmp_path / str(i), 'x'), range(200)))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}
    after = os.umask(umask)
    assert after == umask, 'changed under way'


def test_a_folder_is_locked_where_its_file_system_has_locks(tmp_path, monkeypatch, capsys):
    with locked(tmp_path), pytest.raises(InputError, match='another process'), locked(tmp_path):
        pass
    assert capsys.readouterr().out == ''

    def no_locks(*_):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', no_locks)
    with locked(tmp_path) as descriptor:
        os.fstat(descriptor)
    assert 'has no locks (Function not implemented)' in capsys.readouterr().out

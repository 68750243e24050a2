import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from deeplablib.data.score_maps import resize_bilinear, write_score_map
from deeplablib.utils import cluster
from deeplablib.utils.errors import InputError
from tests import golden
from tests.command import ROOT, refused, run_command

IMAGES = 12
SIZE = (120, 150)


class Cluster:
    """A scheduler and workers, each a process of its own, on the loopback."""

    def __init__(self, folder):
        self.folder = folder
        file = folder / 'scheduler.json'
        scheduler = self._start('scheduler', '--port', '0', '--scheduler-file', file)
        self.processes = [scheduler]
        _wait_for(lambda: file.is_file() and file.read_text().endswith('}'))
        self.address = json.loads(file.read_text())['address']

    def add_worker(self, dask=(sys.executable, '-m', 'dask')):
        flags = ('--nthreads', '1', '--no-nanny', '--local-directory', self.folder)
        self.processes.append(self._start('worker', self.address, *flags, dask=dask))
        return self.processes[-1]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, part, *flags, dask=(sys.executable, '-m', 'dask')):
        command = [*dask, part, '--host', '127.0.0.1', '--no-dashboard', *map(str, flags)]
        with open(self.folder / f'{part}.log', 'a') as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def _wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A Cluster without workers."""
    monkeypatch.setattr(cluster, 'WORKER_SECONDS', 60)  # a busy machine starts them slowly
    (tmp_path / 'cluster').mkdir()
    started = Cluster(tmp_path / 'cluster')
    yield started
    started.stop()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Images with tags and score files, enough of them for something to happen in the middle."""
    folder = tmp_path_factory.mktemp('data')
    for name in ('JPEGImages', 'scores'):
        (folder / name).mkdir()
    names = [f'image_{i:02}' for i in range(IMAGES)]
    for i, name in enumerate(names):
        source = golden.FOLDER / 'voc/JPEGImages/gold_000001.jpg'
        shutil.copy(source, folder / f'JPEGImages/{name}.jpg')
        coarse = np.random.default_rng(i).normal(0, 3, (4, 5, 21)).astype(np.float32)
        write_score_map(
            folder / f'scores/{name}.npz', resize_bilinear(coarse, (15, 19)), SIZE, 'logits'
        )
    (folder / 'list.txt').write_text(''.join(f'{name}\n' for name in names))
    (folder / 'tags.txt').write_text(''.join(f'{name} 1 5 20\n' for name in names))
    return folder


def flags(data):
    return '--data-dir', data, '--data-list', data / 'list.txt', '--scores', data / 'scores'


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != '.'}


def test_a_killed_worker_loses_nothing_and_doubles_nothing(started, data):
    workers = [started.add_worker(), started.add_worker()]
    refine = ('selection.refine_masks', *flags(data), '--tags', data / 'tags.txt')
    out = data / 'clustered'

    def kill():
        _wait_for(lambda: len(list(out.glob('*.png'))) >= IMAGES // 4)
        workers[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = run_command(*refine, '--out', out, '--scheduler', started.address)
    killer.join()
    assert result.code == 0, result.error
    assert workers[0].wait(timeout=9) == -signal.SIGKILL
    assert run_command(*refine, '--out', data / 'alone', '--jobs', '1').code == 0
    assert files_of(out) == files_of(data / 'alone')
    assert len(files_of(out)) == IMAGES + 1
    assert len((out / 'quality.csv').read_text().splitlines()) == IMAGES + 1

    crf = ('crf_vocspsm', *flags(data), '--tags', data / 'tags.txt')
    given = ('--scheduler', started.address)
    assert run_command(*crf, '--save-dir', data / 'crf', *given).code == 0, 'one worker is left'
    assert len(files_of(data / 'crf')) == IMAGES


def test_a_cluster_that_cannot_do_the_work_is_refused(started, tmp_path, monkeypatch):
    def choose(message):
        given = ('--masks', 'm', '--scores', 's', '--scheduler', started.address)
        result = run_command('selection.choose_candidates', *given)
        refused(result, message, 'python -m dask worker')

    with mock.patch.object(cluster, 'WORKER_SECONDS', 0.5):
        choose('the scheduler has no workers')
    # The script dask, unlike python -m dask, does not find what is in the folder it is started in.
    started.add_worker(dask=[Path(sys.executable).parent / 'dask'])
    choose('does not find the package deeplablib')
    monkeypatch.chdir(tmp_path)
    choose(f'was started in {ROOT}')


def test_losing_the_workers_or_the_scheduler_is_reported(started):
    started.add_worker()
    assert list(cluster.results(len, ['work'], started.address)) == [4]
    with (
        mock.patch.object(cluster, 'WORKER_SECONDS', 1),
        pytest.raises(InputError, match='the scheduler has no workers'),
    ):
        list(cluster.results(os._exit, [1], started.address))
    started.add_worker()
    results = cluster.results(time.sleep, [0.1] * 50, started.address)
    next(results)
    started.processes[0].kill()
    with pytest.raises(ConnectionError, match='the work was lost'):
        list(results)


@pytest.mark.parametrize('address', ['127.0.0.1:1', 'nobody.invalid:8786', 'nonsense', ''])
def test_an_address_that_nobody_answers_is_one_line(address):
    with mock.patch.object(cluster, 'CONNECT_SECONDS', 0.5):
        result = run_command(
            'selection.choose_candidates', '--scheduler', address, '--masks', 'm', '--scores', 's'
        )
    refused(result, f'{address}: no Dask scheduler answers here')
    assert result.error.count('\n') == 1


def test_without_the_package_the_remedy_is_named():
    with mock.patch.dict(sys.modules, {'distributed': None}):
        result = run_command('crf_vocspsm', '--scheduler', '127.0.0.1:8786')
    refused(result, 'pip install distributed')


def test_jobs_and_scheduler_exclude_each_other():
    result = run_command('crf_vocspsm', '--jobs', '2', '--scheduler', 'x:1')
    assert result.code == 2

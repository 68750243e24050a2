"""Training on several devices against training on one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deeplablib.training import devices
from deeplablib.training.training_log import read_log
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from tests.training_run import flags_of, make_samples, run_main

ROOT = Path(__file__).parent.parent
TWO_DEVICES = """
from deeplablib.utils import errors
from deeplablib.utils.backend import tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
import main
errors.run_script(main.main)
"""
# Each device draws dropout for itself; without dropout two devices do what one does.
FLAGS = {'batch_size': 4, 'dropout_rate': 0, 'num_steps': 3, 'learning_rate': 1e-2}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_samples(folder)
    assert run_main(folder, 'one', **FLAGS).code == 0
    return folder


def assert_equals_one_device(data, run):
    values, expected = (
        checkpoints.read(data / name / 'model/model.ckpt-3') for name in (run, 'one')
    )
    assert set(values) == set(expected)
    for name in values:
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(
            values[name], expected[name], rtol=0, atol=1e-5 * scale, err_msg=name
        )
    losses, expected = (read_log(data / name / 'log.txt') for name in (run, 'one'))
    np.testing.assert_allclose(losses, expected, atol=0.002)


def start(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    try:
        output, _ = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output


def test_two_devices_train_as_one(data):
    flags = flags_of(data, 'mirrored', strategy='mirrored', **FLAGS)
    code, output = finish(start(['-c', TWO_DEVICES, *flags]))
    assert code == 0, output
    assert_equals_one_device(data, 'mirrored')


@pytest.mark.parametrize(
    'task, cluster, leads',
    [
        (('worker', 0), {'worker': ['a:1', 'b:1']}, True),
        (('worker', 1), {'worker': ['a:1', 'b:1']}, False),
        (('chief', 0), {'chief': ['a:1'], 'worker': ['b:1']}, True),
        (('worker', 0), {'chief': ['a:1'], 'worker': ['b:1']}, False),
        ((None, None), {}, True),
    ],
)
def test_one_process_leads(task, cluster, leads):
    task_type, task_id = task
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=task_type, task_id=task_id
    )
    assert devices.is_leader(resolver) == leads
    assert devices.is_leader(None)


@pytest.mark.parametrize(
    'batch_size, train_batch_norm, words',
    [(3, False, '--batch_size 3 cannot be shared evenly by 2'), (4, True, '--train_batch_norm')],
)
def test_what_devices_cannot_share_is_refused(batch_size, train_batch_norm, words, monkeypatch):
    two = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, 'MirroredStrategy', lambda names: two)
    settings = SimpleNamespace(
        strategy='mirrored', batch_size=batch_size, train_batch_norm=train_batch_norm
    )
    with pytest.raises(InputError, match=words):
        devices.make_strategy(settings)


def free_ports(count):
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(*flags_of_each):
    cluster = {'worker': [f'127.0.0.1:{port}' for port in free_ports(len(flags_of_each))]}
    return [
        start(
            ['main.py', *flags],
            TF_CONFIG=json.dumps({'cluster': cluster, 'task': {'type': 'worker', 'index': i}}),
        )
        for i, flags in enumerate(flags_of_each)
    ]


def test_two_processes_train_as_one(data):
    flags = flags_of(data, 'multiworker', strategy='multiworker', **FLAGS)
    for code, output in map(finish, start_workers(flags, flags)):
        assert code == 0, output
        assert 'WARNING' not in output and 'unhealthy' not in output
    assert_equals_one_device(data, 'multiworker')


def test_machines_that_do_not_see_one_modeldir_are_told_so(data):
    options = FLAGS | {'num_steps': 5, 'strategy': 'multiworker', 'resume_changed': True}
    workers = start_workers(flags_of(data, 'one', **options), flags_of(data, 'apart', **options))
    for code, output in map(finish, workers):
        assert code == 2, output
        assert 'begin at steps [4, 0] with different weights; --modeldir and' in output

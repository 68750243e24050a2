"""Training on several devices against training on one."""

import json
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from deeplablib.training import devices
from deeplablib.training.training_log import read_log
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from tests.command import ROOT
from tests.training_run import flags_of, make_samples, run_main

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


@pytest.mark.parametrize('task, leads', [('chief', True), ('worker', False)])
def test_a_chief_leads_where_there_is_one(task, leads):
    cluster = tf.train.ClusterSpec({'chief': ['a:1'], 'worker': ['b:1']})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type=task, task_id=0
    )
    assert devices.is_leader(resolver) == leads


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


def test_two_processes_train_as_one(data):
    flags = flags_of(data, 'multiworker', strategy='multiworker', **FLAGS)
    cluster = {'worker': [f'127.0.0.1:{port}' for port in free_ports(2)]}
    tasks = ({'cluster': cluster, 'task': {'type': 'worker', 'index': i}} for i in (0, 1))
    workers = [start(['main.py', *flags], TF_CONFIG=json.dumps(task)) for task in tasks]
    for code, output in map(finish, workers):
        assert code == 0, output
        assert 'WARNING' not in output and 'unhealthy' not in output
    assert_equals_one_device(data, 'multiworker')


@pytest.mark.parametrize('step, checksum', [(4, 0), (0, 1)])
def test_machines_that_do_not_see_one_modeldir_are_told_so(monkeypatch, step, checksum):
    trainer = SimpleNamespace(variables={'v': tf.Variable(1.0)})

    def gather(_, *values):
        return np.array([np.add(values, (step, checksum)), values])

    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=rf'\[{step}, 0\] with dif'),
    ):
        patch.setattr(devices, 'gather', gather)
        devices.check_same_start(None, trainer, 0)
    devices.check_same_start(tf.distribute.get_strategy(), trainer, 0)

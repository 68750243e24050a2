"""The devices that train together: one, all of this machine, or those of several machines."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.training.trainer import Trainer
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError


def make_strategy(settings: Any) -> tf.distribute.Strategy:
    """The tf.distribute strategy that a training is set to.

    settings: the flags of main.py; strategy, train_batch_norm and batch_size count.
    It must be made before TensorFlow computes anything: several machines have to meet first.
    Raises InputError when the devices cannot share a batch evenly, or one would have to share the
    statistics of its batch norm.
    """
    if settings.strategy == 'one':
        return tf.distribute.get_strategy()
    if settings.strategy == 'multiworker':
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        kind = 'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'
        devices = tf.config.list_logical_devices(kind)
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    if settings.train_batch_norm and strategy.num_replicas_in_sync > 1:
        raise InputError('--train_batch_norm gathers statistics on one device only: --strategy one')
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise InputError(
            f'--batch_size {settings.batch_size} cannot be shared evenly by '
            f'{strategy.num_replicas_in_sync} devices'
        )
    return strategy


def is_leader(cluster_resolver: Any) -> bool:
    """Whether this process writes checkpoints and logs: one of all that train together does.

    cluster_resolver: of the strategy; None where there is only this process.
    """
    if cluster_resolver is None or cluster_resolver.task_id is None:
        return True
    has_chief = 'chief' in cluster_resolver.cluster_spec().jobs
    leader = ('chief' if has_chief else 'worker', 0)
    return (cluster_resolver.task_type, cluster_resolver.task_id) == leader


def make_repeatable(random_seed: int) -> None:
    """Say what a training runs on, and let all that it draws come from its seed."""
    gpus = len(tf.config.list_physical_devices('GPU'))
    print(f'Training on {gpus} GPU(s)' if gpus else 'No GPU was found: training on the CPU')
    keras.utils.set_random_seed(random_seed)
    if not gpus:
        tf.config.experimental.enable_op_determinism()  # costs nothing on a CPU


def gather(strategy: tf.distribute.Strategy, *values: int) -> npt.NDArray[np.int64]:
    """Wait for all devices that train together, and gather their values, int64 [devices, n]."""

    @tf.function
    def own():
        return strategy.run(tf.constant, ([values], tf.int64))

    return strategy.gather(own(), axis=0).numpy()


def check_same_start(strategy: tf.distribute.Strategy, trainer: Trainer, first_step: int) -> None:
    """Raise InputError when machines that train together do not begin alike."""
    checksum = 0
    for variable in trainer.variables.values():
        checksum = zlib.crc32(variable.numpy(), checksum)
    starts = gather(strategy, first_step, checksum)
    if (starts != starts[0]).any():
        raise InputError(
            f'the machines of TF_CONFIG begin at steps {starts[:, 0].tolist()} with different '
            'weights; --modeldir and --pretrain_file must be the same files for all of them'
        )

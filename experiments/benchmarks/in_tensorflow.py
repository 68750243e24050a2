"""The work of the networks: what experiments/benchmark.py times of prediction and training.

A `form` is 'plain' (the originals': plain_form), 'float32' or 'bfloat16'; a `network` is a key of
NETWORKS, and `width` multiplies its channels. Weights and images are random.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.image_lists import read_list
from deeplablib.data.images import IMG_MEAN, write_mask
from deeplablib.data.network_input import decode_image, preprocess
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.convolution import require_precision
from deeplablib.network.flops import TRAINING, forward_flops
from deeplablib.network.resize import resize_bilinear
from deeplablib.network.training_form import training_model
from deeplablib.prediction.multi_scale import SCALES, make_predictor, multi_scale_score_map
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.training.batches import BatchSettings
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_settings import TrainingSettings
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.stages import as_flags
from deeplablib.weights import checkpoints
from experiments.benchmarks.measure import Work
from experiments.benchmarks.plain_form import plain_form

NETWORKS = resnet.NETWORKS | vgg.NETWORKS
RECIPE = 'authors'  # of the VGG networks
EVERY_CLASS = np.ones(NUM_CLASSES, bool)
SIDE = 2048  # of the square matrices whose product gives the machine's rate


def matrix_product(precision: str) -> Work:
    """The product of two large matrices: what the machine can do at most in a second."""
    factor = tf.cast(tf.random.normal([SIDE, SIDE]), precision)
    return Work(lambda: tf.linalg.matmul(factor, factor)[0, 0].numpy(), flops=2 * SIDE**3)


def prediction(
    form: str, network: str, width: float, height_width: tuple[int, int], scales: int
) -> Work:
    """From an image in memory to its labels, at the first so many of SCALES."""
    model = NETWORKS[network].build(width=width)
    factors = SCALES[:scales]
    predict = predictor(form, network, model, factors)
    image = random_image(height_width)
    return Work(
        lambda: predict(image, EVERY_CLASS)[0].numpy(),
        flops=prediction_flops(model, height_width, factors),
    )


def end_to_end(form: str, network: str, width: float, data: str | Path, count: int) -> Work:
    """From files to files at three scales; data: from on_files.write_data. count: images."""
    model = NETWORKS[network].build(width=width)
    samples = read_list(Path(data) / 'list.txt', data)[:count]
    folder = tempfile.TemporaryDirectory()
    save_dir = Path(folder.name)
    predict = predictor(form, network, model, SCALES)

    def one_after_another():
        for sample in samples:
            labels, _ = predict(decode_image(str(sample.image)), EVERY_CLASS)
            write_mask(save_dir / f'{sample.name}.png', labels.numpy())

    def overlapped():
        predict_samples(predict, samples, save_dir)

    height_width = decode_image(str(samples[0].image)).shape[:2]
    return Work(
        one_after_another if form == 'plain' else overlapped,
        items=count,
        flops=prediction_flops(model, height_width, SCALES),
        keeps=folder,
    )


def training(
    form: str,
    network: str,
    width: float,
    height_width: tuple[int, int],
    batch_size: int,
    devices: int = 1,
    recompute: bool = False,
) -> Work:
    """One step on a batch in memory, shared by so many logical CPU devices."""
    strategy = tf.distribute.get_strategy()
    if devices == 1:
        require_precision(form)
    if devices > 1:
        cpu = tf.config.list_physical_devices('CPU')[0]
        device = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [device] * devices)
        strategy = tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(devices)])
    settings = TrainingSettings(
        num_steps=10**6,
        learning_rate=1e-9,  # so that nothing diverges, however many steps
        random_seed=1,
        recompute=recompute,
    )
    with strategy.scope():
        model = NETWORKS[network].build(width=width)
        flops = TRAINING * batch_size * forward_flops(model, *height_width)
        model = plain_form(model) if form == 'plain' else training_model(model, form)
        trainer = Trainer(
            model,
            network=NETWORKS[network],
            recipe=NETWORKS[network].recipes[RECIPE],
            settings=settings,
            batches=BatchSettings(height_width, batch_size),
        )
    batch = [part[None] for part in random_batch(height_width, batch_size)]

    def share(context):
        start = context.replica_id_in_sync_group * batch_size // devices
        return [tf.constant(part[:, start : start + batch_size // devices]) for part in batch]

    images, labels = strategy.experimental_distribute_values_from_function(share)
    step = tf.constant(0, tf.int64)
    return Work(lambda: float(trainer.step(images, labels, step)[0]), flops=flops)


def first_mask(script: str, network: str, width: float, data: str | Path) -> Work:
    """A whole run of a test script for one image: import, checkpoint, tracing, mask."""
    folder = tempfile.TemporaryDirectory()
    prefix = Path(folder.name) / 'model'
    model = NETWORKS[network].build(width=width)
    checkpoints.write(prefix, NETWORKS[network].variables(model))
    flags = as_flags(
        data_dir=data,
        data_list=f'{data}/list.txt',
        num_steps=1,
        restore_from=prefix,
        save_dir=f'{folder.name}/result',
    )
    command = [sys.executable, script, *flags]
    return Work(lambda: subprocess.run(command, check=True, capture_output=True), keeps=folder)


def predictor(form: str, network: str, model: keras.Model, scales: Sequence[float]) -> Callable:
    """What make_predictor gives, in one of the forms; the plain one allows any class."""
    require_precision(form)
    to_score_map = NETWORKS[network].to_score_map
    if form != 'plain':
        return make_predictor(model, to_score_map, scales, precision=form)
    plain = plain_form(model)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([NUM_CLASSES], tf.bool),
        ]
    )
    def predict(image, allowed):
        batch = preprocess(image)[None]
        fused = multi_scale_score_map(plain, to_score_map, batch, scales)
        full_size = resize_bilinear(fused, tf.shape(image)[:2])
        return tf.cast(tf.argmax(full_size, -1, tf.int32)[0], tf.uint8), fused[0]

    return predict


def prediction_flops(
    model: keras.Model, height_width: tuple[int, int], scales: Sequence[float]
) -> int:
    """The floating-point operations of an image's prediction."""
    return sum(forward_flops(model, *(int(n * scale) for n in height_width)) for scale in scales)


def random_image(height_width: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3]."""
    return np.random.default_rng(0).integers(0, 256, (*height_width, 3), np.uint8)


def random_batch(
    height_width: tuple[int, int], batch_size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Images, float32 [batch, height, width, 3], and labels, uint8 [batch, height, width]."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch_size, *height_width, 3)) - np.array(IMG_MEAN)
    labels = random.integers(0, NUM_CLASSES, (batch_size, *height_width), np.uint8)
    return images.astype(np.float32), labels

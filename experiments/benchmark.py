"""How fast prediction and a training step are on this machine.

python -m experiments.benchmark
python -m experiments.benchmark --encoders vgg --width 0.125 --repetitions 2     in a minute

Three forms of a network take turns, on random pixels in memory: plain float32, as the originals'
graphs are (batch norm a step of its own, dilation by space-to-batch), and ours in float32 and in
bfloat16. The table gives seconds, and the time over that of the plain form in the same turn.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.images import IMG_MEAN
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.convolution import require_precision
from deeplablib.network.folding import fold_for_prediction, fold_for_training
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.prediction.multi_scale import SCALES, make_predictor
from deeplablib.training.trainer import Trainer
from deeplablib.utils import errors
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import check_output_file, replacing
from deeplablib.utils.text_tables import text_table

ENCODERS = ('deeplab', 'vgg')
SIZES = ('321x321', '375x500')
BATCH_SIZES = (2, 10)
REPETITIONS = 5
OUT = './result/benchmark.md'

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
# Flags of main.py; nothing diverges at such a rate.
TRAINING = {
    'learning_rate': 1e-9,
    'num_steps': 18000,
    'warmup_steps': 0,
    'power': 0.9,
    'momentum': 0.9,
    'weight_decay': 5e-4,
    'random_seed': 1234,
    'grad_update_every': 1,
    'msc': False,
    'recompute': False,
    'output_stride': 8,
}
FORMS = ('plain', 'float32', 'bfloat16')
HEADING = ('', '', 'seconds', 'lowest - highest', 'ratio')
# What the speed of a matrix product depends on.
CPU_FLAGS = ('avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_bf16')


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(flag, default, help, **options):
        text = ' '.join(map(str, default)) if isinstance(default, tuple) else default
        parser.add_argument(flag, default=default, help=f'{help} (default: {text})', **options)

    add('--encoders', ENCODERS, 'networks', nargs='+', choices=NETWORKS)
    add('--width', 1.0, "multiplies the networks' channels", type=float)
    add('--sizes', SIZES, 'HEIGHTxWIDTH of images; training takes the first', nargs='+')
    add('--batch-sizes', BATCH_SIZES, 'of training steps', nargs='+', type=int)
    add('--repetitions', REPETITIONS, 'timed runs of each', type=int)
    add('--out', OUT, 'file for the table', type=Path)
    args = parser.parse_args()
    args.sizes = [_size(text) for text in args.sizes]
    if min(args.repetitions, *args.batch_sizes) < 1:
        raise InputError('--repetitions and --batch-sizes must be 1 or more')
    return args


def _size(text):
    height, _, width = text.partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f'--sizes {text}: expected HEIGHTxWIDTH, such as 321x321')
    return int(height), int(width)


def plain_form(model: keras.Model) -> keras.Model:
    """Copy a network into the form of the originals' graphs: each convolution is Keras' own layer.

    On a CPU that is space-to-batch, a plain convolution and batch-to-space where it is dilated, as
    in TensorFlow 1. model: with its weights. Returns a Keras model with the same input and output.
    """

    def copy(layer):
        kind = getattr(keras.layers, type(layer).__name__)  # ours are called as those of Keras
        return kind.from_config(layer.get_config())

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def prediction(
    network: NetworkSpec, width: float, form: str, size: tuple[int, int], scales: int
) -> Callable:
    """What labels a random image of (height, width) at the first so many of SCALES."""
    model = network.build(width=width)
    model = plain_form(model) if form == 'plain' else fold_for_prediction(model, form)
    predict = make_predictor(model, network.to_score_map, SCALES[:scales])
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return lambda: predict(image, np.ones(NUM_CLASSES, bool))[0].numpy()


def training_step(
    network: NetworkSpec, width: float, form: str, size: tuple[int, int], batch_size: int
) -> Callable:
    """What takes a step on a random batch."""
    model = network.build(width=width)
    trainer = Trainer(
        plain_form(model) if form == 'plain' else fold_for_training(model, form),
        network=network,
        recipe=network.recipes['authors'],
        settings=argparse.Namespace(**TRAINING),
    )
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (1, batch_size, *size, 3)) - np.array(IMG_MEAN)
    images = tf.constant(images, tf.float32)
    labels = tf.constant(random.integers(0, NUM_CLASSES, (1, batch_size, *size), np.uint8))
    return lambda: float(trainer.step(images, labels, tf.constant(0, tf.int64))[0])


def take_turns(works: Mapping[str, Callable], repetitions: int) -> dict[str, list[float]]:
    """Time functions in turns, so that what else the machine does falls on all of them.

    works: dict from name to a function without arguments; the first call of each does not count.
    Returns the seconds of each call, a dict from name to list.
    """
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def rows_of(name: str, make: Callable, repetitions: int, *options) -> list[tuple[str, ...]]:
    """Measure one piece of work in all forms that this machine has: rows of the table.

    make: prediction or training_step. options: its arguments; the form comes after the second.
    """
    print(name, file=sys.stderr, flush=True)
    works: dict[str, Callable] = {}
    rows: list[tuple[str, ...]] = []
    missing: list[tuple[str, ...]] = []
    for form in FORMS:
        try:
            require_precision(form)
        except InputError as error:
            missing.append((name, form, str(error), '', ''))
        else:
            works[form] = make(*options[:2], form, *options[2:])
    seconds = take_turns(works, repetitions)
    for form, times in seconds.items():
        ratios = [ours / plain for ours, plain in zip(times, seconds['plain'], strict=True)]
        middle, low, high = statistics.median(times), min(times), max(times)
        spread, ratio = f'{low:.3g} - {high:.3g}', f'{statistics.median(ratios):.2f}'
        rows.append((name, form, f'{middle:.3g}', spread, ratio))
    return rows + missing


def machine() -> str:
    """What the figures are measured on, in a line."""
    cpu: dict[str, str] = {}
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        name, _, value = line.partition(':')
        cpu.setdefault(name.strip(), value.strip())
    flags = [flag for flag in CPU_FLAGS if flag in cpu.get('flags', '').split()]
    gpus = [gpu.name for gpu in tf.config.list_physical_devices('GPU')]
    parts = [cpu.get('model name', platform.machine()), f'{len(os.sched_getaffinity(0))} cores']
    load = f'load before {os.getloadavg()[0]:.2f}'
    return ', '.join([*parts, *flags, *gpus, f'TensorFlow {tf.__version__}', load])


def main() -> None:
    """Measure, write the table and print it."""
    args = get_arguments()
    check_output_file(args.out)
    heading, rows = machine(), []
    for encoder in args.encoders:
        given = args.repetitions, NETWORKS[encoder], args.width
        for size in args.sizes:
            for scales in (1, len(SCALES)):
                name = f'{encoder}, {size[0]}x{size[1]}, scales: {scales}'
                rows += rows_of(name, prediction, *given, size, scales)
        size = args.sizes[0]
        for batch_size in args.batch_sizes:
            name = f'{encoder}, step, {batch_size} of {size[0]}x{size[1]}'
            rows += rows_of(name, training_step, *given, size, batch_size)
        table = f'{heading}; width {args.width}\n\n{text_table(HEADING, rows, "pipe", 2)}\n'
        with replacing(args.out) as temporary:  # after each network: a stopped run leaves some
            temporary.write_text(table)
    print(table, end='')


if __name__ == '__main__':
    errors.run_script(main)

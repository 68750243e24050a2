"""What is compared with what: the sections of experiments/benchmark.py.

A section is a function of the plan (the arguments of experiments/benchmark.py) and of the folder
that holds the lists of write_lists; it yields its cases.
"""

import argparse
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.benchmarks.measure import Variant
from experiments.benchmarks.on_files import write_data

ENCODERS = {'deeplab': 'ResNet-101', 'vgg': 'VGG16'}
SCRIPTS = {'deeplab': 'test_vocspsm_resnet.py', 'vgg': 'test_vocspsm_vgg.py'}
STEP_BYTES = 16_000  # that a training step takes for a pixel of its batch; ResNet-101, plain form
SMALL = (125, 167)  # height and width, for lists that are long

_IN_TENSORFLOW, _ON_FILES, _IN_TORCH = (
    f'experiments.benchmarks.{name}' for name in ('in_tensorflow', 'on_files', 'in_torch')
)


@dataclass(frozen=True)
class Case:
    """One row group of a table: the same work in several ways, the first of them the baseline.

    needs: bytes of memory that the largest of them takes; 0 where memory is no concern.
    """

    name: str
    variants: list[Variant]
    needs: int = 0


def write_lists(plan: argparse.Namespace, data: str | Path) -> None:
    """Make the images that the sections of the plan need."""
    for name, count, size in (
        ('photographs', plan.images, plan.sizes[-1]),
        ('small', max(plan.counts) if 'scale' in plan.sections else 0, SMALL),
    ):
        folder = Path(data) / name
        folder.mkdir()
        write_data(folder, count, size)


def prediction(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """From an image in memory to its labels."""
    for encoder in plan.encoders:
        for scales in plan.scales:
            for size in plan.sizes:
                options = {'network': encoder, 'width': plan.width, 'height_width': size}
                name = f'{ENCODERS[encoder]}, {_text(size)}, scales: {scales}'
                yield Case(name, _forms('prediction', options | {'scales': scales}))


def files(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """Three scales from image files to label-map files, decoding and writing included."""
    for encoder in plan.encoders:
        options = {
            'network': encoder,
            'width': plan.width,
            'data': f'{data}/photographs',
            'count': plan.images,
        }
        yield Case(f'{ENCODERS[encoder]}, an image', _forms('end_to_end', options, torch=False))


def training(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """One step of the trainer on a batch in memory."""
    for encoder in plan.encoders:
        for batch_size in plan.batch_sizes:
            size = plan.sizes[0]
            options = {'network': encoder, 'width': plan.width, 'height_width': size}
            options['batch_size'] = batch_size
            variants = _forms('training', options)
            for form in ('float32', 'bfloat16'):
                options_of_form = options | {'form': form, 'recompute': True}
                name = f'{form}, --recompute'
                variants.append(Variant(name, _IN_TENSORFLOW, 'training', options_of_form))
            needs = STEP_BYTES * batch_size * size[0] * size[1] * plan.width
            yield Case(f'{ENCODERS[encoder]}, {batch_size} of {_text(size)}', variants, int(needs))


def crf(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """The dense CRF over saved score maps of 21 classes."""
    options = {'data': f'{data}/photographs', 'count': plan.images}
    ways = {
        'one process': {'jobs': 1},
        'all cores': {'jobs': -1},
        'all cores, --prune 0.01': {'jobs': -1, 'prune': 0.01},
    }
    yield Case('an image', _listed('dense_crf', options, ways))


def scoring(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """The quality that selects masks."""
    options = {'data': f'{data}/photographs', 'count': plan.images}
    ways = {'one process': {'jobs': 1}, 'all cores': {'jobs': -1}}
    yield Case('a mask', _listed('mask_quality', options, ways))


def evaluation(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """The IoU of masks in files."""
    options = {'data': f'{data}/photographs', 'count': plan.images}
    ways = {'one by one': {'one_by_one': True}, 'eval_iou.py': {'one_by_one': False}}
    yield Case('a mask', _listed('evaluation', options, ways))


def startup(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """Whole processes, from their start to their end."""
    commands = {
        'import tensorflow': ('-c', 'import tensorflow'),
        'main.py --help': ('main.py', '--help'),
        'eval_iou.py --help': ('eval_iou.py', '--help'),
        'crf_vocspsm.py --help': ('crf_vocspsm.py', '--help'),
    }
    ways = {name: {'arguments': arguments} for name, arguments in commands.items()}
    variants = _listed('command', {}, ways)
    for encoder in plan.encoders:
        script = SCRIPTS[encoder]
        options = {
            'script': script,
            'network': encoder,
            'width': plan.width,
            'data': f'{data}/photographs',
        }
        variants.append(Variant(f'{script}, one image', _IN_TENSORFLOW, 'first_mask', options))
    yield Case('a process', variants)


def scale(plan: argparse.Namespace, data: str | Path) -> Iterator[Case]:
    """The same for longer lists, per image, and a training step shared by two devices."""
    counts = {f'{count} images': {'count': count} for count in plan.counts}
    options = {
        'form': 'float32',
        'network': 'vgg',
        'width': min(plan.width, 1 / 16),
        'data': f'{data}/small',
    }
    narrow = [
        Variant(name, _IN_TENSORFLOW, 'end_to_end', options | count)
        for name, count in counts.items()
    ]
    yield Case('prediction, VGG16 of a sixteenth of the width', narrow)
    yield Case('CRF', _listed('dense_crf', {'data': f'{data}/small', 'jobs': -1}, counts))
    yield Case(
        'mask scores', _listed('mask_quality', {'data': f'{data}/small', 'jobs': -1}, counts)
    )
    options = {'form': 'float32', 'network': 'vgg', 'width': plan.width, 'batch_size': 4}
    options['height_width'] = plan.sizes[0]
    devices = {'one device': 1, 'two logical devices of this CPU': 2}
    shared = [
        Variant(name, _IN_TENSORFLOW, 'training', options | {'devices': count})
        for name, count in devices.items()
    ]
    yield Case('training step, VGG16, batch of 4', shared)


SECTIONS = {
    'prediction': prediction,
    'files': files,
    'training': training,
    'crf': crf,
    'scoring': scoring,
    'evaluation': evaluation,
    'startup': startup,
    'scale': scale,
}


MATRIX_PRODUCTS = [
    Variant(name, _IN_TENSORFLOW, 'matrix_product', {'precision': name})
    for name in ('float32', 'bfloat16')
]


def _forms(make, options, torch=True):
    names = {'plain': 'plain float32', 'float32': 'float32', 'bfloat16': 'bfloat16'}
    variants = [
        Variant(name, _IN_TENSORFLOW, make, options | {'form': form})
        for form, name in names.items()
    ]
    if torch and importlib.util.find_spec('torch'):
        for form in ('float32', 'bfloat16'):
            variants.append(Variant(f'PyTorch {form}', _IN_TORCH, make, options | {'form': form}))
    return variants


def _listed(make, options, ways):
    return [Variant(name, _ON_FILES, make, options | way) for name, way in ways.items()]


def _text(height_width):
    return 'x'.join(map(str, height_width))

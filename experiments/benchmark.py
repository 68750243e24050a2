"""How fast prediction, training, CRF, mask scores and evaluation are on this machine.

python -m experiments.benchmark                   all sections but scale
python -m experiments.benchmark --quick           a narrow VGG16 and few repetitions, in minutes
python -m experiments.benchmark --sections scale  time and memory for longer lists, and two devices

Each way to do a thing has a process of its own, and they take turns. The first way of each is the
baseline of the ratios: for the networks, ours in the originals' plain form (batch norm a step of
its own, dilation by space-to-batch, one thing after another). With torch installed, the networks
run in PyTorch too. The floor is the arithmetic of the convolutions at the rate of a large matrix
product in the same run. Writes OUT.md and OUT.json.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder, replacing
from experiments.benchmarks import machine
from experiments.benchmarks.cases import ENCODERS, MATRIX_PRODUCTS, SECTIONS, Case, write_lists
from experiments.benchmarks.measure import Timing, alternate
from experiments.benchmarks.timing_tables import markdown, row

# The defaults of the flags; those of --quick.
FULL = {
    'sections': [name for name in SECTIONS if name != 'scale'],
    'encoders': list(ENCODERS),
    'width': 1.0,
    'repetitions': 5,
    'sizes': ['321x321', '375x500'],
    'scales': [1, 3],
    'batch_sizes': [2, 10],
    'images': 16,
    'counts': [10, 100, 1000],
}
QUICK = FULL | {
    'sections': ['prediction', 'training', 'crf', 'scoring', 'evaluation'],
    'encoders': ['vgg'],
    'width': 0.125,
    'repetitions': 2,
    'sizes': ['321x321'],
    'scales': [3],
    'batch_sizes': [2],
    'images': 4,
    'counts': [10, 100],
}


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help='a narrow VGG16, few repetitions')
    parser.add_argument('--out', default='./result/benchmark', help='(default: %(default)s)')

    def add(flag, help, **options):
        name = flag.strip('-').replace('-', '_')
        both = ', with --quick '.join(_words(defaults[name]) for defaults in (FULL, QUICK))
        parser.add_argument(flag, help=f'{help} (default: {both})', **options)

    add('--sections', 'what to measure', nargs='+', choices=SECTIONS)
    add('--encoders', 'networks', nargs='+', choices=ENCODERS)
    add('--width', "multiplies the networks' channels", type=float)
    add('--repetitions', 'timed runs of each', type=int)
    add('--sizes', 'HEIGHTxWIDTH of images; training takes the first', nargs='+')
    add('--scales', 'of predictions', nargs='+', type=int, choices=(1, 2, 3))
    add('--batch-sizes', 'of training steps', nargs='+', type=int)
    add('--images', 'in a list of files', type=int)
    add('--counts', 'images in the lists of the section scale', nargs='+', type=int)
    args = parser.parse_args()
    for name, value in (QUICK if args.quick else FULL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.sizes = [_size(size) for size in args.sizes]
    numbers = [args.repetitions, args.images, *args.batch_sizes, *args.counts]
    if min(numbers) < 1:
        raise InputError('repetitions, images, batch sizes and counts must be 1 or more')
    if args.width <= 0 or 64 * args.width % 1:
        raise InputError(f'--width {args.width} is not a positive multiple of 1/64')
    return args


def _words(value):
    return ' '.join(map(str, value)) if isinstance(value, list) else str(value)


def _size(text):
    height, _, width = text.partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f'--sizes {text}: expected HEIGHTxWIDTH, such as 321x321')
    return int(height), int(width)


def measure(case: Case, repetitions: int) -> list[Timing]:
    """Time a case: a list of Timing. One that would not fit into memory is not tried."""
    free = machine.available_memory()
    if case.needs > free:
        reason = f'needs up to {case.needs / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free'
        return [Timing(variant.name, failure=reason) for variant in case.variants]
    return alternate(case.variants, repetitions, case.needs * len(case.variants) <= free)


def main() -> None:
    """Measure the sections, write the tables and print them."""
    args = get_arguments()
    out = Path(args.out)
    make_output_folder(out.parent)
    results: dict[str, Any] = {
        'machine': machine.describe(),
        'settings': {name: getattr(args, name) for name in FULL},
        'matrix_product': {
            timing.name: (timing.flops or 0) / min(timing.seconds)
            for timing in alternate(MATRIX_PRODUCTS, args.repetitions)
            if timing.seconds
        },
        'rows': [],
    }
    with tempfile.TemporaryDirectory() as data:
        write_lists(args, data)
        for section in args.sections:
            for case in SECTIONS[section](args, data):
                print(f'{section}: {case.name}', file=sys.stderr, flush=True)
                timings = measure(case, args.repetitions)
                results['rows'] += [
                    row(section, case.name, timing, timings[0], results['matrix_product'])
                    for timing in timings
                ]
                write(results, out)  # after each: a run that is stopped leaves what it has
    print(markdown(results), end='')


def write(results: dict, out: Path) -> None:
    """Write what was measured so far as OUT.md and OUT.json."""
    content = {'.md': markdown(results), '.json': json.dumps(results, indent=2) + '\n'}
    for suffix, text in content.items():
        with replacing(out.with_name(out.name + suffix)) as temporary:
            temporary.write_text(text)


if __name__ == '__main__':
    errors.run_script(main)

"""The body of the convert commands: a file of weights -> a file of one of these networks."""

import argparse
import json
import os
import shlex
from collections.abc import Callable, Mapping
from types import ModuleType

from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.network.network_spec import NetworkSpec, dimensions
from deeplablib.utils.errors import InputError, named
from deeplablib.utils.stages import flag_words
from deeplablib.weights import export, readers
from deeplablib.weights.conversion import INPUT_CHOICES, build_with, refuse_left, variables_of

IMAGENET = 'imagenet'  # what a user gives in place of a file
# The original conversion left the batch norms of Caffe as they were.
BATCH_NORM_UNCHANGED = ('Caffe', 'kaffe')
OWN_FORMATS = ('TensorFlow 1', 'Keras')  # those that are written here, too


def run(
    package: str,
    description: str | None,
    networks: Mapping[str, NetworkSpec],
    weight_layouts: ModuleType,
    settings: ModuleType,
    writers: Mapping[str, Callable],
) -> None:
    """Convert one file, and say what was done.

    package: whose command it is. description: its docstring. networks: the package's NETWORKS.
    weight_layouts: of the package, with convert(file, encoder_name, exact_bn, input) and
    imagenet(encoder_name). settings: of the package. writers: as for export.write.
    """
    args = _arguments(package, description, networks)
    if args.num_classes is not None and not 1 <= args.num_classes <= IGNORE_LABEL:
        raise InputError(f'--num-classes {args.num_classes}: expected 1 to {IGNORE_LABEL}')
    format = export.check(args.destination)

    if args.source == IMAGENET:
        file = weight_layouts.imagenet(args.encoder_name or settings.ENCODER_NAME)
    else:
        file = readers.read(args.source)
    exact_bn = file.format not in BATCH_NORM_UNCHANGED if args.exact_bn is None else args.exact_bn
    try:
        converted = weight_layouts.convert(file, args.encoder_name, exact_bn, args.input)
    except (ValueError, IndexError) as error:
        raise InputError(f'{file.path}: its layers do not fit together ({error})') from None
    refuse_left(file, converted)
    encoder_name, network = converted.encoder_name, networks[converted.encoder_name]
    values = variables_of(network, converted.layers)
    num_classes = args.num_classes or _classes(network, values, file.format)
    print(f'Read {file.path}: {converted.title}, {file.format} file')
    print(f'Network: {encoder_name} (--encoder-name) for {num_classes} classes (--num-classes)')
    print(f'Input that it was trained on: {converted.input} (--input)')
    if any('variance' in layer for layer in converted.layers.values()):
        kept = 'function of the source' if exact_bn else 'scales of the source as they are'
        print(f'Batch norm keeps the {kept} (--exact-bn, --no-exact-bn)')
    dropped = [*converted.left, *file.others]
    if dropped:
        print(f'Dropped, not part of the network: {named(dropped)}')

    model, fresh = build_with(network, values, num_classes, file.path)
    if fresh:
        drawn = named(fresh)
        print(f'Not in the source, or for another number of classes; drawn anew: {drawn}')
    said = export.write(args.destination, format, network, model, writers)
    if said:
        print(said)
    total = len(model.weights)
    print(f'Wrote {args.destination} ({format}): {total} variables, {total - len(fresh)} read')
    sizes = dimensions(network, values) | {'num_classes': num_classes}
    if format == 'checkpoint' and not fresh:
        is_main = encoder_name == settings.ENCODER_NAME
        script = settings.PREDICTION_SCRIPT if is_main else 'predict.py PHOTO.jpg'
        command = f'python {script} --restore-from {shlex.quote(args.destination)}'
    elif format == 'checkpoint':
        flags = {'encoder_name': encoder_name} | settings.TRAINING | sizes
        flags |= {'pretrain_file': args.destination, 'modeldir': f'./model/train_{encoder_name}'}
        command = f'python main.py --option train {shlex.join(flag_words(flags))}'
    else:
        code = _code(package, args.destination, format, encoder_name, sizes)
        command = f'python -c {shlex.quote(code)}'
    print(f'Next: {command}')


def _arguments(package, description, networks):
    parser = argparse.ArgumentParser(
        prog=f'python -m {package}.convert',
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'source',
        metavar='SRC',
        type=os.path.expanduser,
        help=f'file to read; what it holds tells its format. Or the word {IMAGENET}: the ImageNet '
        'weights of the network, which Keras Applications fetches or a package brings',
    )
    parser.add_argument(
        'destination',
        metavar='DST',
        type=os.path.expanduser,
        help='a checkpoint prefix, NAME.weights.h5, NAME.onnx, or, for a SavedModel, a folder with '
        'a slash at its end',
    )
    parser.add_argument(
        '--encoder-name', choices=networks, help='network to make (default: what SRC suggests)'
    )
    parser.add_argument(
        '--num-classes',
        type=int,
        help=f'classes (default: those of SRC where it was written here, else {NUM_CLASSES})',
    )
    parser.add_argument(
        '--exact-bn',
        action=argparse.BooleanOptionalAction,
        help="rescale batch norm from SRC's epsilon to ours, so that the function stays the same "
        '(default: yes, but not for Caffe and kaffe files: the originals left those as they were)',
    )
    parser.add_argument(
        '--input',
        choices=INPUT_CHOICES,
        help='images that SRC was trained on. caffe: BGR of 0..255 minus the mean. torchvision: '
        'RGB, standardised (default: what SRC shows)',
    )
    return parser.parse_args()


def _classes(network, values, format):
    """How many classes a file is for that was written here; those of VOC for any other."""
    own = dimensions(network, values)['num_classes'] if format in OWN_FORMATS else NUM_CLASSES
    return own if own <= IGNORE_LABEL else NUM_CLASSES


def _code(package, path, format, encoder_name, sizes):
    """Python that opens what was written."""
    quoted = json.dumps(path, ensure_ascii=False)
    if format == 'savedmodel':
        return f'import tensorflow as tf; print(tf.saved_model.load({quoted}).signatures)'
    if format == 'onnx':
        session = f'onnxruntime.InferenceSession({quoted})'
        return f'import onnxruntime; print(*{session}.get_inputs())'
    given = ', '.join(f'{name}={value}' for name, value in sizes.items())
    module = f'{package}.{package.removeprefix("deeplab_")}'
    return (
        f'from {module} import NETWORKS; '
        f'NETWORKS["{encoder_name}"].build({given}).load_weights({quoted})'
    )

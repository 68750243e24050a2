"""The body of the convert commands: weights of another program -> files of these networks."""

import argparse
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.network.network_spec import NetworkSpec, dimensions
from deeplablib.utils.backend import keras
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints, export, imagenet, readers

# The original conversion left the batch norms of Caffe as they were.
KEPT_BATCH_NORM = ('Caffe', 'kaffe')
OWN_FORMATS = ('TensorFlow 1', 'Keras')  # those that are written here, too
FRESH_STDDEV = 0.01  # of the kernels of DeepLab v2's own classifiers
FRESH_SEED = 0
MOST_NAMED = 4


def get_arguments(
    package: str, description: str | None, networks: Mapping[str, NetworkSpec]
) -> argparse.Namespace:
    """Parse the command line of a converter.

    package: whose it is. description: its docstring. networks: the package's NETWORKS.
    """
    parser = argparse.ArgumentParser(
        prog=f'python -m {package}.convert',
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'source',
        metavar='SRC',
        help=f'file to read; its ending tells its format. Or the word {imagenet.NAME}: the '
        'ImageNet weights of the network, which Keras Applications fetches or a package brings',
    )
    parser.add_argument(
        'destination',
        metavar='DST',
        help='a checkpoint prefix, NAME.weights.h5, NAME.onnx, or, for a '
        'SavedModel, a folder with a slash at its end',
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
        '--format', choices=export.FORMATS, help='format of DST (default: from its name)'
    )
    return parser.parse_args()


def run(
    package: str,
    description: str | None,
    networks: Mapping[str, NetworkSpec],
    convert: Callable,
    writers: Mapping[str, Callable],
    prediction_scripts: Mapping[str, str],
    training_flags: Mapping[str, str],
    imagenet_files: Mapping[str, Any],
) -> None:
    """Convert one file, and say what was done.

    package, description, networks: as for get_arguments.
    convert: the package's weight_layouts.convert. writers: as for export.write.
    prediction_scripts: encoder name -> script that predicts. training_flags: encoder name -> flags
    of main.py, where its defaults do not suit the network. imagenet_files: encoder name -> file (of
    imagenet.find) of the ImageNet weights that it starts from; the first is for none.
    """
    args = get_arguments(package, description, networks)
    if args.num_classes is not None and not 1 <= args.num_classes <= IGNORE_LABEL:
        raise InputError(f'--num-classes {args.num_classes}: expected 1 to {IGNORE_LABEL}')
    format = export.check(args.destination, args.format)

    source_file = args.source
    if args.source == imagenet.NAME:
        encoder_name = args.encoder_name or next(iter(imagenet_files))
        source_file = str(imagenet.find(imagenet_files[encoder_name]))
    file = readers.read(source_file)
    exact_bn = file.format not in KEPT_BATCH_NORM if args.exact_bn is None else args.exact_bn
    try:
        source = convert(file, args.encoder_name, exact_bn)
    except (ValueError, IndexError) as error:
        raise InputError(f'{source_file}: its layers do not fit together ({error})') from None
    print(f'Read {source_file}: {source.title}, {file.format} file')
    network = networks[source.encoder_name]
    values = {network.variable_name(path): value for path, value in source.values.items()}
    num_classes = args.num_classes or _classes(network, values, file.format)
    print(
        f'Network: {source.encoder_name} (--encoder-name) for {num_classes} classes (--num-classes)'
    )
    if any(path.endswith('/gamma') for path in source.values):
        kept = 'function of the source' if exact_bn else 'scales of the source as they are'
        print(f'Batch norm keeps the {kept} (--exact-bn, --no-exact-bn)')
    dropped = [*source.unused(), *file.others]
    if dropped:
        print(f'Dropped, not part of the network: {_named(dropped)}')

    model, fresh = fill(network, values, num_classes, source_file)
    if fresh:
        print(f'Not in the source, or for another number of classes; drawn anew: {_named(fresh)}')
    said = export.write(args.destination, format, network, model, writers)
    if said:
        print(said)
    total = len(model.weights)
    print(f'Wrote {args.destination} ({format}): {total} variables, {total - len(fresh)} read')
    sizes = dimensions(network, values) | {'num_classes': num_classes}
    script = None if fresh else prediction_scripts.get(source.encoder_name, 'predict.py PHOTO.jpg')
    command = _next_command(
        package,
        args.destination,
        format,
        encoder_name=source.encoder_name,
        script=script,
        sizes=sizes,
        training_flags=training_flags.get(source.encoder_name, ''),
    )
    print(f'Next: {command}')


def fill(
    network: NetworkSpec, values: Mapping[str, npt.NDArray], num_classes: int, path: str | Path
) -> tuple[keras.Model, list[str]]:
    """Build a network and put weights into it.

    Variables of the classifier (in the widest sense that a recipe gives it) that are missing, and
    those of its last layers when they are for another number of classes, are drawn at random:
    kernels normal, biases zero, the same every time.

    values: variable name -> array. path: what they come from, for messages.
    Returns the Keras model and the names of the variables that were drawn.
    Raises InputError listing everything else that is missing or wrongly shaped.
    """
    model = network.build(**dimensions(network, values) | {'num_classes': num_classes})
    variables = network.variables(model)
    random = np.random.default_rng(FRESH_SEED)
    values, fresh = dict(values), []
    for name, variable in variables.items():
        if _is_classifier(network, name) and not _fits(values.get(name), variable, num_classes):
            fresh.append(name)
            if len(variable.shape) > 1:
                values[name] = random.normal(0, FRESH_STDDEV, variable.shape)
            else:
                values[name] = np.zeros(variable.shape)
    checkpoints.assign(values, variables, path)
    return model, fresh


def _classes(network, values, format):
    """How many classes a file is for that was written here; those of VOC for any other."""
    own = dimensions(network, values)['num_classes'] if format in OWN_FORMATS else NUM_CLASSES
    return own if own <= IGNORE_LABEL else NUM_CLASSES


def _is_classifier(network, name):
    return any(recipe.classifier in name for recipe in network.recipes.values())


def _fits(value, variable, num_classes):
    """Whether a classifier's variable can be used, or must raise as any other that does not fit."""
    if value is None:
        return False
    into_classes = variable.shape[-1] == num_classes
    return not into_classes or tuple(value.shape) == tuple(variable.shape)


def _named(names):
    """A few names, and how many more there are."""
    some = ', '.join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f'{some} and {more} more' if more > 0 else some


def _next_command(package, path, format, encoder_name, script, sizes, training_flags):
    """What a user may do with a file that was written, as a command line."""
    destination = shlex.quote(path)
    quoted = json.dumps(path, ensure_ascii=False)
    if format == 'savedmodel':
        code = f'import tensorflow as tf; print(tf.saved_model.load({quoted}).signatures)'
        return f'python -c {shlex.quote(code)}'
    if format == 'onnx':
        session = f'onnxruntime.InferenceSession({quoted})'
        code = f'import onnxruntime; print(*{session}.get_inputs())'
        return f'python -c {shlex.quote(code)}'
    if format == 'keras':
        given = ', '.join(f'{name}={value}' for name, value in sizes.items())
        build = f'NETWORKS["{encoder_name}"].build({given}).load_weights({quoted})'
        code = f'from {package} import NETWORKS; {build}'
        return f'python -c {shlex.quote(code)}'
    if script:
        return f'python {script} --restore-from {destination}'
    flags = [f'--{name} {value}' for name, value in sizes.items()]
    flags += [training_flags] if training_flags else []
    return (
        f'python main.py --option train --encoder_name {encoder_name} {" ".join(flags)} '
        f'--pretrain_file {destination} --modeldir ./model/train_{encoder_name}'
    )

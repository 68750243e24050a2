"""What predict.py and the test scripts have in common: flags, and the network that they name."""

import argparse
from collections.abc import Mapping, Sequence

from deeplablib.data.classes import add_classes
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.network.convolution import require_precision
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.prediction_form import prediction_model
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.photographs import read_max_size
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_model
from deeplablib.weights.run_settings import classes_of, note_changes


def add_prediction_flags(parser: argparse.ArgumentParser, max_size: int | None) -> None:
    """Add the flags that all commands have which predict with several scales.

    max_size: the default of --max-size.
    """
    parser.add_argument(
        '--max-size',
        type=read_max_size,
        default=max_size,
        metavar='PIXELS',
        help='an image whose longer side is larger is made smaller for the network; its labels '
        'have its own size all the same (default: %(default)s)',
    )
    parser.add_argument(
        '--single-scale', action='store_true', help='the image at its own size only'
    )
    parser.add_argument(
        '--flip', action='store_true', help='also the mirror image, fused in as one more scale'
    )
    add_classes(parser, None, "those of the checkpoint's run, or VOC's")
    parser.add_argument(
        '--precision',
        choices=('float32', 'bfloat16'),
        default='float32',
        help='bfloat16: faster, on a GPU or a CPU with AVX512-BF16 or AMX only; masks agree on '
        'about 99 %% of pixels (default: float32)',
    )


def check_prediction_flags(args: argparse.Namespace) -> None:
    """Raise InputError for a value of these flags that nothing can be done with."""
    require_precision(args.precision)


def restore(
    args: argparse.Namespace,
    networks: Mapping[str, NetworkSpec],
    img_mean: Sequence[float],
    otherwise: str = '',
) -> tuple[NetworkSpec, keras.Model, tuple[str, ...]]:
    """Load the network of --restore-from, and say which it is.

    args: of a command with these flags and --restore-from. networks, otherwise: as for load_model.
    img_mean: mean colour, blue, green, red, of the command.
    Returns its NetworkSpec, the model and the names of its classes.
    Raises InputError as load_model does, and when --classes names another number of them.
    """
    prefix = checkpoints.find(args.restore_from)
    name, model = load_model(networks, prefix, otherwise)
    num_classes = model.output.shape[-1]
    classes = args.classes or classes_of(prefix, num_classes)
    if len(classes) != num_classes:
        raise InputError(f'--classes: {len(classes)} names, but {prefix} has {num_classes} classes')
    print(f'Restored model parameters of {name} from {prefix}')
    note_changes(prefix, IMG_MEAN=list(img_mean), ignore_label=IGNORE_LABEL)
    return networks[name], model, classes


def predictor_for(
    args: argparse.Namespace,
    network: NetworkSpec,
    model: keras.Model,
    img_mean: tuple[float, float, float],
) -> tf.types.experimental.PolymorphicFunction:
    """What make_predictor builds as these flags say. network, model: from restore."""
    return make_predictor(
        prediction_model(model, args.precision),
        network.to_score_map,
        scales=SINGLE_SCALE if args.single_scale else SCALES,
        img_mean=img_mean,
        flip=args.flip,
    )

"""The body of the test scripts, and what predict.py shares with them.

The network predicts with multi_scale.py, over a list by predict_list.py.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from deeplablib.data.classes import add_classes
from deeplablib.data.image_lists import read_list
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.tags import read_allowed
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.network.convolution import require_precision
from deeplablib.network.folding import fold_for_prediction
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.prediction.crf import crf_samples, require_package
from deeplablib.prediction.metrics import report
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.photographs import read_max_size
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder
from deeplablib.utils.parallel import left_to_do
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_model
from deeplablib.weights.settings_file import classes_of, note_changes


def make_parser(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The command line that the test scripts and predict.py have in common.

    description: the script's docstring. defaults: of the flags, the constants at its top.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(**defaults)

    def add(flag, help, **options):
        parser.add_argument(flag, help=f'{help} (default: %(default)s)', **options)

    add(
        '--restore-from', 'checkpoint, which tells its network: prefix, one of its files, or folder'
    )
    add('--save-dir', 'where predictions go, NAME.png')
    add('--img-mean', 'mean colour', type=float, nargs=3, metavar=('BLUE', 'GREEN', 'RED'))
    add(
        '--max-size',
        'an image whose longer side is larger is made smaller for the network; its labels have its '
        'own size all the same',
        type=read_max_size,
        metavar='PIXELS',
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
    return parser


def restore(
    args: argparse.Namespace, networks: Mapping[str, NetworkSpec]
) -> tuple[NetworkSpec, Any, tuple[str, ...]]:
    """Load the network of --restore-from, and say which it is.

    args: of a command with the flags of make_parser. networks: those that it can be.
    Returns its NetworkSpec, what make_predictor gives of it, and the names of its classes.
    Raises InputError as load_model does, and when --classes names another number of classes.
    """
    prefix = checkpoints.find(args.restore_from)
    name, model = load_model(networks, prefix)
    num_classes = model.output.shape[-1]
    classes = args.classes or classes_of(prefix, num_classes)
    if len(classes) != num_classes:
        raise InputError(f'--classes: {len(classes)} names, but {prefix} has {num_classes} classes')
    print(f'Restored model parameters of {name} from {prefix}')
    note_changes(prefix, IMG_MEAN=list(args.img_mean), ignore_label=IGNORE_LABEL)
    predict = make_predictor(
        fold_for_prediction(model, args.precision),
        networks[name].to_score_map,
        scales=SINGLE_SCALE if args.single_scale else SCALES,
        img_mean=tuple(args.img_mean),
        flip=args.flip,
    )
    return networks[name], predict, classes


def get_arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    """Parse the command line of a test script; arguments as for make_parser."""
    parser = make_parser(description, max_size=None, **defaults)

    def add(flag, help, **options):
        parser.add_argument(flag, help=f'{help} (default: %(default)s)', **options)

    add('--data-dir', 'folder that the paths of the list start from')
    add('--data-list', 'list of images, "IMAGE", "IMAGE MASK" or "NAME" a line')
    add('--num-steps', 'images of the list to predict, from its start; None: all', type=int)
    parser.add_argument(
        '--save-scores', metavar='DIR', help='also save the fused scores, for crf_vocspsm.py'
    )
    parser.add_argument(
        '--tags',
        metavar='FILE',
        help="keep only each image's own classes and background; lines 'NAME tag tag ...', a CSV "
        'file, a folder of NAME.txt with a tag a line, or a folder for each class; tags are ids or '
        'names',
    )
    parser.add_argument(
        '--crf',
        action='store_true',
        help='also the dense CRF, into SAVE_DIR/crf; crf_vocspsm.py has its parameters',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='skip images whose prediction is there already, whatever made it',
    )
    return parser.parse_args()


def predict_and_evaluate(
    networks: Mapping[str, NetworkSpec], description: str | None, **defaults: Any
) -> None:
    """Run a test script: predict a list and, when it names masks, print the IoU table.

    networks: those that the checkpoint can be of. description, defaults: as for make_parser.
    """
    args = get_arguments(description, **defaults)
    require_precision(args.precision)
    if args.crf:
        require_package()
    if args.num_steps is not None and args.num_steps < 1:
        raise InputError(f'--num-steps {args.num_steps}: at least one image is needed')
    samples = read_list(args.data_list, args.data_dir)[: args.num_steps]
    network, predict, classes = restore(args, networks)
    check_samples(samples, args.data_dir, len(classes))
    check_outputs(samples, args.save_dir)
    allowed_by_image = read_allowed(args.tags, classes, samples) if args.tags else None
    save_dir = make_output_folder(args.save_dir)
    score_map_dir = args.save_scores or (save_dir / 'scores' if args.crf else None)
    score_map_dir = score_map_dir and make_output_folder(score_map_dir)

    def is_done(sample):
        scores = score_map_dir is None or (score_map_dir / f'{sample.name}.npz').is_file()
        return scores and (save_dir / f'{sample.name}.png').is_file()

    waiting = left_to_do(samples, is_done) if args.resume else samples
    if waiting:
        predict_samples(
            predict,
            waiting,
            save_dir,
            allowed_by_image=allowed_by_image,
            score_map_dir=score_map_dir,
            score_map_kind=network.score_map_kind,
            max_size=args.max_size,
        )
    report(samples, save_dir, classes)

    if args.crf and score_map_dir:
        crf_dir = make_output_folder(save_dir / 'crf')
        waiting = [
            s for s in samples if not (args.resume and (crf_dir / f'{s.name}.png').is_file())
        ]
        crf_samples(waiting, score_map_dir, crf_dir, allowed_by_image=allowed_by_image)
        report(samples, crf_dir, classes)

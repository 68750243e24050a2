"""The body of the test scripts: multi-scale predictions of a list, and their mIoU."""

import argparse
from collections.abc import Mapping
from typing import Any

from deeplablib.data.image_lists import read_list
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.tags import allowed_classes, read_tags
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.prediction.crf import DEFAULT_PRESET, PRESETS, require_package
from deeplablib.prediction.crf_list import crf_samples
from deeplablib.prediction.metrics import iou_table_of
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.prediction.prediction_flags import (
    add_prediction_flags,
    check_prediction_flags,
    predictor_for,
    restore,
)
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder
from deeplablib.utils.parallel import left_to_do


def get_arguments(description: str | None, defaults: Mapping[str, Any]) -> argparse.Namespace:
    """Parse the command line of a test script.

    description: the script's docstring. defaults: dict from flag to the constant at its top.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(flag, help, **options):
        parser.add_argument(flag, help=f'{help} (default: %(default)s)', **options)

    add('--data-dir', 'folder that the paths of the list start from')
    add('--data-list', 'list of images, "IMAGE", "IMAGE MASK" or "NAME" a line')
    add('--num-steps', 'images of the list to predict, from its start; None: all', type=int)
    add('--restore-from', 'checkpoint: its prefix, one of its files, or its folder')
    add('--save-dir', 'where predictions go, NAME.png')
    add('--img-mean', 'mean colour', type=float, nargs=3, metavar=('BLUE', 'GREEN', 'RED'))
    parser.set_defaults(**defaults)
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
    add_prediction_flags(parser, max_size=None)
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
    networks: Mapping[str, NetworkSpec], description: str | None, sibling: str, **defaults
) -> None:
    """Run a test script.

    networks: NETWORKS of its package; the checkpoint tells which of them it is.
    sibling: the script for the other networks. description, defaults: as for get_arguments.
    """
    args = get_arguments(description, defaults)
    check_prediction_flags(args)
    if args.crf:
        require_package()
    if args.num_steps is not None and args.num_steps < 1:
        raise InputError(f'--num-steps {args.num_steps}: at least one image is needed')
    samples = read_list(args.data_list, args.data_dir)[: args.num_steps]
    network, model, classes = restore(
        args, networks, img_mean=args.img_mean, otherwise=f'; for others there is {sibling}'
    )
    num_classes = len(classes)
    check_samples(samples, args.data_dir, num_classes)
    check_outputs(samples, args.save_dir)
    allowed_by_image = None
    if args.tags:
        tags = read_tags(args.tags, classes)
        allowed_by_image = allowed_classes(tags, samples, num_classes, args.tags)
    save_dir = make_output_folder(args.save_dir)
    score_map_dir = _score_map_dir(args, save_dir)
    predict = predictor_for(args, network, model, args.img_mean)

    waiting = samples
    if args.resume:
        waiting = left_to_do(samples, lambda s: _is_done(s, save_dir, score_map_dir))
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
    _say_what_was_saved(samples, save_dir, classes)

    if args.crf and score_map_dir:
        crf_dir = make_output_folder(save_dir / 'crf')
        waiting = [s for s in samples if not (args.resume and _is_done(s, crf_dir))]
        crf_samples(
            waiting,
            score_map_dir,
            crf_dir,
            PRESETS[DEFAULT_PRESET],
            allowed_by_image=allowed_by_image,
        )
        _say_what_was_saved(samples, crf_dir, classes)


def _score_map_dir(args, save_dir):
    if args.save_scores:
        return make_output_folder(args.save_scores)
    if args.crf:
        return make_output_folder(save_dir / 'scores')
    return None


def _say_what_was_saved(samples, folder, classes):
    print(f'The segmentation masks have been saved to {folder}')
    if all(sample.mask for sample in samples):
        print(iou_table_of(samples, folder, classes))


def _is_done(sample, save_dir, score_map_dir=None):
    done = (save_dir / f'{sample.name}.png').is_file()
    return done and (not score_map_dir or (score_map_dir / f'{sample.name}.npz').is_file())

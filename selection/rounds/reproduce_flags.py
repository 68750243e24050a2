"""The flags of reproduce.py, and which of them go together."""

import argparse

from deeplablib.prediction.photographs import read_max_size
from deeplablib.utils.errors import InputError
from selection.rounds import voc_settings
from selection.rounds.smaller_photographs import MAX_SIZE


def get_arguments(
    description: str, data_dir: str, dataset: str, rounds: str, seed: int, steps: str
) -> argparse.Namespace:
    """Parse the command line, and check it.

    description: of the command. data_dir, dataset, seed: the defaults of the flags of these names.
    rounds, steps: what to say of the default of theirs.
    Raises InputError for numbers that make no sense, and for flags that exclude each other.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=('resnet', 'vgg', 'lite0', 'toy', 'photos'))
    parser.add_argument(
        '--work-dir',
        help='where everything goes (default: ./result/WHAT, ./result/small with --settings small, '
        './result/photos_lite0 with --settings lite0)',
    )
    parser.add_argument(
        '--rounds', type=int, help=f'how many (default: {rounds}; --annotations names one for each)'
    )
    parser.add_argument(
        '--steps', type=int, help=f"steps of each round's training (default: {steps})"
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=seed,
        help="random seed of every training, and of toy's data (default: %(default)s)",
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only print the commands, what is missing, and an estimate of time and disk',
    )
    parser.add_argument(
        '--tags',
        help='tags of the training images: file or folder (default: DATASET/tags.txt; photos needs '
        'this flag)',
    )
    parser.add_argument(
        '--classes', metavar='FILE', help="names of a data set's own classes, background first"
    )
    parser.add_argument(
        '--candidates',
        action='store_true',
        help='choose between the refined mask and the proxy annotation of each image, by agreement '
        'with the network; for networks that are weaker than their proxy annotations',
    )
    _add_voc_flags(parser, data_dir, dataset)
    _add_settings(parser)
    photos = parser.add_argument_group('your own photographs')
    photos.add_argument('--images', help='folder of photographs, JPEG or PNG')
    photos.add_argument(
        '--max-size',
        type=read_max_size,
        metavar='PIXELS',
        help=f'longer side of the upright copies that the rounds work on (default: {MAX_SIZE})',
    )
    args = parser.parse_args()
    _check(args)
    return args


def _add_voc_flags(parser, data_dir, dataset):
    voc = parser.add_argument_group('PASCAL VOC')
    voc.add_argument('--data-dir', default=data_dir, help='default: %(default)s')
    voc.add_argument('--dataset', default=dataset, help='folder of lists (default: %(default)s)')
    source = voc.add_mutually_exclusive_group()
    source.add_argument('--cues', help='folder of localization cues, NAME_<class id - 1>.png')
    source.add_argument(
        '--annotations',
        nargs='+',
        help='folders of annotations, NAME.png, or lists of images and annotations; one a round',
    )
    voc.add_argument('--saliency', help='folder of saliency maps, NAME.png')


def _add_settings(parser):
    settings = parser.add_argument_group('settings, of all but toy')
    settings.add_argument('--init', help='initial checkpoint (default: under ./model)')
    settings.add_argument(
        '--imagenet',
        help='checkpoint that the classifier of tags starts from (default: under ./model)',
    )
    settings.add_argument(
        '--settings',
        choices=tuple(voc_settings.LAPTOP),
        help='for hundreds of photographs on a laptop: small, of vgg, has few steps and small '
        'crops; lite0, of photos, takes EfficientNet-Lite0 (default: those of the command)',
    )
    settings.add_argument(
        '--width',
        type=float,
        help='multiplies the channels; --init must have that width',
    )
    settings.add_argument(
        '--train-flags',
        default='',
        metavar="'FLAG ...'",
        help='further flags of main.py, for each training, but for those of validation, test and '
        "prediction: '--batch_size 5 --precision bfloat16'; predictions take that precision too",
    )
    settings.add_argument(
        '--crf-flags',
        default='',
        metavar="'FLAG ...'",
        help='further flags of the CRF, for selection.refine_masks and crf_vocspsm.py; for images '
        "of half VOC's size: '--bilateral-sxy 40 --gaussian-sxy 1.5'",
    )
    settings.add_argument(
        '--classifier-flags',
        default='',
        metavar="'FLAG ...'",
        help="further flags of selection.train_classifier: '--crop-size 321'",
    )


def _check(args):
    if any(number is not None and number < 1 for number in (args.rounds, args.steps)):
        raise InputError('--rounds and --steps must be at least 1')
    if not 0 <= args.seed < 2**32:
        raise InputError(f'--seed {args.seed}: expected 0 to {2**32 - 1}')
    if args.annotations and (args.rounds or args.saliency or args.candidates):
        raise InputError(
            '--annotations names the rounds: not with --rounds, --saliency or --candidates'
        )
    given = (args.cues, args.annotations, args.saliency)
    what = voc_settings.LAPTOP.get(args.settings, args.what)
    if args.what != what:
        raise InputError(f'--settings {args.settings} is for: reproduce.py {what}')
    if args.what == 'toy':
        files = (args.init, args.imagenet, args.tags, args.classes)
        flags = (args.train_flags, args.classifier_flags, args.crf_flags, args.width is not None)
        if any((*given, *files, *flags)):
            raise InputError(
                'toy has settings and data of its own: --rounds, --steps, --seed and --candidates'
            )
    of_classifier = args.imagenet or args.classifier_flags
    if of_classifier and args.what in ('resnet', 'vgg', 'lite0') and not begins_with_tags(args):
        raise InputError(
            '--imagenet and --classifier-flags are for runs that begin with tags: not with --cues '
            'or --annotations'
        )
    if args.what == 'photos':
        if not args.images or not args.tags:
            raise InputError('photos needs --images, a folder, and --tags, a file or folder')
        if any(given):
            raise InputError(
                'photos begins with tags: not with --cues, --saliency or --annotations'
            )
    elif args.images or args.max_size is not None:
        raise InputError('--images and --max-size are for: reproduce.py photos')


def settings_name(args: argparse.Namespace) -> str:
    """Which of SETTINGS a run takes."""
    return args.settings or args.what


def run_name(args: argparse.Namespace) -> str:
    """What a run is called, and its work folder by default."""
    if args.what == 'photos' and args.settings:
        return f'photos_{args.settings}'
    return settings_name(args)


def network_of(args: argparse.Namespace) -> str:
    """Whose initial weights a run takes: resnet, vgg or lite0."""
    of_photographs = 'lite0' if args.settings == 'lite0' else 'vgg'
    return of_photographs if args.what == 'photos' else args.what


def title_of(args: argparse.Namespace) -> str:
    """What a work folder is for: runs of one title go on from each other."""
    name = run_name(args)
    if args.annotations:
        return f'{name} from annotations'
    if args.cues:
        return f'{name} from cues'
    return f'{name} from tags' if begins_with_tags(args) else name


def begins_with_tags(args: argparse.Namespace) -> bool:
    """Whether a run has to make its cues from the tags."""
    return args.what != 'toy' and not args.cues and not args.annotations

"""Run the whole method and set the numbers reached beside the paper's.

    python reproduce.py toy                                 on generated data, in minutes
    python reproduce.py resnet                              on PASCAL VOC, from its tags
    python reproduce.py resnet --cues DIR [--saliency DIR]  from localization cues
    python reproduce.py resnet --annotations DIR DIR DIR    from the annotations of each round
    python reproduce.py vgg --annotations DIR               VGG16, from the final annotations
    python reproduce.py vgg --annotations result/resnet/train_3.txt    the same, from a list
    python reproduce.py vgg --settings small --cues DIR     on a laptop, a part of VOC, in hours
    python reproduce.py photos --images DIR --tags FILE     on your own photographs, from their tags

Each stage is a command that can be run by hand (--dry-run prints them, and an estimate of time and
disk), is recorded in WORK_DIR/stages.json when it is done, and is not done again: after a stop, run
the same command. Ends with WORK_DIR/table.txt, table.md and table.json; of photographs, whose true
masks nobody has, with the trained network and the masks of the photographs, WORK_DIR/masks. Those
are of copies, WORK_DIR/photographs, which are upright and as small as the rounds need (--max-size).
"""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeplablib.data.image_lists import read_list
from deeplablib.data.prepare_voc import COUNTS
from deeplablib.data.sample_check import check_samples
from deeplablib.prediction.photographs import read_max_size
from deeplablib.run import errors
from deeplablib.run.errors import InputError, raise_all
from deeplablib.run.stage_runner import Stage, run_stages
from deeplablib.run.text_tables import as_text
from deeplablib.training.training_settings import flag_words
from experiments import toy_data, toy_settings
from experiments.panel import save_panel
from selection.rounds import plan, result_tables, voc_settings
from selection.rounds import round_stages as make
from selection.rounds.find_data import imagenet_weights, photo_paths, voc_paths
from selection.rounds.photographs import list_photographs, read_photographs
from selection.rounds.round_settings import DataPaths, RoundSettings, flags_of
from selection.rounds.smaller_photographs import MAX_SIZE

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATASET = './dataset/'  # train.txt, val.txt and tags.txt (python -m deeplablib.data.prepare_voc)
RESTORE_FROM = {'resnet': './model/deeplab_resnet_init.ckpt', 'vgg': './model/vgg/init'}
# ImageNet weights, which know no masks: what learns from tags alone starts from them.
IMAGENET = {'resnet': './model/resnet/imagenet', 'vgg': './model/vgg/init'}
ROUNDS = 3
SEED = 1234

PAPER = {  # mean IoU on PASCAL VOC 2012 val, percent
    'resnet': {
        'round 1': 59.9,
        'round 2': 61.3,
        'round 3': 61.3,
        'test script': 61.6,
        'with CRF': 62.3,
    },
    'vgg': {'last round': 56.9, 'test script': 58.4, 'with CRF': 59.9},
}
SETTINGS = {**voc_settings.SETTINGS, 'toy': toy_settings.SETTINGS}
PANEL_IMAGES = 8
MEASURED_IMAGES = 100  # whose mean size is that of an estimate


@dataclass(frozen=True)
class Run:
    """What is going to be done.

    stages: in their order. data: what they read. settings: of the rounds. rounds: how many.
    missing: lines about what is not there.
    """

    stages: Sequence[Stage]
    data: DataPaths
    settings: RoundSettings
    rounds: int
    missing: Sequence[str] = ()


def main() -> None:
    """Plan the stages, run them, and say what was reached."""
    args = get_arguments()
    check_arguments(args)
    work = Path(args.work_dir or f'./result/{settings_name(args)}').resolve()
    run = make_run(args, work)
    if args.what == 'photos' and run.data.train_list.exists():
        list_photographs(run.data)  # of an earlier run: photographs may have come since
    if args.dry_run:
        left = run_stages(run.stages, work, dry_run=True, title=title_of(args))
        print_estimate(args, run, left, work)
        raise_all(run.missing)
        return
    raise_all(run.missing)
    if args.what != 'toy':
        check_images(run.data)
    run_stages(run.stages, work, title=title_of(args))
    if args.what == 'photos':
        show_photographs(run, work)
    else:
        show_numbers(args, run, work)


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=('resnet', 'vgg', 'toy', 'photos'))
    parser.add_argument('--work-dir', help='where everything goes (default: ./result/WHAT)')
    parser.add_argument(
        '--rounds', type=int, help=f'how many (default: {ROUNDS}; --annotations names one for each)'
    )
    steps = ', '.join(f'{name} {found.training.num_steps}' for name, found in SETTINGS.items())
    parser.add_argument(
        '--steps', type=int, help=f"steps of each round's training (default: {steps})"
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=SEED,
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
    add_voc_flags(parser)
    photos = parser.add_argument_group('your own photographs')
    photos.add_argument('--images', help='folder of photographs, JPEG or PNG')
    photos.add_argument(
        '--max-size',
        type=read_max_size,
        metavar='PIXELS',
        help=f'longer side of the upright copies that the rounds work on (default: {MAX_SIZE})',
    )
    return parser.parse_args()


def add_voc_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that toy does without; most of them are for photos too."""
    voc = parser.add_argument_group('PASCAL VOC')
    voc.add_argument('--data-dir', default=DATA_DIRECTORY, help='default: %(default)s')
    voc.add_argument('--dataset', default=DATASET, help='folder of lists (default: %(default)s)')
    voc.add_argument('--init', help='initial checkpoint (default: under ./model)')
    voc.add_argument(
        '--imagenet',
        help='checkpoint that the classifier of tags starts from (default: under ./model)',
    )
    source = voc.add_mutually_exclusive_group()
    source.add_argument('--cues', help='folder of localization cues, NAME_<class id - 1>.png')
    source.add_argument(
        '--annotations',
        nargs='+',
        help='folders of annotations, NAME.png, or lists of images and annotations; one a round',
    )
    voc.add_argument('--saliency', help='folder of saliency maps, NAME.png')
    voc.add_argument(
        '--settings',
        choices=('paper', *voc_settings.LAPTOP),
        default='paper',
        help='for hundreds of photographs on a laptop: small, of vgg, has few steps and small '
        'crops; narrow, of resnet, is a ResNet-50 of a quarter of the channels; their numbers are '
        "not the paper's (default: %(default)s)",
    )
    voc.add_argument(
        '--width',
        type=float,
        help='multiplies the channels; --init must have that width',
    )
    voc.add_argument(
        '--train-flags',
        default='',
        metavar="'FLAG ...'",
        help="further flags of main.py, for each training: '--batch_size 5 --precision bfloat16'",
    )
    voc.add_argument(
        '--classifier-flags',
        default='',
        metavar="'FLAG ...'",
        help="further flags of selection.classifier: '--crop-size 321'",
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError for numbers that make no sense, and for flags that exclude each other."""
    if any(number is not None and number < 1 for number in (args.rounds, args.steps)):
        raise InputError('--rounds and --steps must be at least 1')
    if not 0 <= args.seed < 2**32:
        raise InputError(f'--seed {args.seed}: expected 0 to {2**32 - 1}')
    if args.annotations and (args.rounds or args.saliency):
        raise InputError('--annotations names the rounds: not with --rounds or --saliency')
    given = (args.cues, args.annotations, args.saliency)
    what = voc_settings.LAPTOP.get(args.settings, args.what)
    if args.what != what:
        raise InputError(f'--settings {args.settings} is for: reproduce.py {what}')
    if args.settings == 'narrow' and not (
        args.init and (args.imagenet or not begins_with_tags(args))
    ):
        raise InputError(
            '--settings narrow needs --init, and --imagenet without cues: there are no ImageNet '
            'weights of its width; docs/photographs.md trains one'
        )
    if args.what == 'toy':
        files = (args.init, args.imagenet, args.tags, args.classes)
        flags = (args.train_flags, args.classifier_flags, args.width is not None)
        if any((*given, *files, *flags)):
            raise InputError('toy has settings and data of its own: --rounds, --steps and --seed')
    of_classifier = args.imagenet or args.classifier_flags
    if of_classifier and args.what in ('resnet', 'vgg') and not begins_with_tags(args):
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
    return args.settings if args.settings in voc_settings.LAPTOP else args.what


def title_of(args: argparse.Namespace) -> str:
    """What a work folder is for: runs of one title go on from each other."""
    name = settings_name(args)
    if args.annotations:
        return f'{name} from annotations'
    if args.cues:
        return f'{name} from cues'
    return f'{name} from tags' if begins_with_tags(args) else name


def begins_with_tags(args: argparse.Namespace) -> bool:
    """Whether a run has to make its cues from the tags."""
    return args.what != 'toy' and not args.cues and not args.annotations


def make_run(args: argparse.Namespace, work: Path) -> Run:
    """Put the stages in order, from the data to the last numbers."""
    settings = make_settings(args)
    stages: list[Stage] = []
    missing: list[str] = []
    if args.what == 'toy':
        stages, data = toy_settings.data_stages(work, args.seed)
    else:
        data, missing = find_data(args, work)
    if args.what == 'photos':
        stages.append(make.photographs(data, args.max_size or MAX_SIZE))
    if begins_with_tags(args):
        cues, data = plan.cues_from_tags(data, settings, work)
        stages += cues
    rounds = args.rounds or ROUNDS
    if args.annotations:
        annotations = [Path(path).resolve() for path in args.annotations]
        rounds = len(annotations)
        of_rounds, model = plan.given_annotations(data, settings, work, annotations)
    else:
        of_rounds, model = plan.all_rounds(data, settings, work, rounds)
    stages += of_rounds
    if args.what == 'photos':
        stages += plan.final_masks(data, settings, model, work)
    else:
        stages += plan.final_predictions(data, settings, model, work)
    return Run(stages, data, settings, rounds, missing)


def find_data(args: argparse.Namespace, work: Path) -> tuple[DataPaths, list[str]]:
    """Where the user's data is, and a list of lines about what is missing of it."""
    if args.what == 'photos':
        return photo_paths(
            images=args.images,
            tags=args.tags,
            imagenet=args.imagenet or IMAGENET['vgg'],
            init=args.init,
            classes=args.classes,
            work=work,
        )
    data, missing = voc_paths(
        data_dir=args.data_dir,
        dataset=args.dataset,
        init=args.init or RESTORE_FROM[args.what],
        tags=args.tags,
        cues=args.cues,
        saliency=args.saliency,
        classes=args.classes,
        annotations=args.annotations or (),
    )
    if begins_with_tags(args):
        path = args.imagenet or IMAGENET[args.what]
        data = replace(data, imagenet=imagenet_weights(path, f'deeplab_{args.what}', missing))
    return data, missing


def make_settings(args: argparse.Namespace) -> RoundSettings:
    """What the rounds are set to, with what the flags change."""
    settings = SETTINGS[settings_name(args)]
    training = replace(settings.training, random_seed=args.seed)
    named_flags = settings.named_flags
    classifier_flags = (*settings.classifier_flags, '--random-seed', str(args.seed))
    if args.steps:
        training = replace(training, num_steps=args.steps)
    if args.width is not None:
        training = replace(training, width=args.width)
        named_flags = tuple(dict.fromkeys((*named_flags, 'width')))
        classifier_flags += ('--width', str(args.width))
    return replace(
        settings,
        training=training,
        named_flags=named_flags,
        train_flags=flags_of('--train-flags', args.train_flags),
        classifier_flags=(
            *classifier_flags,
            *flags_of('--classifier-flags', args.classifier_flags),
        ),
    )


def check_images(data: DataPaths) -> None:
    """Check all that a training does not check itself before it begins."""
    if data.val_list is None:
        list_photographs(data)
    else:
        validation = read_list(data.val_list, data.data_dir)
        check_samples(validation, data.data_dir, len(data.class_names), need_masks=True)


def print_estimate(args: argparse.Namespace, run: Run, left: Sequence[Stage], work: Path) -> None:
    """Print what the stages that are left will take on this machine."""
    # Here and not above: TensorFlow takes seconds to import and memory to keep, while stages run.
    import deeplab_resnet
    import deeplab_vgg
    from experiments.cost_estimate import PHOTOGRAPH, estimate, estimate_text, mean_size

    data = run.data
    expected, size = COUNTS, PHOTOGRAPH
    if args.what == 'toy':
        expected, size = toy_data.IMAGES, (toy_data.SIZE, toy_data.SIZE)
    elif args.what == 'photos':
        expected = {data.train_list.stem: len(read_photographs(data))}
        longest = args.max_size or MAX_SIZE
        size = round(longest * PHOTOGRAPH[0] / PHOTOGRAPH[1]), longest
    elif not run.missing:
        samples = read_list(data.train_list, data.data_dir)
        size = mean_size([sample.image for sample in samples[:MEASURED_IMAGES]])
    counts = {
        path: len(read_list(path, data.data_dir)) if path.exists() else expected[path.stem]
        for path in (data.train_list, data.val_list)
        if path is not None
    }
    settings = next(
        stage.work.settings for stage in run.stages if isinstance(stage.work, make.Training)
    )
    networks = deeplab_resnet.NETWORKS | deeplab_vgg.NETWORKS
    if settings.encoder_name not in networks:
        raise InputError(f'--encoder_name {settings.encoder_name}: expected {", ".join(networks)}')
    network = networks[settings.encoder_name]
    num_classes = len(data.class_names)
    model = network.build(num_classes=num_classes, width=settings.width)
    tag_classifier = None
    if begins_with_tags(args):
        tag_classifier = network.build_classifier(num_tags=num_classes - 1, width=settings.width)
    cost = estimate(left, model, counts, size, tag_classifier)
    print(f'\n{estimate_text(cost, settings.precision, work)}')


def show_photographs(run: Run, work: Path) -> None:
    """Print what each round was trained on, and where network and masks are."""
    print(as_text(*result_tables.image_table(run.data, work, run.rounds)))
    print(f'The network: {work / f"round_{run.rounds}/model"}')
    print(f'The masks: {work / "masks"}, of the photographs in {run.data.data_dir}')


def show_numbers(args: argparse.Namespace, run: Run, work: Path) -> None:
    """Save and print the numbers beside the paper's; of generated data, pictures too."""
    paper = {} if args.classes else PAPER.get(settings_name(args), {})
    numbers = result_tables.read_numbers(work, run.rounds)
    pairs = result_tables.beside_paper(numbers, paper, run.rounds)
    tables = [result_tables.number_table(pairs)]
    if args.what == 'toy':
        tables.insert(0, result_tables.mask_table(run.data, work, run.rounds))
        save_pictures(run, work)
    named = ('encoder_name', 'num_steps', *run.settings.named_flags)
    words = [*flag_words(run.settings.training, named), *run.settings.train_flags]
    trained = f'Trained by main.py {shlex.join(words)}'
    print(result_tables.save_tables(work, tables, pairs, trained))


def save_pictures(run: Run, work: Path) -> None:
    """Save a picture of what the rounds made of some images."""
    images = [sample.image for sample in read_list(run.data.train_list, run.data.data_dir)]
    columns = {'truth': run.data.val_masks, 'proxy': work / 'proxies'}
    columns |= {f'refined {k}': work / f'round_{k}/refined' for k in range(1, run.rounds)}
    save_panel(work / 'panel.png', images[:PANEL_IMAGES], columns)
    print(f'Pictures: {work / "panel.png"}')


if __name__ == '__main__':
    errors.run(main)

"""Run the whole method and set the numbers reached beside the paper's.

    python reproduce.py toy                                 on generated data, in minutes
    python reproduce.py resnet                              on PASCAL VOC, from its tags
    python reproduce.py resnet --cues DIR [--saliency DIR]  from localization cues
    python reproduce.py resnet --annotations DIR DIR DIR    from the annotations of each round
    python reproduce.py vgg --annotations DIR               VGG16, from the final annotations
    python reproduce.py vgg --annotations result/resnet/train_3.txt    the same, from a list
    python reproduce.py photos --images DIR --tags FILE     on your own photographs, from their tags

Each stage is a command that can be run by hand (--dry-run prints them, and an estimate of time and
disk), is recorded in WORK_DIR/stages.json when it is done, and is not done again: after a stop, run
the same command. Ends with WORK_DIR/table.txt, table.md and table.json; of photographs, whose true
masks nobody has, with the trained network and the masks of the photographs, WORK_DIR/masks.
"""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deeplablib.data.classes import read_classes
from deeplablib.data.image_lists import read_list, write_list
from deeplablib.data.prepare_voc import COUNTS
from deeplablib.data.sample_check import check_samples
from deeplablib.data.voc import CLASSES
from deeplablib.run import errors
from deeplablib.run.errors import InputError, raise_all
from deeplablib.run.files import make_output_folder, replacing
from deeplablib.run.stage_runner import Stage, run_stages
from deeplablib.run.text_tables import Row, as_markdown, as_text
from deeplablib.training.training_settings import TrainingSettings, flag_words
from experiments import toy_data, toy_settings
from experiments.panel import save_panel
from selection.quality import list_quality
from selection.rounds import plan
from selection.rounds.round_settings import DataPaths, RoundSettings
from selection.rounds.round_stages import Training
from selection.shared.photographs import read_photographs

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATASET = './dataset/'  # train.txt, val.txt and tags.txt (python -m deeplablib.data.prepare_voc)
RESTORE_FROM = {'resnet': './model/deeplab_resnet_init.ckpt', 'vgg': './model/vgg/init'}
# ImageNet weights, which know no masks: what learns from tags alone starts from them.
IMAGENET = {'resnet': './model/resnet/imagenet', 'vgg': './model/vgg/init'}
ROUNDS = 3

PAPER = {  # mean IoU on PASCAL VOC 2012 val, percent
    'resnet': {
        'round 1': 59.9,
        'round 2': 61.3,
        'round 3': 61.3,
        'test script': 61.6,
        'with CRF': 62.3,
    },
    'vgg': {'last round': 56.9, 'test script': 58.4, 'with CRF': 59.9},
    'toy': {},
    'photos': {},
}
TRAINING = TrainingSettings(
    num_steps=18000,
    learning_rate=4e-5,
    recipe='caffe',
    batch_size=10,
    input_height=321,
    input_width=321,
    momentum=0.9,
    power=0.9,
    weight_decay=5e-4,
    random_seed=1234,
    max_to_keep=2,  # a checkpoint of ResNet-101 takes 0.35 GB
)
# Named although they are defaults: a constant that is edited in main.py must not change them.
NAMED = (
    'batch_size',
    'input_height',
    'input_width',
    'momentum',
    'power',
    'weight_decay',
    'random_seed',
    'max_to_keep',
)
CLASSIFIER = ('--batch-size', '16', '--crop-size', '512', '--random-seed', '1234')
SETTINGS = {
    'resnet': RoundSettings(
        training=replace(TRAINING, encoder_name='deeplab'),
        named_flags=('learning_rate', *NAMED),
        prediction_script='test_vocspsm_resnet.py',
        classifier_flags=('--learning-rate', '0.1', '--num-steps', '3300', *CLASSIFIER),
    ),
    'vgg': RoundSettings(
        training=replace(TRAINING, encoder_name='vgg', learning_rate=1e-4),
        named_flags=('learning_rate', 'recipe', *NAMED),
        prediction_script='test_vocspsm_vgg.py',
        classifier_flags=('--learning-rate', '0.001', '--num-steps', '3300', *CLASSIFIER),
    ),
    'toy': toy_settings.SETTINGS,
}
# For hundreds of photographs, where VOC has ten thousand.
SETTINGS['photos'] = replace(
    SETTINGS['vgg'],
    training=replace(SETTINGS['vgg'].training, num_steps=4000),
    classifier_flags=('--learning-rate', '0.001', '--num-steps', '1000', *CLASSIFIER),
)
PHOTOS_LIST = 'photos.txt'
PANEL_IMAGES = 8


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=PAPER)
    parser.add_argument('--work-dir', help='where everything goes (default: ./result/WHAT)')
    parser.add_argument('--rounds', type=int, help=f'from cues and of toy (default: {ROUNDS})')
    parser.add_argument(
        '--steps', type=int, help='steps of each training (default: those of the paper)'
    )
    parser.add_argument('--seed', type=int, default=1234, help='of toy (default: %(default)s)')
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only print the commands, what is missing, and an estimate of time and disk',
    )
    parser.add_argument(
        '--tags',
        help='tags of the training images: file or folder (default: DATASET/tags.txt; of photos '
        'there is none)',
    )
    parser.add_argument(
        '--classes', metavar='FILE', help="names of a data set's own classes, background first"
    )
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
        '--width', type=float, help="of a narrower network's --init: multiplies the channels"
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
    photos = parser.add_argument_group('your own photographs')
    photos.add_argument('--images', help='folder of photographs, JPEG or PNG')
    return parser.parse_args()


def existing(path: str | Path, remedy: str, missing: list[str]) -> Path:
    """A path made absolute; a line about it goes to missing when nothing is there."""
    path = Path(path).resolve()
    if not path.exists() and not path.with_name(f'{path.name}.index').exists():
        missing.append(f'{path}: not there; {remedy}')
    return path


def imagenet_checkpoint(args: argparse.Namespace, missing: list[str]) -> Path:
    """The checkpoint that what learns from tags starts from."""
    what = 'vgg' if args.what == 'photos' else args.what
    path = args.imagenet or IMAGENET[what]
    remedy = f'make it with: python -m deeplab_{what}.convert imagenet {path}'
    return existing(path, remedy, missing)


def photos_data(args: argparse.Namespace, work: Path) -> tuple[DataPaths, list[str]]:
    """Where somebody's photographs are: a DataPaths, and a list of lines about what is missing.

    There are no true masks. The list of the photographs is written when a run begins.
    """
    if not args.images or not args.tags:
        raise InputError('photos needs --images, a folder, and --tags, a file or folder')
    if args.cues or args.annotations or args.saliency:
        raise InputError('photos begins with tags: not with --cues, --saliency or --annotations')
    missing: list[str] = []
    folder = existing(args.images, 'a folder of photographs', missing)
    tags = existing(args.tags, 'a file or folder of tags', missing)
    raise_all(missing)
    imagenet = imagenet_checkpoint(args, missing)
    data = DataPaths(
        data_dir=folder,
        train_list=work / PHOTOS_LIST,
        val_list=None,
        val_masks=folder,  # of no use without a val_list
        tags=tags,
        init=existing(args.init, 'a checkpoint', missing) if args.init else imagenet,
        imagenet=imagenet,
        classes=args.classes and existing(args.classes, 'a text file, a name a line', missing),
    )
    return data, missing


def from_tags(args: argparse.Namespace) -> bool:
    """Whether a run has to make its cues from the tags."""
    return args.what != 'toy' and not args.cues and not args.annotations


def voc_data(args: argparse.Namespace) -> tuple[DataPaths, list[str]]:
    """Where PASCAL VOC is: a DataPaths, and a list of lines about what is missing of it."""
    missing: list[str] = []

    def given(path, remedy):
        return existing(path, remedy, missing)

    lists = 'make it with: python -m deeplablib.data.prepare_voc VOCROOT'
    data_dir = given(args.data_dir, 'set DATA_DIRECTORY or --data-dir')
    train_list, val_list = (
        given(Path(args.dataset) / name, lists) for name in ('train.txt', 'val.txt')
    )
    tags = given(args.tags or Path(args.dataset) / 'tags.txt', lists)
    val_masks = data_dir / 'SegmentationClassAug'
    if val_list.exists():
        mask = read_list(val_list, data_dir)[0].mask
        if mask is None:
            raise InputError(f'{val_list}: names no masks; {lists}')
        val_masks = mask.parent.resolve()
    init = args.init or RESTORE_FROM[args.what]
    cue_help = 'a folder of NAME_<class id - 1>.png'
    data = DataPaths(
        data_dir=data_dir,
        train_list=train_list,
        val_list=val_list,
        val_masks=val_masks,
        tags=tags,
        init=given(init, 'docs/reproduce.md says where to get one, or what to take instead'),
        imagenet=imagenet_checkpoint(args, missing) if from_tags(args) else None,
        cues=args.cues and given(args.cues, cue_help),
        saliency=args.saliency and given(args.saliency, 'a folder of NAME.png'),
        classes=args.classes and given(args.classes, 'a text file, a name a line'),
    )
    for path in args.annotations or ():
        given(path, 'a folder of annotations, NAME.png, or a list')
    return data, missing


def voc_settings(args: argparse.Namespace) -> RoundSettings:
    """The RoundSettings of a run on PASCAL VOC, or on photographs."""
    settings = SETTINGS[args.what]
    train_flags = flags_of('--train-flags', args.train_flags)
    classifier_flags = flags_of('--classifier-flags', args.classifier_flags)
    if args.width is not None:
        training = replace(settings.training, width=args.width)
        named = (*settings.named_flags, 'width')
        settings = replace(settings, training=training, named_flags=named)
        classifier_flags = ('--width', str(args.width), *classifier_flags)
    return replace(
        settings,
        train_flags=train_flags,
        classifier_flags=(*settings.classifier_flags, *classifier_flags),
    )


def flags_of(name: str, text: str) -> tuple[str, ...]:
    """The flags that are given as one word; name: of the flag that gives them."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f'{name} {text}: {error}') from None


def make_plan(
    args: argparse.Namespace, work: Path
) -> tuple[list[Stage], DataPaths, RoundSettings, int, list[str]]:
    """All stages of a run, its DataPaths and RoundSettings, the rounds, and what is missing."""
    number = args.rounds or ROUNDS
    missing: list[str] = []
    stages: list[Stage] = []
    if args.annotations and (args.rounds or args.saliency):
        raise InputError('--annotations names the rounds: not with --rounds or --saliency')
    if args.what == 'toy':
        of_voc = (args.cues, args.annotations, args.saliency, args.init, args.imagenet)
        flags = (args.train_flags, args.classifier_flags, args.tags, args.classes)
        if any(of_voc) or any(flags) or args.width is not None:
            raise InputError('toy has settings and data of its own: --rounds, --steps and --seed')
        stages, data = toy_settings.data_stages(work, args.seed)
        settings = SETTINGS['toy']
    elif args.what == 'photos':
        data, missing = photos_data(args, work)
        settings = voc_settings(args)
    else:
        data, missing = voc_data(args)
        settings = voc_settings(args)
    if args.steps:
        training = replace(settings.training, num_steps=args.steps)
        settings = replace(settings, training=training)
    if args.what != 'photos' and args.images:
        raise InputError('--images is for: reproduce.py photos')
    if from_tags(args):
        stages, data = plan.cues_from_tags(data, settings, work)
    if args.annotations:
        annotations = [Path(path).resolve() for path in args.annotations]
        more, model = plan.given_annotations(data, settings, work, annotations)
        number = len(annotations)
    else:
        more, model = plan.all_rounds(data, settings, work, number)
    last = plan.final_masks if data.val_list is None else plan.final_predictions
    stages = [*stages, *more, *last(data, settings, model, work)]
    if data.classes:
        stages = [
            replace(stage, reads=(*stage.reads, data.classes))
            if str(data.classes) in stage.command
            else stage
            for stage in stages
        ]
    return stages, data, settings, number, missing


def print_estimate(
    args: argparse.Namespace,
    stages: Sequence[Stage],
    left: Sequence[Stage],
    data: DataPaths,
    work: Path,
) -> None:
    """Print what the stages that are left will take on this machine."""
    # Here and not above: TensorFlow takes seconds to import and memory to keep, while stages run.
    import deeplab_resnet
    import deeplab_vgg
    from experiments.cost_estimate import PHOTOGRAPH, estimate, estimate_text

    expected, size = COUNTS, PHOTOGRAPH
    if args.what == 'toy':
        expected, size = toy_data.IMAGES, (toy_data.SIZE, toy_data.SIZE)
    elif args.what == 'photos':
        expected = {
            data.train_list.stem: len(read_photographs(data.data_dir, data.tags, class_names(data)))
        }
    counts = {
        path: len(read_list(path, data.data_dir)) if path.exists() else expected[path.stem]
        for path in (data.train_list, data.val_list)
        if path is not None
    }
    settings = next(stage.work.settings for stage in stages if isinstance(stage.work, Training))
    networks = deeplab_resnet.NETWORKS | deeplab_vgg.NETWORKS
    if settings.encoder_name not in networks:
        raise InputError(f'--encoder_name {settings.encoder_name}: expected {", ".join(networks)}')
    network = networks[settings.encoder_name]
    num_classes = len(class_names(data))
    model = network.build(num_classes=num_classes, width=settings.width)
    tag_classifier = None
    if from_tags(args):
        tag_classifier = network.build_classifier(num_tags=num_classes - 1, width=settings.width)
    cost = estimate(left, model, counts, size, tag_classifier)
    print(f'\n{estimate_text(cost, settings.precision, work)}')


def class_names(data: DataPaths) -> tuple[str, ...]:
    """What the classes of the data are called, background first."""
    return read_classes(data.classes) if data.classes else CLASSES


def read_numbers(work: Path, number: int) -> dict[str, float]:
    """The mean IoU of each result in percent, a dict from its name."""
    files = {f'round {k}': work / f'round_{k}' / 'val.json' for k in range(1, number + 1)}
    files |= {'test script': work / 'last.json', 'with CRF': work / 'crf.json'}
    return {name: 100 * json.loads(file.read_text())['mean_iou'] for name, file in files.items()}


def beside_paper(
    numbers: Mapping[str, float], paper: Mapping[str, float], last_round: int
) -> dict[str, tuple[float, float | None]]:
    """The numbers with the paper's: a dict from name to (number, the paper's or None).

    numbers: as from read_numbers. paper: of PAPER. last_round: its number.
    """
    of_name = {f'round {last_round}': paper.get('last round'), **paper}
    return {name: (number, of_name.get(name)) for name, number in numbers.items()}


def number_table(pairs: Mapping[str, tuple[float, float | None]]) -> tuple[Row, Sequence[Row]]:
    """What beside_paper gives, as the heading and the rows of a table."""
    rows = [
        (name, f'{number:.1f}', '' if paper is None else str(paper))
        for name, (number, paper) in pairs.items()
    ]
    if all(paper is None for _, paper in pairs.values()):
        return ('', 'mean IoU'), [row[:2] for row in rows]
    return ('', 'mean IoU', 'paper'), rows


def mask_table(data: DataPaths, work: Path, number: int) -> tuple[Row, Sequence[Row]]:
    """Images and true quality of the masks that each round was trained on, as number_table."""
    rows = []
    for k in range(1, number + 1):
        images, quality, labelled = list_quality(
            work / f'train_{k}.txt', data.data_dir, data.data_dir / 'SegmentationClassAug'
        )
        rows.append((str(k), str(images), f'{100 * quality:.1f}', f'{100 * labelled:.0f} %'))
    return ('round', 'images', 'true mean IoU of their masks', 'labelled'), rows


def image_table(data: DataPaths, work: Path, number: int) -> tuple[Row, Sequence[Row]]:
    """How many images each round was trained on, as number_table."""
    lists = [read_list(work / f'train_{k}.txt', data.data_dir) for k in range(1, number + 1)]
    return ('round', 'images'), [(str(k), str(len(found))) for k, found in enumerate(lists, 1)]


def main() -> None:
    """Run the stages and print the tables."""
    args = get_arguments()
    if any(number is not None and number < 1 for number in (args.rounds, args.steps)):
        raise InputError('--rounds and --steps must be at least 1')
    work = Path(args.work_dir or f'./result/{args.what}').resolve()
    stages, data, settings, number, missing = make_plan(args, work)
    title = args.what
    if args.annotations:
        title += ' from annotations'
    elif args.cues:
        title += ' from cues'
    elif from_tags(args):
        title += ' from tags'
    if args.dry_run:
        left = run_stages(stages, work, dry_run=True, title=title)
        print_estimate(args, stages, left, data, work)
        raise_all(missing)
        return
    raise_all(missing)
    if args.what == 'photos':
        photographs = read_photographs(data.data_dir, data.tags, class_names(data))
        make_output_folder(work)
        write_list(data.train_list, [(sample.image,) for sample in photographs], data.data_dir)
        run_stages(stages, work, title=title)
        print(as_text(*image_table(data, work, number)))
        print(f'The network: {work / f"round_{number}/model"}\nThe masks: {work / "masks"}')
        return
    # All that a training does not check itself before it begins.
    if args.what != 'toy' and data.val_list:
        val = read_list(data.val_list, data.data_dir)
        check_samples(val, data.data_dir, len(class_names(data)), need_masks=True)
    run_stages(stages, work, title=title)

    paper = {} if data.classes else PAPER[args.what]
    pairs = beside_paper(read_numbers(work, number), paper, number)
    tables = [number_table(pairs)]
    if args.what == 'toy':
        tables.insert(0, mask_table(data, work, number))
        images = [sample.image for sample in read_list(data.train_list, data.data_dir)]
        columns = {'truth': data.val_masks, 'proxy': work / 'proxies'}
        columns |= {f'refined {k}': work / f'round_{k}/refined' for k in range(1, number)}
        save_panel(work / 'panel.png', images[:PANEL_IMAGES], columns)
        print(f'Pictures: {work / "panel.png"}')
    named = ('encoder_name', 'num_steps', *settings.named_flags)
    words = [*flag_words(settings.training, named), *settings.train_flags]
    trained = f'Trained by main.py {shlex.join(words)}'
    results = {
        name: {'mean_iou': number, 'paper': paper} for name, (number, paper) in pairs.items()
    }
    content = {
        'txt': '\n\n'.join([*(as_text(*table) for table in tables), trained]),
        'md': '\n\n'.join([*(as_markdown(*table) for table in tables), trained]),
        'json': json.dumps({'results': results, 'training': trained}, indent=2),
    }
    for ending, text in content.items():
        with replacing(work / f'table.{ending}') as temporary:
            temporary.write_text(f'{text}\n')
    print(content['txt'])


if __name__ == '__main__':
    errors.run(main)

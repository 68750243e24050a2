"""Run the whole method and set the numbers reached beside the paper's.

    python reproduce.py toy                                 on generated data, in minutes
    python reproduce.py resnet                              on PASCAL VOC, from its tags
    python reproduce.py resnet --cues DIR [--saliency DIR]  from localization cues
    python reproduce.py resnet --annotations DIR DIR DIR    from the annotations of each round
    python reproduce.py vgg --annotations DIR               VGG16, from the final annotations
    python reproduce.py vgg --annotations result/resnet/train_3.txt    the same, from a list
    python reproduce.py vgg --settings small --cues DIR     on a laptop, a part of VOC, in hours
    python reproduce.py lite0 [--cues DIR]                  with EfficientNet-Lite0, in less time
    python reproduce.py photos --images DIR --tags FILE     on your own photographs, from their tags

Each stage is a command that can be run by hand (--dry-run prints them), is recorded in
WORK_DIR/stages.json when it is done, and is not done again: after a stop, run the same command.
Ends with WORK_DIR/table.txt, table.md and table.json; of photographs, whose true masks nobody has,
with the trained network and the masks of the photographs, WORK_DIR/masks. Those are of copies,
WORK_DIR/photographs, which are upright and as small as the rounds need (--max-size).

Known: three rounds, that every round starts from the same initial checkpoint, and that masks of
high quality are selected. Reconstructed: the rest.
"""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeplab_efficientnet import settings as lite0
from deeplablib.data.image_lists import read_list
from deeplablib.data.sample_check import check_samples
from deeplablib.prediction.photographs import read_max_size
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import replacing
from deeplablib.utils.stages import flag_words, run_stages
from deeplablib.utils.text_tables import Row, text_table
from experiments import toy_data
from selection.copy_photographs import LIST, MAX_SIZE, read_photographs
from selection.evaluate_masks import list_quality
from selection.rounds import (
    SETTINGS,
    Run,
    absolute,
    check_train_words,
    find_voc,
    missing,
    new_run,
    read_crf_words,
    read_words,
)

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATASET = './dataset/'  # train.txt, val.txt and tags.txt (python -m deeplablib.data.prepare_voc)
RESTORE_FROM = {
    'deeplab_resnet': './model/deeplab_resnet_init.ckpt',
    'deeplab_vgg': './model/vgg/init',
    'deeplab_efficientnet': './model/lite0/init',
}
# ImageNet weights, which know no masks: what learns from tags alone starts from them.
IMAGENET = RESTORE_FROM | {'deeplab_resnet': './model/resnet/imagenet'}
ROUNDS = 3
SEED = 1234
PANEL_IMAGES = 8

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
# By command and --settings: the name of the run, and of its settings in selection.rounds.SETTINGS.
NAMES = {
    ('toy', None): 'toy',
    ('resnet', None): 'resnet',
    ('vgg', None): 'vgg',
    ('vgg', 'small'): 'small',
    ('lite0', None): 'lite0',
    ('photos', None): 'photos',
    ('photos', 'lite0'): 'photos',
    ('photos', 'vgg'): 'photos_vgg',
    ('photos', 'small'): 'photos_small',
}


def train_in_rounds(
    run: Run, work_dir: Path, cues: Path, saliency: Path | None, rounds: int, candidates: bool
) -> Path:
    """The method: train, label the training images, keep the best masks, train on these.

    run: to which the commands are added. work_dir: folder of everything. cues, saliency: of the
    training images. candidates: choose between the refined mask and the proxy annotation of each
    image. Otherwise the best refined masks go on or, where the proxies are of propagated cues,
    those of their pixels that the network agrees with. Returns the folder of the last model.
    """
    proxies = run.make_proxies(cues, saliency, work_dir / 'proxies')
    train_list = run.list_masks(proxies, work_dir / 'train_1.txt')
    for number in range(1, rounds + 1):
        folder = work_dir / f'round_{number}'
        model = run.train(train_list, folder / 'model')  # from the initial checkpoint, every time
        run.validate(model, folder / 'val')
        if number < rounds:
            next_list = work_dir / f'train_{number + 1}.txt'
            labels = folder / 'train'
            score_maps = run.predict_training_images(model, labels, run.single_scale)
            if candidates:
                refined = run.refine_masks(score_maps, folder / 'refined')
                chosen = run.choose_candidates([proxies, refined], score_maps, folder / 'chosen')
                train_list = run.select_masks(chosen, next_list, measure='annotation_agreement')
            elif run.propagates_cues:
                pixels = run.select_pixels(proxies, folder / 'pixels', agree_with=labels)
                train_list = run.list_masks(pixels, next_list)
            else:
                refined = run.refine_masks(score_maps, folder / 'refined')
                train_list = run.select_masks(refined, next_list, measure='crf_agreement')
    return model


def train_on_given(run: Run, work_dir: Path, annotations: Sequence[Path]) -> Path:
    """Train on the annotations of each round in turn, where these are given.

    annotations: one a round, a folder of NAME.png, of which every mask is taken, or a list of
    images and masks. Returns the folder of the last model.
    """
    lists = [
        path if path.is_file() else run.list_masks(path, work_dir / f'train_{number}.txt')
        for number, path in enumerate(annotations, 1)
    ]  # all of them first: an empty folder is found before any training
    for number, train_list in enumerate(lists, 1):
        folder = work_dir / f'round_{number}'
        given = train_list in annotations
        model = run.train(train_list, folder / 'model', given)
        run.validate(model, folder / 'val')
    return model


def finish(run: Run, work_dir: Path, model: Path, single_scale: bool) -> None:
    """Label the validation images, or where there are none the training images, and refine."""
    if run.val_list is None:
        score_maps = run.predict_training_images(model, work_dir / 'last', single_scale)
        run.refine_masks(score_maps, work_dir / 'masks')
        return
    scores = work_dir / 'last/scores'
    last = run.predict(
        model, run.val_list, work_dir / 'last', save_scores=scores, single_scale=single_scale
    )
    run.evaluate(last, work_dir / 'last.json')
    run.evaluate(run.apply_crf(scores, work_dir / 'crf'), work_dir / 'crf.json')


def main() -> None:
    """Plan the commands, run them, and say what was reached."""
    args = get_arguments()
    work_dir = absolute(args.work_dir or f'./result/{args.name}')
    run, needed, rounds = plan(args, work_dir)
    lacking = missing(needed)
    if not args.dry_run:
        raise_all(lacking)
    if not (work_dir / 'round_1').exists():  # from there on a wrong flag shows at once
        check_train_words(run.train_words)
    if run.val_list is not None and args.command != 'toy' and not args.dry_run:
        # What is read last, after days; a training checks its own list before it begins.
        samples = read_list(run.val_list, run.images['data_dir'])
        check_samples(samples, run.images['data_dir'], len(run.class_names), need_masks=True)
    title = args.name + ('' if args.command == 'toy' else f' from {source_of(args)}')
    run_stages(run.stages, work_dir, args.dry_run, title)
    if args.dry_run:
        raise_all(lacking)
    elif args.command == 'photos':
        show_photographs(run, work_dir, rounds)
    else:
        show_numbers(args, run, work_dir, rounds)


def plan(args: argparse.Namespace, work_dir: Path) -> tuple[Run, dict[Path, str], int]:
    """Put the commands in order, from the data to the last numbers.

    Returns the run, what must be there, as from rounds.find_voc, and the number of rounds.
    """
    run, needed, imagenet = start_run(args, work_dir)
    rounds = args.rounds or (lite0.ROUNDS if args.name in ('lite0', 'photos') else ROUNDS)
    if args.candidates and rounds == 1:
        raise InputError('--candidates chooses the masks of round 2: give --rounds 2, or more')
    cues, saliency = (absolute(path) if path else None for path in (args.cues, args.saliency))
    if args.command == 'toy':
        cues, saliency = work_dir / 'data/cues', work_dir / 'data/saliency'
    elif source_of(args) == 'tags':
        cues = run.make_cams(
            run.train_classifier(imagenet, work_dir / 'classifier'), work_dir / 'cues'
        )
    if args.annotations:
        annotations = [absolute(path) for path in args.annotations]
        rounds = len(annotations)
        model = train_on_given(run, work_dir, annotations)
    else:
        assert cues is not None
        model = train_in_rounds(run, work_dir, cues, saliency, rounds, args.candidates)
    finish(run, work_dir, model, single_scale=args.command == 'toy')
    return run, needed, rounds


def start_run(args: argparse.Namespace, work_dir: Path) -> tuple[Run, dict[Path, str], Path]:
    """The run with the commands that make its data, what must be there, and ImageNet's weights."""
    named = {'num_steps': args.steps, 'width': args.width, 'precision': args.precision}
    changes = {name: value for name, value in named.items() if value is not None}
    if args.command == 'toy':
        return toy_data.toy_run(work_dir, args.seed, changes), {}, Path()
    settings = SETTINGS[args.name][0]
    package = settings.__name__.split('.')[0]
    imagenet = absolute(args.imagenet or IMAGENET[package])
    init = absolute(args.init or RESTORE_FROM[package])
    if args.command == 'photos':
        init = absolute(args.init) if args.init else imagenet
        data, needed = find_photographs(args, work_dir)
    else:
        data, needed = find_voc(args.data_dir, args.dataset, args.tags, args.classes)
    needed[init] = 'docs/reproduce.md says where to get one, or what to take instead'
    if source_of(args) == 'tags':
        needed[imagenet] = f'make it with: python -m {package}.convert imagenet {imagenet}'
    for paths, remedy in (
        ([args.cues], 'a folder of NAME_<class id - 1>.png'),
        ([args.saliency], 'a folder of NAME.png'),
        (args.annotations or [], 'a folder of annotations, NAME.png, or a list'),
    ):
        needed |= {absolute(path): remedy for path in paths if path}
    run = new_run(
        args.name,
        init=init,
        seed=args.seed,
        changes=changes,
        train_words=read_words('--train-flags', args.train_flags),
        crf_words=read_crf_words(args.crf_flags),
        classifier_words=read_words('--classifier-flags', args.classifier_flags),
        proxies=settings.PROXIES if source_of(args) == 'tags' else {},
        **data,
    )
    if args.command == 'photos':
        photographs = read_photographs(args.images, args.tags, run.class_names)
        flags = {'images': str(absolute(args.images)), 'out': run.images['data_dir']}
        flags |= {name: run.images[name] for name in ('tags', 'classes')}
        flags |= {'max_size': args.max_size, 'resume': True}
        run.add('selection.copy_photographs', flags, reads=[path.resolve() for path in photographs])
    return run, needed, imagenet


def find_photographs(
    args: argparse.Namespace, work_dir: Path
) -> tuple[dict[str, Any], dict[Path, str]]:
    """Find somebody's own photographs, of which there are no true masks; returns as find_voc.

    Raises InputError when they or their tags are not there: then there is no plan.
    """
    folder, tags = absolute(args.images), absolute(args.tags)
    needed = {folder: 'a folder of photographs', tags: 'a file or folder of tags'}
    classes = absolute(args.classes) if args.classes else None
    if classes:
        needed[classes] = 'a text file, a name a line'
    raise_all(missing(needed))
    copies = work_dir / 'photographs'
    images = {'data_dir': copies, 'data_list': copies / LIST, 'tags': tags, 'classes': classes}
    return {'images': images}, needed


def show_photographs(run: Run, work_dir: Path, rounds: int) -> None:
    """Print what each round was trained on, and where network and masks are."""
    copies = run.images['data_dir']
    lists = {k: read_list(work_dir / f'train_{k}.txt', copies) for k in range(1, rounds + 1)}
    print(text_table(('round', 'images'), [(str(k), str(len(s))) for k, s in lists.items()]))
    print(f'The network: {work_dir / f"round_{rounds}/model"}')
    print(f'The masks: {work_dir / "masks"}, of the photographs in {copies}')


def show_numbers(args: argparse.Namespace, run: Run, work_dir: Path, rounds: int) -> None:
    """Save and print the numbers beside the paper's; of generated data, pictures too."""
    files = {f'round {k}': work_dir / f'round_{k}/val.json' for k in range(1, rounds + 1)}
    files |= {'test script': work_dir / 'last.json', 'with CRF': work_dir / 'crf.json'}
    numbers = {name: 100 * json.loads(file.read_text())['mean_iou'] for name, file in files.items()}
    paper = {} if args.classes else PAPER.get(args.name, {})
    paper = {f'round {rounds}': paper.get('last round'), **paper}
    tables = [number_table(numbers, paper)]
    if args.command == 'toy':
        tables.insert(0, mask_table(run, work_dir, rounds))
        samples = read_list(run.images['data_list'], run.images['data_dir'])
        images = [sample.image for sample in samples[:PANEL_IMAGES]]
        columns = {'truth': run.val_masks, 'proxy': work_dir / 'proxies'}
        columns |= {f'refined {k}': work_dir / f'round_{k}/refined' for k in range(1, rounds)}
        toy_data.save_panel(work_dir / 'panel.png', images, columns)
        print(f'Pictures: {work_dir / "panel.png"}')
    where = ('pretrain_file', 'data_dir', 'classes')
    settings = {name: value for name, value in run.training.items() if name not in where}
    trained = f'Trained by main.py {shlex.join([*flag_words(settings), *run.train_words])}'
    if args.candidates:
        trained += '\nMasks chosen by --candidates'
    if args.crf_flags:
        trained += f'\nCRF with {args.crf_flags}'
    results = {name: {'mean_iou': n, 'paper': paper.get(name)} for name, n in numbers.items()}
    print(save_tables(work_dir, tables, results, trained))


def number_table(
    numbers: Mapping[str, float], paper: Mapping[str, float | None]
) -> tuple[Row, Sequence[Row]]:
    """Numbers beside the paper's, by name, as heading and rows; no column where it has none."""
    rows = [(name, f'{number:.1f}', str(paper.get(name) or '')) for name, number in numbers.items()]
    columns = 3 if any(row[2] for row in rows) else 2
    return ('', 'mean IoU', 'paper')[:columns], [row[:columns] for row in rows]


def mask_table(run: Run, work_dir: Path, rounds: int) -> tuple[Row, Sequence[Row]]:
    """The images that each round was trained on, and the true quality of their masks."""
    rows = []
    for k in range(1, rounds + 1):
        images, quality, labelled = list_quality(
            work_dir / f'train_{k}.txt', run.images['data_dir'], run.val_masks
        )
        rows.append((str(k), str(images), f'{100 * quality:.1f}', f'{100 * labelled:.0f} %'))
    return ('round', 'images', 'true mean IoU of their masks', 'labelled'), rows


def save_tables(work_dir: Path, tables: Sequence, results: Mapping, trained: str) -> str:
    """Save tables as WORK/table.txt and table.md, and the results as table.json.

    tables: pairs of heading and rows. results: for JSON. trained: how the networks were.
    Returns the content of table.txt.
    """
    plain, markdown = (
        [text_table(heading, rows, format) for heading, rows in tables]
        for format in ('plain', 'pipe')
    )
    content = {
        'txt': '\n\n'.join([*plain, trained]),
        'md': '\n\n'.join([*markdown, trained]),
        'json': json.dumps({'results': results, 'training': trained}, indent=2),
    }
    for ending, text in content.items():
        with replacing(work_dir / f'table.{ending}') as temporary:
            temporary.write_text(f'{text}\n', encoding='utf-8')
    return content['txt']


def source_of(args: argparse.Namespace) -> str:
    """What a run begins with: annotations, cues or tags."""
    return 'annotations' if args.annotations else 'cues' if args.cues else 'tags'


def get_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, and check it.

    words: of the command line; None: those of this program.
    Raises InputError for numbers that make no sense, and for flags that exclude each other.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('command', choices=('resnet', 'vgg', 'lite0', 'toy', 'photos'))
    add('--work-dir', help='where everything goes (default: ./result/COMMAND)')
    rounds = f'{ROUNDS}, of EfficientNet-Lite0 {lite0.ROUNDS}'
    add('--rounds', type=int, help=f'how many (default: {rounds})')
    add('--steps', type=int, help="of each round's training (default: those of the settings)")
    add('--seed', type=int, default=SEED, help="of trainings and toy's data (default: %(default)s)")
    add('--dry-run', action='store_true', help='only print the commands, and what is missing')
    add('--tags', help='of the training images: file or folder (default: DATASET/tags.txt)')
    add('--classes', metavar='FILE', help="names of a data set's own classes, background first")
    add(
        '--candidates',
        action='store_true',
        help='choose between the refined mask and the proxy annotation of each image, by agreement '
        'with the network; for networks that are weaker than their proxy annotations',
    )
    add = parser.add_argument_group('PASCAL VOC').add_argument
    add('--data-dir', default=DATA_DIRECTORY, help='default: %(default)s')
    add('--dataset', default=DATASET, help='folder of lists (default: %(default)s)')
    add('--cues', help='folder of localization cues, NAME_<class id - 1>.png')
    add('--saliency', help='folder of saliency maps, NAME.png')
    given = 'of each round: a folder, NAME.png, or a list of images and annotations'
    add('--annotations', nargs='+', help=given)
    add = parser.add_argument_group('your own photographs').add_argument
    add('--images', help='folder of photographs')
    size = f'longer side of the upright copies that the rounds take (default: {MAX_SIZE})'
    add('--max-size', type=read_max_size, metavar='PIXELS', help=size)
    add = parser.add_argument_group('settings, of all but toy').add_argument
    add(
        '--settings',
        choices=sorted({settings for _, settings in NAMES if settings}),
        help='small, of vgg and photos: VGG16 with few steps and small crops, for a laptop; vgg, '
        'of photos: VGG16, in days (default: those of the command; of photos lite0)',
    )
    add('--init', help='initial checkpoint (default: under ./model)')
    add('--imagenet', help='what the classifier of tags starts from (default: under ./model)')
    add('--width', type=float, help='multiplies the channels; --init must have that width')
    what = 'of trainings and predictions (main.py --help)'
    add('--precision', choices=('float32', 'bfloat16'), help=what)
    for flag, of, example in (
        ('--train-flags', 'main.py, for each training', '--batch_size 5'),
        ('--crf-flags', 'the CRF (crf_vocspsm.py)', '--bilateral-sxy 40 --gaussian-sxy 1.5'),
        ('--classifier-flags', 'selection.train_classifier', '--crop-size 321'),
    ):
        help = f"further flags of {of}: '{example}'"
        add(flag, default='', metavar="'FLAG ...'", help=help)
    args = parser.parse_args(words)
    check_arguments(args)
    args.name = NAMES[args.command, args.settings]
    return args


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError for numbers that make no sense, and for flags that exclude each other."""
    of_data = args.cues or args.annotations or args.saliency
    of_tags = args.imagenet or args.classifier_flags
    of_settings = (args.init, of_tags, args.settings, args.width, args.precision)
    of_settings += (args.tags, args.classes, args.train_flags, args.crf_flags)
    of_photos = args.images or args.max_size
    commands = [command for command, settings in NAMES if settings == args.settings]
    is_toy, is_photos = args.command == 'toy', args.command == 'photos'
    wrong = {
        '--rounds and --steps must be at least 1': any(
            number is not None and number < 1 for number in (args.rounds, args.steps)
        ),
        f'--seed {args.seed}: expected 0 to {2**32 - 1}': not 0 <= args.seed < 2**32,
        '--annotations are made already: not with --cues': args.cues and args.annotations,
        '--annotations names the rounds: not with --rounds, --saliency or --candidates': (
            args.annotations and (args.rounds or args.saliency or args.candidates)
        ),
        'toy has settings and data of its own: --rounds, --steps, --seed and --candidates': (
            is_toy and (of_data or any(of_settings))
        ),
        f'--settings {args.settings} is for: reproduce.py {" and ".join(commands)}': (
            args.command not in commands
        ),
        'photos needs --images, a folder, and --tags, a file or folder': (
            is_photos and not (args.images and args.tags)
        ),
        'photos begins with tags: not with --cues, --saliency or --annotations': (
            is_photos and of_data
        ),
        '--images and --max-size are for: reproduce.py photos': not is_photos and of_photos,
        '--imagenet and --classifier-flags are for runs that begin with tags: not with --cues or '
        '--annotations': source_of(args) != 'tags' and of_tags,
    }
    for message, is_so in wrong.items():
        if is_so:
            raise InputError(message)


if __name__ == '__main__':
    errors.run_script(main)

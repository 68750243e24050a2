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
    python reproduce.py photos --settings lite0 ...         the same with EfficientNet-Lite0

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
from deeplablib.training.training_settings import flag_words
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.stages import Stage, run_stages
from deeplablib.utils.text_tables import as_text
from experiments import toy_data, toy_settings
from experiments.panel import save_panel
from selection.rounds import plan, result_tables, voc_settings
from selection.rounds import round_stages as make
from selection.rounds.find_data import imagenet_weights, photo_paths, voc_paths
from selection.rounds.photographs import list_photographs, read_photographs
from selection.rounds.reproduce_flags import (
    begins_with_tags,
    get_arguments,
    network_of,
    run_name,
    settings_name,
    title_of,
)
from selection.rounds.round_settings import (
    DataPaths,
    RoundSettings,
    crf_flags_of,
    flags_of,
    train_flags_of,
)
from selection.rounds.smaller_photographs import MAX_SIZE

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATASET = './dataset/'  # train.txt, val.txt and tags.txt (python -m deeplablib.data.prepare_voc)
RESTORE_FROM = {
    'resnet': './model/deeplab_resnet_init.ckpt',
    'vgg': './model/vgg/init',
    'lite0': './model/lite0/init',
}
# ImageNet weights, which know no masks: what learns from tags alone starts from them.
IMAGENET = {
    'resnet': './model/resnet/imagenet',
    'vgg': './model/vgg/init',
    'lite0': './model/lite0/init',
}
PACKAGES = {'resnet': 'deeplab_resnet', 'vgg': 'deeplab_vgg', 'lite0': 'deeplab_efficientnet'}
ROUNDS = 3
LITE0_ROUNDS = 1  # on photographs each further one made it worse (docs/photographs.md)
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
    args = get_arguments(
        description=__doc__,
        data_dir=DATA_DIRECTORY,
        dataset=DATASET,
        rounds=f'{ROUNDS}, of EfficientNet-Lite0 {LITE0_ROUNDS}',
        seed=SEED,
        steps=', '.join(f'{name} {found.training.num_steps}' for name, found in SETTINGS.items()),
    )
    work = Path(args.work_dir or f'./result/{run_name(args)}').resolve()
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
    rounds = args.rounds or (LITE0_ROUNDS if network_of(args) == 'lite0' else ROUNDS)
    if args.candidates and rounds == 1:
        raise InputError('--candidates chooses the masks of round 2: give --rounds 2, or more')
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
    network = network_of(args)
    if args.what == 'photos':
        return photo_paths(
            images=args.images,
            tags=args.tags,
            imagenet=args.imagenet or IMAGENET[network],
            package=PACKAGES[network],
            init=args.init,
            classes=args.classes,
            work=work,
        )
    data, missing = voc_paths(
        data_dir=args.data_dir,
        dataset=args.dataset,
        init=args.init or RESTORE_FROM[network],
        tags=args.tags,
        cues=args.cues,
        saliency=args.saliency,
        classes=args.classes,
        annotations=args.annotations or (),
    )
    if begins_with_tags(args):
        path = args.imagenet or IMAGENET[network]
        data = replace(data, imagenet=imagenet_weights(path, PACKAGES[network], missing))
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
        candidates=args.candidates,
        train_flags=train_flags_of(args.train_flags, training),
        crf_flags=(*settings.crf_flags, *crf_flags_of(args.crf_flags)),
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
    """Print what the stages that are left will take on this machine.

    Raises InputError for an initial checkpoint that does not fit the network.
    """
    # Here and not above: TensorFlow takes seconds to import and memory to keep, while stages run.
    from deeplab_efficientnet import efficientnet
    from deeplab_resnet import resnet
    from deeplab_vgg import vgg
    from deeplablib.training.training_run import restore_pretrained
    from experiments.cost_estimate import PHOTOGRAPH, estimate, estimate_text, mean_size

    data = run.data
    expected, size = COUNTS, PHOTOGRAPH
    if args.what == 'toy':
        expected, size = toy_data.IMAGES, (toy_data.SIZE, toy_data.SIZE)
    elif args.what == 'photos':
        expected = {data.train_list.stem: len(read_photographs(data))}
        longest = args.max_size or MAX_SIZE
        size = round(longest * PHOTOGRAPH[0] / PHOTOGRAPH[1]), longest
    elif data.train_list.exists():
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
    networks = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
    if settings.encoder_name not in networks:
        raise InputError(f'--encoder_name {settings.encoder_name}: expected {", ".join(networks)}')
    network = networks[settings.encoder_name]
    num_classes = len(data.class_names)
    model = network.build(num_classes=num_classes, width=settings.width, frozen=settings.frozen)
    if args.what != 'toy' and not run.missing:
        restore_pretrained(
            network,
            model,
            path=str(data.init),
            classifier=network.recipes[settings.recipe].classifier,
            restore_last=settings.restore_last,
        )
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
    if run.settings.candidates:
        trained += '\nMasks chosen by --candidates'
    if args.crf_flags:
        trained += f'\nCRF with {args.crf_flags}'
    print(result_tables.save_tables(work, tables, pairs, trained))


def save_pictures(run: Run, work: Path) -> None:
    """Save a picture of what the rounds made of some images."""
    images = [sample.image for sample in read_list(run.data.train_list, run.data.data_dir)]
    columns = {'truth': run.data.val_masks, 'proxy': work / 'proxies'}
    columns |= {f'refined {k}': work / f'round_{k}/refined' for k in range(1, run.rounds)}
    save_panel(work / 'panel.png', images[:PANEL_IMAGES], columns)
    print(f'Pictures: {work / "panel.png"}')


if __name__ == '__main__':
    errors.run_script(main)

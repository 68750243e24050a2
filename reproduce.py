"""Run the whole method and set the numbers reached beside the paper's.

    python reproduce.py toy                                 on generated data, in minutes
    python reproduce.py resnet --cues DIR [--saliency DIR]  on PASCAL VOC, from localization cues
    python reproduce.py resnet --annotations DIR DIR DIR    from the annotations of each round
    python reproduce.py vgg --annotations DIR               VGG16, from the final annotations

Each stage is a command that can be run by hand (--dry-run prints them), is recorded in
WORK_DIR/stages.json when it is done, and is not done again: after a stop, run the same command.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from deeplablib import errors
from deeplablib.errors import InputError
from deeplablib.files import replacing
from deeplablib.samples import read_list
from deeplablib.stages import run_stages
from selection import rounds, toy
from selection.panel import save_panel
from selection.quality import list_quality
from selection.rounds import Data, Settings

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATASET = './dataset/'  # train.txt, val.txt and tags.txt (python -m deeplablib.prepare_voc)
RESTORE_FROM = {'resnet': './model/deeplab_resnet_init.ckpt', 'vgg': './model/vgg/init'}
ROUNDS = 3

PAPER = {  # mean IoU on PASCAL VOC 2012 val, percent
    'resnet': {
        'round 1': 59.9,
        'round 2': 61.3,
        'round 3': 61.3,
        'test script': 61.6,
        'with CRF': 62.3,
    },
    'vgg': {'round 1': 56.9, 'test script': 58.4, 'with CRF': 59.9},
    'toy': {},
}
SETTINGS = {
    'resnet': Settings('deeplab', 'test_vocspsm_resnet.py', 18000),
    'vgg': Settings('vgg', 'test_vocspsm_vgg.py', 18000, train_flags=('--learning_rate', '1e-4')),
    'toy': toy.SETTINGS,
}
PANEL_IMAGES = 8


def get_arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=PAPER)
    parser.add_argument('--work-dir', help='where everything goes (default: ./result/WHAT)')
    parser.add_argument('--rounds', type=int, default=ROUNDS, help='rounds (default: %(default)s)')
    parser.add_argument(
        '--steps', type=int, help='steps of each training (default: those of the paper)'
    )
    parser.add_argument('--seed', type=int, default=1234, help='of toy (default: %(default)s)')
    parser.add_argument('--dry-run', action='store_true', help='only print the commands')
    voc = parser.add_argument_group('PASCAL VOC')
    voc.add_argument('--data-dir', default=DATA_DIRECTORY, help='default: %(default)s')
    voc.add_argument('--dataset', default=DATASET, help='folder of lists (default: %(default)s)')
    voc.add_argument('--init', help='initial checkpoint (default: under ./model)')
    source = voc.add_mutually_exclusive_group()
    source.add_argument('--cues', help='folder of localization cues, NAME_<class id - 1>.png')
    source.add_argument(
        '--annotations', nargs='+', help='folders of annotations, NAME.png, one a round'
    )
    voc.add_argument('--saliency', help='folder of saliency maps, NAME.png')
    return parser.parse_args()


def voc_data(args):
    """Where PASCAL VOC is. Raises InputError for whatever is not there."""

    def existing(path, remedy):
        path = Path(path).resolve()
        if not path.exists() and not path.with_name(f'{path.name}.index').exists():
            raise InputError(f'{path}: not there; {remedy}')
        return path

    lists = 'make it with: python -m deeplablib.prepare_voc VOCROOT'
    data_dir = existing(args.data_dir, 'set DATA_DIRECTORY or --data-dir')
    val_list = existing(Path(args.dataset) / 'val.txt', lists)
    val_mask = read_list(val_list, data_dir)[0].mask
    if val_mask is None:
        raise InputError(f'{val_list}: names no masks; {lists}')
    init = args.init or RESTORE_FROM[args.what]
    cue_help = 'a folder of NAME_<class id - 1>.png'
    return Data(
        data_dir=data_dir,
        train_list=existing(Path(args.dataset) / 'train.txt', lists),
        val_list=val_list,
        val_masks=val_mask.parent.resolve(),
        tags=existing(Path(args.dataset) / 'tags.txt', lists),
        init=existing(init, 'see docs/checkpoints.md for what can be converted to one'),
        cues=args.cues and existing(args.cues, cue_help),
        saliency=args.saliency and existing(args.saliency, 'a folder of NAME.png'),
    )


def make_plan(args, work):
    """All stages of a run, where the data is, and the number of rounds."""
    settings = SETTINGS[args.what]
    if args.steps:
        settings = replace(settings, num_steps=args.steps)
    if args.what == 'toy':
        stages, data = toy.data_stages(work, args.seed)
        more, model = rounds.all_rounds(data, settings, work, args.rounds)
        number = args.rounds
    else:
        data = voc_data(args)
        if args.annotations:
            folders = [Path(folder).resolve() for folder in args.annotations]
            more, model = rounds.given_annotations(data, settings, work, folders)
            number = len(folders)
        elif args.cues:
            more, model = rounds.all_rounds(data, settings, work, args.rounds)
            number = args.rounds
        else:
            raise InputError('give --cues (every round selects) or --annotations (it is done)')
        stages = []
    stages += more
    inputs = () if args.what == 'toy' else (data.train_list, data.val_list, data.tags)
    stages[0] = replace(stages[0], inputs=inputs)
    return [*stages, *rounds.final_test(data, settings, model, work)], data, number


def read_numbers(work, number):
    """The mean IoU of each result in percent, a dict from its name."""
    files = {f'round {k}': work / f'round_{k}' / 'val.json' for k in range(1, number + 1)}
    files |= {'test script': work / 'last.json', 'with CRF': work / 'crf.json'}
    return {name: 100 * json.loads(file.read_text())['mean_iou'] for name, file in files.items()}


def table(numbers, paper):
    """The numbers beside the paper's, in Markdown."""
    lines = ['| | mean IoU | paper |', '|---|---|---|']
    for name, number in numbers.items():
        lines.append(f'| {name} | {number:.1f} | {paper.get(name, "")} |')
    return '\n'.join(lines)


def mask_table(data, work, number):
    """Images and true quality of the masks that each round was trained on, in Markdown."""
    lines = ['| round | images | true mean IoU of their masks | labelled |', '|---|---|---|---|']
    for k in range(1, number + 1):
        images, quality, labelled = list_quality(
            work / f'train_{k}.txt', data.data_dir, data.data_dir / 'SegmentationClassAug'
        )
        lines.append(f'| {k} | {images} | {100 * quality:.1f} | {100 * labelled:.0f} % |')
    return '\n'.join(lines)


def main():
    """Run the stages and print the tables."""
    args = get_arguments()
    if args.rounds < 1 or (args.steps is not None and args.steps < 1):
        raise InputError('--rounds and --steps must be at least 1')
    work = Path(args.work_dir or f'./result/{args.what}').resolve()
    stages, data, number = make_plan(args, work)
    run_stages(stages, work, args.dry_run)
    if args.dry_run:
        return
    numbers = read_numbers(work, number)
    text = table(numbers, PAPER[args.what])
    if args.what == 'toy':
        text = f'{mask_table(data, work, number)}\n\n{text}'
        images = [sample.image for sample in read_list(data.train_list, data.data_dir)]
        columns = {'truth': data.val_masks, 'proxy': work / 'proxies'}
        columns |= {f'refined {k}': work / f'round_{k}/refined' for k in range(1, number)}
        save_panel(work / 'panel.png', images[:PANEL_IMAGES], columns)
        print(f'Pictures: {work / "panel.png"}')
    print(text)
    for name, content in (('table.md', text), ('table.json', json.dumps(numbers, indent=2))):
        with replacing(work / name) as temporary:
            temporary.write_text(f'{content}\n')


if __name__ == '__main__':
    errors.run(main)

r"""What selection is worth, measured where the true masks are known.

python -m experiments.ablation --seeds 2 3 4        on generated data, another for each seed
python -m experiments.ablation --seeds 1 2 --data-dir ./VOC2012 --dataset ./dataset \
    --cues ./cues --init ./model/vgg/init           on photographs, small settings

Each arm starts from the same data, initial checkpoint and first round, and goes its own way:

    argmax      the network's own labels go on, all of them
    crf         the refined masks go on, all of them
    selection   the refined masks with the best scores go on: the method
    random      as many refined masks go on, by chance
    oracle      as many refined masks go on, by their true IoU
    pixels      all refined masks go on, without the pixels that the network is not sure of
    truth       one training on the true masks: the most that the settings can reach

Writes WORK_DIR/ablation.md and .json: the mean IoU on the validation images (single scale, without
CRF), how many and how good masks each arm was trained on, and how well each measure ranks masks.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import read_list
from deeplablib.run import errors
from deeplablib.run.errors import InputError
from deeplablib.run.files import replacing
from deeplablib.run.stage_runner import Stage, as_flags, run_stages
from deeplablib.run.text_tables import as_markdown
from experiments import toy_settings
from experiments.evidence import rank_correlation, true_confusions
from selection.quality import list_quality
from selection.refine import TABLE
from selection.rounds import plan, voc_settings
from selection.rounds import round_stages as make
from selection.rounds.round_settings import DataPaths, RoundSettings
from selection.shared.quality_table import read_column

ARMS = ('argmax', 'crf', 'selection', 'random', 'oracle', 'pixels')
TRUTH = 'truth'
PIXEL_THRESHOLD = '0.7'
TITLES = (
    'Mean IoU on the validation images',
    'Images of the round',
    'True mean IoU of their masks',
    'Labelled pixels, percent',
)


def arm_stages(
    data: DataPaths,
    settings: RoundSettings,
    first: Path,
    work: Path,
    arms: Sequence[str],
    number: int,
    chance: str = '',
) -> list[Stage]:
    """The stages of one seed, from the common first round on.

    first: folder of the proxy annotations and their list, as plan.first_annotations makes them.
    work: absolute folder of the seed. arms: of ARMS, and TRUTH. number: rounds.
    chance: what tells the random choices of this seed from another's on the same data.
    """
    proxies = first / 'proxies'
    stages = plan.one_round(1, data, settings, first / 'train_1.txt', work)
    stages += plan.new_masks(1, data, settings, work)
    score_maps, table = work / 'round_1/train/scores', work / 'proxies.csv'
    flags = as_flags(masks=proxies, scores=score_maps, out=table)
    stages.append(
        Stage(
            name='round 1 score proxies',
            command=('-m', 'selection.score', *make.image_flags(data), *flags),
            reads=(data.train_list, data.tags, proxies, score_maps),
            output=table,
        )
    )
    for arm in arms:
        folder = work / arm
        before = work / 'round_1'
        if arm == TRUTH:
            every = make.keep_all('list', data, data.val_masks, folder / 'train_1.txt')
            stages += _named(arm, [every, *plan.one_round(1, data, settings, every.output, folder)])
            continue
        for k in range(2, number + 1):
            of_arm, train_list = _choice(arm, k, data, settings, before, folder, chance)
            of_arm += plan.one_round(k, data, settings, train_list, folder)
            if k < number:
                of_arm += plan.new_masks(k, data, settings, folder)
            stages += _named(arm, of_arm)
            before = folder / f'round_{k}'
    return stages


def _named(arm, stages):
    return [replace(stage, name=f'{arm}: {stage.name}') for stage in stages]


def _choice(arm, k, data, settings, before, folder, chance):
    """The stages that choose the list of round k, and the list."""
    refined, out = before / 'refined', folder / f'train_{k}.txt'
    name = f'round {k}'
    if arm == 'argmax':
        return [make.keep_all(name, data, before / 'train', out)], out
    if arm == 'crf':
        return [make.keep_all(name, data, refined, out)], out
    if arm == 'selection':
        return [make.select(name, data, settings, refined, out)], out
    if arm == 'pixels':
        sure = folder / f'pixels_{k}'
        pixels = _select_pixels(name, data, refined, before / 'train/scores', sure)
        return [pixels, make.keep_all(name, data, sure, out)], out
    table = folder / f'{arm}_{k}.csv'
    flags = as_flags(masks=refined, truth=data.val_masks, out=table)
    if chance:
        flags += as_flags(seed=chance)
    stand_in = Stage(
        name=f'{name} scores',
        command=('-m', 'experiments.stand_in_quality', arm, *flags),
        reads=(refined, data.val_masks),
        output=table,
    )
    return [stand_in, make.select(name, data, settings, refined, out, table)], out


def _select_pixels(name, data, masks, score_maps, out):
    flags = as_flags(masks=masks, scores=score_maps, out=out, threshold=PIXEL_THRESHOLD)
    return Stage(
        name=f'{name} pixels',
        command=('-m', 'selection.pixels', *make.image_flags(data), *flags),
        reads=(data.train_list, data.tags, masks, score_maps),
        output=out,
    )


def summary(
    data: DataPaths, first: Path, work: Path, arms: Sequence[str], number: int
) -> dict[str, dict]:
    """Everything that one seed gives: a dict from title to a table, {row: {column: float}}.

    first, work, arms, number: as for arm_stages.
    """
    folders = {'proxies': {1: work}}
    for arm in arms:
        rounds = [1] if arm == TRUTH else range(2, number + 1)
        folders[arm] = dict.fromkeys(rounds, work / arm)
    tables: dict[str, dict[str, dict]] = {title: {arm: {} for arm in folders} for title in TITLES}
    for arm, of_arm in folders.items():
        for k, folder in of_arm.items():
            train_list = (first if arm == 'proxies' else folder) / f'train_{k}.txt'
            images, quality, labelled = list_quality(train_list, data.data_dir, data.val_masks)
            iou = json.loads((folder / f'round_{k}/val.json').read_text())['mean_iou']
            values = (100 * iou, images, 100 * quality, 100 * labelled)
            for title, value in zip(TITLES, values, strict=True):
                tables[title][arm][f'round {k}'] = value
    last = {arm: list(row.values())[-1] for arm, row in tables[TITLES[0]].items()}
    if 'selection' in arms:
        tables['Last round of selection minus last round of'] = {
            arm: {'difference': last['selection'] - value}
            for arm, value in last.items()
            if arm != 'selection'
        }
    return tables | {'Spearman with the true IoU': _correlations(data, first / 'proxies', work)}


def _correlations(data, proxies, work):
    """Spearman of the scores of round 1 with the true IoU of what they could choose: the proxy
    annotations and the refined masks."""
    names = [sample.name for sample in read_list(data.train_list, data.data_dir)]
    refined = work / 'round_1/refined'
    truths = {
        'of the proxy annotation': true_confusions(names, proxies, data.val_masks),
        'of the refined mask': true_confusions(names, refined, data.val_masks),
    }
    columns = {
        'crf_agreement': (refined / TABLE, 'crf_agreement'),
        'annotation_agreement': (work / 'proxies.csv', 'annotation_agreement'),
        'max_probability': (refined / TABLE, 'max_probability'),
        'mask_probability of the refined mask': (refined / TABLE, 'mask_probability'),
        'mask_probability of the annotation': (work / 'proxies.csv', 'mask_probability'),
    }
    values = {name: read_column(*column, names) for name, column in columns.items()}
    return {
        name: {of: rank_correlation(value, truth) for of, truth in truths.items()}
        for name, value in values.items()
    }


def ablation_tables(results: Sequence[dict]) -> str:
    """The tables of several seeds as one text, Markdown: mean and standard deviation.

    results: what summary returns, of each seed.
    """
    parts = []
    for title, rows in results[0].items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines = []
        for name in rows:
            cells = [[result[title][name].get(column) for result in results] for column in columns]
            lines.append(
                [name, *(_spread(values) if None not in values else '' for values in cells)]
            )
        parts += [f'{title}:', as_markdown(['', *columns], lines)]
    return '\n\n'.join(parts)


def _spread(values):
    spread = f' ± {np.std(values, ddof=1):.2g}' if len(values) > 1 else ''
    return f'{np.mean(values):.3g}{spread}'


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[2, 3, 4], help='default: 2 3 4')
    parser.add_argument(
        '--arms', nargs='+', choices=(*ARMS, TRUTH), default=ARMS, help=f'default: all but {TRUTH}'
    )
    parser.add_argument('--rounds', type=int, default=3, help='at least 2 (default: 3)')
    parser.add_argument('--learning-rate', type=float, help='of every training but the initial one')
    parser.add_argument('--fraction', type=float, help='of the masks that go on')
    parser.add_argument('--work-dir', type=Path, default='./result/ablation')
    parser.add_argument('--dry-run', action='store_true', help='only print the commands')
    real = parser.add_argument_group('photographs, in place of generated data')
    real.add_argument('--data-dir', type=Path, help='folder that the lists start from')
    real.add_argument('--dataset', type=Path, help='folder of train.txt, val.txt and tags.txt')
    real.add_argument('--cues', type=Path, help='folder of localization cues')
    real.add_argument('--init', type=Path, help='initial checkpoint of a VGG16')
    real.add_argument(
        '--train-flags',
        default='',
        metavar="'FLAG ...'",
        help="further flags of main.py, for each training: '--num_steps 300 --batch_size 4'",
    )
    return parser.parse_args()


def photographs(args: argparse.Namespace) -> DataPaths:
    """Where the photographs are. Raises InputError when one of their paths is missing."""
    paths = {name: getattr(args, name) for name in ('data_dir', 'dataset', 'cues', 'init')}
    absent = [f'--{name.replace("_", "-")}' for name, path in paths.items() if path is None]
    if absent:
        raise InputError(f'photographs need {" and ".join(absent)}, too')
    paths = {name: path.resolve() for name, path in paths.items()}
    for name in ('data_dir', 'dataset', 'cues'):
        if not paths[name].is_dir():
            raise InputError(f'{paths[name]}: no folder is there (--{name.replace("_", "-")})')
    val_list = paths['dataset'] / 'val.txt'
    mask = read_list(val_list, paths['data_dir'])[0].mask
    if mask is None:
        raise InputError(f'{val_list}: names no masks')
    return DataPaths(
        data_dir=paths['data_dir'],
        train_list=paths['dataset'] / 'train.txt',
        val_list=val_list,
        val_masks=mask.parent,
        tags=paths['dataset'] / 'tags.txt',
        init=paths['init'],
        cues=paths['cues'],
    )


def run_seeds(args: argparse.Namespace) -> dict[int, dict]:
    """Run all seeds: a dict from seed to its summary, empty after a dry run."""
    work = args.work_dir.resolve()
    real = args.data_dir or args.dataset or args.cues or args.init
    settings = voc_settings.SETTINGS['small'] if real else toy_settings.SETTINGS
    if args.learning_rate is not None:
        training = replace(settings.training, learning_rate=args.learning_rate)
        settings = replace(settings, training=training)
    if args.fraction is not None:
        settings = replace(settings, fraction=args.fraction)
    if real:
        data, first = photographs(args), work
        settings = replace(settings, train_flags=tuple(shlex.split(args.train_flags)))
        stages, _ = plan.first_annotations(data, first)
        run_stages(stages, work, args.dry_run)
    results = {}
    for seed in args.seeds:
        folder = work / f'seed_{seed}'
        chance = ''
        if real:
            stages, chance = [], str(seed)
            settings = replace(settings, training=replace(settings.training, random_seed=seed))
        else:
            first = folder
            stages, data = toy_settings.data_stages(folder, seed)
            stages += plan.first_annotations(data, folder)[0]
        stages += arm_stages(data, settings, first, folder, args.arms, args.rounds, chance)
        run_stages(stages, folder, args.dry_run)
        if not args.dry_run:
            results[seed] = summary(data, first, folder, args.arms, args.rounds)
    return results


def main() -> None:
    """Run all seeds and write the tables."""
    args = get_arguments()
    if args.rounds < 2:
        raise InputError('--rounds must be at least 2: the arms part after the first')
    results = run_seeds(args)
    if args.dry_run:
        return
    text = ablation_tables(list(results.values()))
    print(text)
    content = {'ablation.md': text, 'ablation.json': json.dumps(results, indent=2)}
    for name, lines in content.items():
        with replacing(args.work_dir / name) as temporary:
            temporary.write_text(f'{lines}\n')


if __name__ == '__main__':
    errors.run(main)

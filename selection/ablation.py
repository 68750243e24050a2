"""What selection is worth, measured on generated data: python -m selection.ablation --seeds 2 3 4

Each arm starts from the same data, initial checkpoint and first round, and goes its own way:

    argmax      the network's own labels go on, all of them
    crf         the refined masks go on, all of them
    selection   the refined masks with the best scores go on: the method
    random      as many refined masks go on, by chance
    oracle      as many refined masks go on, by their true IoU
    pixels      all refined masks go on, without the pixels that the network is not sure of

Writes WORK_DIR/ablation.md and .json: the mean IoU on the validation images, single scale and
without CRF, and the rank correlation of each score with the true IoU of its masks.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from deeplablib import errors
from deeplablib.errors import InputError
from deeplablib.files import make_output_folder, replacing
from deeplablib.images import read_mask
from deeplablib.metrics import mean_iou
from deeplablib.samples import read_list
from deeplablib.stages import Stage, run_stages
from selection import rounds, toy
from selection.quality import mask_confusion
from selection.table import read_column, write_table

ARMS = ('argmax', 'crf', 'selection', 'random', 'oracle', 'pixels')
PIXEL_THRESHOLD = '0.7'
MEASURES = ('crf_agreement', 'max_probability', 'mask_probability')


def seed_stages(seed, work, arms, number):
    """The stages of one seed.

    seed: int. work: absolute folder of the seed. arms: of ARMS. number: rounds.
    """
    stages, data = toy.data_stages(work, seed)
    more, first_list = rounds.proxies(data, work)
    stages += more
    first, _ = rounds.one_round(1, data, toy.SETTINGS, first_list, work, goes_on=True)
    stages += first[:-1]  # but for the choice, which is the arms'
    for arm in arms:
        folder = work / arm
        before = work / 'round_1'
        for k in range(2, number + 1):
            choice, train_list = _choice(arm, k, data, before, folder)
            goes_on = k < number
            one, _ = rounds.one_round(k, data, toy.SETTINGS, train_list, folder, goes_on)
            named = [Stage(f'{arm}: {s.name}', s.command, s.output) for s in choice + one]
            stages += named[:-1] if goes_on else named
            before = folder / f'round_{k}'
    return stages, data


def _choice(arm, k, data, before, folder):
    """The stages that choose the list of round k, and the list."""
    refined, out = before / 'refined', folder / f'train_{k}.txt'
    name = f'round {k}'
    if arm == 'argmax':
        return [rounds.keep_all(name, data, before / 'train', out)], out
    if arm == 'crf':
        return [rounds.keep_all(name, data, refined, out)], out
    if arm == 'pixels':
        sure = folder / f'pixels_{k}'
        flags = ('--masks', refined, '--scores', before / 'scores', '--out', sure)
        command = ('-m', 'selection.pixels', *rounds.image_flags(data), *flags)
        pixels = Stage(f'{name} pixels', (*command, '--threshold', PIXEL_THRESHOLD), sure)
        return [pixels, rounds.keep_all(name, data, sure, out)], out
    if arm == 'selection':
        return [rounds.select(name, data, toy.SETTINGS, refined, out)], out
    table = folder / f'{arm}_{k}.csv'
    command = ('-m', 'selection.ablation', '--write-table', arm, '--masks', refined)
    command += ('--truth', data.val_masks, '--table', table)
    scores = Stage(f'{name} scores', command, table)
    return [scores, rounds.select(name, data, toy.SETTINGS, refined, out, table)], out


def true_ious(masks, truth):
    """The true mean IoU of each mask of a folder: a dict from image name."""
    return {
        path.stem: mean_iou(mask_confusion(read_mask(path), read_mask(truth / path.name)))
        for path in sorted(masks.glob('*.png'))
    }


def write_scores(arm, masks, truth, table):
    """Write a table in place of the scores: by chance ('random') or the truth ('oracle')."""
    values = true_ious(masks, truth)
    if arm == 'random':
        chance = np.random.default_rng(len(values)).permutation(len(values)) / len(values)
        values = dict(zip(values, chance, strict=True))
    make_output_folder(table.parent)
    rows = {name: (value,) for name, value in values.items()}
    write_table(table, [toy.SETTINGS.measure], rows)


def correlations(work, data):
    """Spearman's rank correlation of the scores of round 1 with the true IoU.

    Returns a dict: each score of the refined masks with the IoU of the refined mask, and the
    agreement with the proxy annotation with the IoU of the proxy.
    """
    refined = work / 'round_1/refined'
    truth = true_ious(refined, data.val_masks)
    names = list(truth)
    found = {}
    for measure in MEASURES:
        scores = read_column(refined / 'scores.csv', measure, names)
        found[measure] = float(spearmanr(scores, list(truth.values())).statistic)
    return found


def summary(work, data, arms, number):
    """Everything that one seed gives, for JSON."""
    ious = {'proxies': [_iou(work / 'round_1/val.json')]}
    for arm in arms:
        files = [work / arm / f'round_{k}/val.json' for k in range(2, number + 1)]
        ious[arm] = [_iou(file) for file in files]
    kept = {
        arm: [
            len(read_list(work / arm / f'train_{k}.txt', data.data_dir))
            for k in range(2, number + 1)
        ]
        for arm in arms
    }
    return {'iou': ious, 'images': kept, 'spearman': correlations(work, data)}


def table(results):
    """The results of all seeds in Markdown: mean and standard deviation over the seeds."""
    first = next(iter(results.values()))
    rounds_shown = max(len(ious) for ious in first['iou'].values()) + 1
    lines = ['| arm | ' + ' | '.join(f'round {k}' for k in range(1, rounds_shown + 1)) + ' |']
    lines.append('|---' * (rounds_shown + 1) + '|')
    for arm, ious in first['iou'].items():
        cells = [''] * (rounds_shown - len(ious)) if arm != 'proxies' else []
        for k in range(len(ious)):
            values = [result['iou'][arm][k] for result in results.values()]
            cells.append(f'{np.mean(values):.1f} ± {np.std(values, ddof=len(values) > 1):.1f}')
        cells += [''] * (rounds_shown - len(cells))
        lines.append(f'| {arm} | ' + ' | '.join(cells) + ' |')
    lines += ['', '| score | Spearman with the true IoU of the refined mask |', '|---|---|']
    for measure in MEASURES:
        values = [result['spearman'][measure] for result in results.values()]
        lines.append(f'| {measure} | {np.mean(values):.2f} ± {np.std(values):.2f} |')
    return '\n'.join(lines)


def _iou(file):
    return 100 * json.loads(file.read_text())['mean_iou']


def get_arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[2, 3, 4], help='default: 2 3 4')
    parser.add_argument('--arms', nargs='+', choices=ARMS, default=ARMS, help='default: all')
    parser.add_argument('--rounds', type=int, default=3, help='at least 2 (default: 3)')
    parser.add_argument('--work-dir', type=Path, default='./result/ablation')
    parser.add_argument('--dry-run', action='store_true', help='only print the commands')
    step = parser.add_argument_group('one step of it, which the stages call')
    step.add_argument('--write-table', choices=('random', 'oracle'))
    for flag in ('--masks', '--truth', '--table'):
        step.add_argument(flag, type=Path)
    return parser.parse_args()


def main():
    """Run all seeds and write the tables."""
    args = get_arguments()
    if args.write_table:
        write_scores(args.write_table, args.masks, args.truth, args.table)
        return
    if args.rounds < 2:
        raise InputError('--rounds must be at least 2: the arms part after the first')
    work = args.work_dir.resolve()
    results = {}
    for seed in args.seeds:
        folder = work / f'seed_{seed}'
        stages, data = seed_stages(seed, folder, args.arms, args.rounds)
        run_stages(stages, folder, args.dry_run)
        if not args.dry_run:
            results[seed] = summary(folder, data, args.arms, args.rounds)
    if args.dry_run:
        return
    text = table(results)
    print(text)
    content = {'ablation.md': text, 'ablation.json': json.dumps(results, indent=2)}
    for name, lines in content.items():
        with replacing(work / name) as temporary:
            temporary.write_text(f'{lines}\n')


if __name__ == '__main__':
    errors.run(main)

r"""What selection is worth, measured where the true masks are known.

python -m experiments.ablation --seeds 2 3 4        on generated data, another for each seed
python -m experiments.ablation --seeds 1 2 --data-dir ./VOC2012 --dataset ./dataset \
    --cues ./cues --init ./model/lite0/init         on photographs

Each arm starts from the same data, initial checkpoint and first round, and goes its own way:

    argmax      the network's own labels go on, all of them
    crf         the refined masks go on, all of them
    selection   the refined masks of the best quality go on: the method
    random      as many refined masks go on, by chance
    oracle      as many refined masks go on, by their true IoU
    pixels      all refined masks go on, without the pixels that the network is not sure of
    candidates  the refined mask or the proxy annotation of each image is chosen, whichever agrees
                better with the network; the best of the chosen masks go on
    truth       one training on the true masks

Writes WORK_DIR/ablation.md and .json: the mean IoU on the validation images (single scale, without
CRF), how many and how good masks each arm was trained on, how well each measure ranks masks, and
what selection keeps of the refined masks of round 1.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from deeplablib.data.image_lists import check_files_of, read_list
from deeplablib.data.tags import read_allowed
from deeplablib.prediction.metrics import mean_iou
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files, make_output_folder, replacing
from deeplablib.utils.stages import Stage, run_stages
from deeplablib.utils.text_tables import text_table
from experiments import toy_data
from selection.evaluate_masks import compare_all, list_quality
from selection.mask_quality import TABLE, read_measure, write_table
from selection.rounds import (
    Run,
    absolute,
    check_train_words,
    find_voc,
    missing,
    new_run,
    read_crf_words,
    read_words,
)
from selection.select_masks import CLASS_MINIMUM, FRACTION, select_masks

ARMS = ('argmax', 'crf', 'selection', 'random', 'oracle', 'pixels')
OTHER_ARMS = ('candidates', 'truth')  # those that are not run unless they are named
PIXEL_THRESHOLD = 0.7
TOY_SEED = 1234  # of the trainings of the rounds on generated data, whatever the data's
STAND_IN = 'stand_in'  # column of the tables of random and oracle
FRACTIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
THRESHOLDS = (0.55, 0.7, 0.8, 0.9)
Confusions = Sequence[npt.NDArray[np.int64]]  # of each mask with its true mask


def add_arms(
    run: Run,
    first: Path,
    work_dir: Path,
    arms: Sequence[str],
    rounds: int,
    fraction: float | None = None,
    chance: str = '',
) -> None:
    """Add the commands of one seed, from the common first round on.

    first: folder of the proxy annotations and their list, train_1.txt. work_dir: of the seed.
    arms: of ARMS and OTHER_ARMS. fraction: of the masks that go on; None: the default of the step.
    chance: what tells the random choices of this seed from another's on the same data.
    """
    train_round(run, first / 'train_1.txt', work_dir / 'round_1', refine=True)
    run.choose_candidates(
        [first / 'proxies'], work_dir / 'round_1/train/scores', work_dir / 'measured'
    )
    for arm in arms:
        folder, before = work_dir / arm, work_dir / 'round_1'
        if arm == 'truth':
            every = run.list_masks(run.val_masks, folder / 'train_1.txt')
            train_round(run, every, folder / 'round_1', refine=False)
            continue
        for k in range(2, rounds + 1):
            train_list = choose_list(run, arm, first, before, folder, k, fraction, chance)
            before = folder / f'round_{k}'
            train_round(run, train_list, before, refine=k < rounds)


def train_round(run: Run, train_list: Path, folder: Path, refine: bool) -> None:
    """Add the training of a round, its validation, and the making of its refined masks."""
    model = run.train(train_list, folder / 'model')
    run.validate(model, folder / 'val')
    if refine:
        score_maps = run.predict_training_images(model, folder / 'train', run.single_scale)
        run.refine_masks(score_maps, folder / 'refined')


def choose_list(
    run: Run,
    arm: str,
    first: Path,
    before: Path,
    folder: Path,
    k: int,
    fraction: float | None,
    chance: str,
) -> Path:
    """Add what makes the list of round k of an arm.

    before: folder of the round before. folder: of the arm. The others are as of add_arms.
    """
    refined, score_maps, out = (
        before / 'refined',
        before / 'train/scores',
        folder / f'train_{k}.txt',
    )
    if arm == 'argmax':
        return run.list_masks(before / 'train', out)
    if arm == 'crf':
        return run.list_masks(refined, out)
    if arm == 'selection':
        return run.select_masks(refined, out, fraction=fraction)
    if arm == 'pixels':
        flags = {'scores': score_maps, 'threshold': PIXEL_THRESHOLD}
        return run.list_masks(run.select_pixels(refined, folder / f'pixels_{k}', **flags), out)
    if arm == 'candidates':
        folders = first / 'proxies', refined
        chosen = run.choose_candidates(folders, score_maps, folder / f'chosen_{k}')
        return run.select_masks(chosen, out, measure='annotation_agreement', fraction=fraction)
    table, truth = folder / f'{arm}_{k}.csv', run.val_masks
    words = (arm, refined, truth, table, len(run.class_names), f'{table.stem}{chance}')
    code = (
        'import sys; from deeplablib.utils import errors; from experiments import ablation;'
        'errors.run_script(ablation.write_stand_in, *sys.argv[1:])'
    )
    run.stages.append(Stage(('-c', code, *map(str, words)), table, (refined, truth)))
    return run.select_masks(refined, out, table, STAND_IN, fraction)


def write_stand_in(arm: str, masks: str, truth: str, out: str, num_classes: str, seed: str) -> None:
    """Write a table of mask quality by chance or by the truth, as a command of a run.

    arm: 'random', drawn from seed, or 'oracle', the true IoU. masks, truth: folders of NAME.png.
    """
    names = [path.stem for path in list_files(masks, '.png')]
    if not names:
        raise InputError(f'{masks}: no masks (*.png) in this folder')
    if arm == 'oracle':
        quality = true_quality(true_confusions(names, Path(masks), Path(truth), int(num_classes)))
    else:
        random = np.random.default_rng([*seed.encode()])
        quality = random.permutation(len(names)) / len(names)
    make_output_folder(Path(out).parent)
    write_table(out, [STAND_IN], {name: (q,) for name, q in zip(names, quality, strict=True)})


def true_confusions(names: Sequence[str], masks: Path, truth: Path, num_classes: int) -> Confusions:
    """The confusion matrix, int64 [classes, classes], of each mask with its true mask.

    names: of images. masks, truth: folders of NAME.png. Ignored pixels are left out.
    """
    pairs = [(masks / f'{name}.png', truth / f'{name}.png') for name in names]
    return compare_all(pairs, num_classes)[0]


def true_quality(confusions: Confusions) -> npt.NDArray[np.floating]:
    """The true mean IoU of each mask, float [images]; 0 for one without a labelled pixel."""
    return np.nan_to_num([mean_iou(counts) for counts in confusions])


def rank_correlation(quality: npt.NDArray[np.floating], confusions: Confusions) -> float:
    """Spearman's rank correlation of mask quality, float [images], with the true mean IoU."""
    return float(spearmanr(quality, true_quality(confusions)).statistic)


def kept_quality(
    kept: npt.NDArray[np.bool_], confusions: Confusions, allowed: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """What a choice of masks keeps.

    kept: bool [images]. confusions: as from true_confusions. allowed: bool [images, classes], tags
    and background. Returns the number of images, the true mean IoU of their masks together, and
    the kept part of the images of the tag that loses most, both in percent.
    """
    tags = allowed[:, 1:][:, allowed[:, 1:].any(0)]
    total = np.sum([counts for counts, keep in zip(confusions, kept, strict=True) if keep], 0)
    return {
        'images': int(kept.sum()),
        'true mean IoU': 100 * mean_iou(total),
        'least class': 100 * float(np.min(tags[kept].sum(0) / tags.sum(0))),
    }


def kept_table(
    quality: npt.NDArray[np.floating], confusions: Confusions, allowed: npt.NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """What selection keeps at several fractions and thresholds: {choice: what kept_quality gives}.

    quality: float [images]. confusions, allowed: as of kept_quality.
    """
    choices: dict[str, tuple[float, float | None]] = {f'best {f:.0%}': (f, None) for f in FRACTIONS}
    choices |= {f'from {t} on': (FRACTION, t) for t in THRESHOLDS if max(quality) >= t}
    return {
        f'{choice}, class minimum {minimum}': kept_quality(
            select_masks(quality, allowed, fraction, threshold, minimum), confusions, allowed
        )
        for choice, (fraction, threshold) in choices.items()
        for minimum in (0.0, CLASS_MINIMUM)
    }


def summary(
    run: Run, first: Path, work_dir: Path, arms: Sequence[str], rounds: int
) -> dict[str, dict]:
    """Everything that one seed gives: a dict from title to a table, {row: {column: float}}.

    first, work_dir, arms, rounds: as of add_arms.
    """
    titles = (
        'Mean IoU on the validation images',
        'Images of the round',
        'True mean IoU of their masks',
        'Labelled pixels, percent',
    )
    tables: dict[str, dict[str, dict]] = {
        t: {arm: {} for arm in ('proxies', *arms)} for t in titles
    }
    data_dir, truth, num_classes = run.images['data_dir'], run.val_masks, len(run.class_names)
    trained = [('proxies', 1, first, work_dir)]
    for arm in arms:
        numbers = [1] if arm == 'truth' else range(2, rounds + 1)
        trained += [(arm, k, work_dir / arm, work_dir / arm) for k in numbers]
    for arm, k, lists, folder in trained:
        images, quality, labelled = list_quality(
            lists / f'train_{k}.txt', str(data_dir), truth, num_classes
        )
        iou = json.loads((folder / f'round_{k}/val.json').read_text())['mean_iou']
        values = (100 * iou, images, 100 * quality, 100 * labelled)
        for title, value in zip(titles, values, strict=True):
            tables[title][arm][f'round {k}'] = value
    last = {arm: list(row.values())[-1] for arm, row in tables[titles[0]].items()}
    if 'selection' in arms:
        tables['Last round of selection minus last round of'] = {
            arm: {'difference': last['selection'] - value}
            for arm, value in last.items()
            if arm != 'selection'
        }
    samples = read_list(str(run.images['data_list']), str(data_dir))
    names = [sample.name for sample in samples]
    refined = work_dir / 'round_1/refined'
    truths = {
        f'of the {kind}': true_confusions(names, masks, truth, num_classes)
        for kind, masks in (('proxy annotation', first / 'proxies'), ('refined mask', refined))
    }
    of_refined, of_proxies = refined / TABLE, work_dir / 'measured' / TABLE
    columns = {
        'crf_agreement': (of_refined, 'crf_agreement'),
        'annotation_agreement': (of_proxies, 'annotation_agreement'),
        'max_probability': (of_refined, 'max_probability'),
        'mask_probability of the refined mask': (of_refined, 'mask_probability'),
        'mask_probability of the annotation': (of_proxies, 'mask_probability'),
    }
    quality_by = {name: read_measure(*column, names) for name, column in columns.items()}
    tables['Spearman with the true IoU'] = {
        name: {of: rank_correlation(quality, truth) for of, truth in truths.items()}
        for name, quality in quality_by.items()
    }
    by_name = read_allowed(run.images['tags'], run.class_names, samples)
    tables['Kept of the refined masks of round 1, by crf_agreement'] = kept_table(
        quality_by['crf_agreement'],
        truths['of the refined mask'],
        np.array([by_name[name] for name in names]),
    )
    return tables


def ablation_tables(results: Sequence[dict]) -> str:
    """The tables of several seeds as one text, Markdown: mean and standard deviation.

    results: what summary returns, of each seed.
    """
    parts = []
    for title in results[0]:
        # A threshold that no mask reaches is not in the table of a seed.
        rows = {name: None for result in results for name in result[title]}
        columns = {c: None for result in results for row in result[title].values() for c in row}
        lines = []
        for name in rows:
            cells = [[r[title].get(name, {}).get(column) for r in results] for column in columns]
            lines.append([name, *('' if None in values else _spread(values) for values in cells)])
        parts += [f'{title}:', text_table(['', *columns], lines, 'pipe')]
    return '\n\n'.join(parts)


def _spread(values):
    spread = f' ± {np.std(values, ddof=1):.2g}' if len(values) > 1 else ''
    return f'{np.mean(values):.3g}{spread}'


def get_arguments() -> argparse.Namespace:
    """Parse the command line, and check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--seeds', type=int, nargs='+', default=[2, 3, 4], help='default: 2 3 4')
    others = f'default: all but {" and ".join(OTHER_ARMS)}'
    add('--arms', nargs='+', choices=(*ARMS, *OTHER_ARMS), default=ARMS, help=others)
    add('--rounds', type=int, default=3, help='at least 2 (default: 3)')
    add('--learning-rate', type=float, help='of every training but the initial one')
    for flag, of in (('--train-flags', 'main.py'), ('--crf-flags', 'selection.refine_masks')):
        add(flag, default='', metavar="'FLAG ...'", help=f'further flags of {of}')
    add('--fraction', type=float, help='of the masks that go on')
    add('--work-dir', help='default: ./result/ablation, or ./result/ablation_photographs')
    add('--dry-run', action='store_true', help='only print the commands')
    add = parser.add_argument_group('photographs, in place of generated data').add_argument
    add('--data-dir', help='folder that the lists start from')
    add('--dataset', help='folder of train.txt, val.txt and tags.txt')
    add('--cues', help='folder of localization cues')
    add('--init', help='initial checkpoint of the network of --settings')
    add('--settings', choices=('small', 'lite0'), help='as of reproduce.py (default: lite0)')
    add('--classes', metavar='FILE', help="names of a data set's own classes, background first")
    args = parser.parse_args()
    needed = {'data-dir': args.data_dir, 'dataset': args.dataset}
    needed |= {'cues': args.cues, 'init': args.init}
    args.of_photographs = any((*needed.values(), args.classes, args.settings))
    absent = [f'--{name}' for name, value in needed.items() if value is None]
    if args.of_photographs and absent:
        raise InputError(f'photographs need {" and ".join(absent)}, too')
    if args.rounds < 2:
        raise InputError('--rounds must be at least 2: the arms part after the first')
    if args.fraction is not None and not 0 <= args.fraction <= 1:
        raise InputError(f'--fraction {args.fraction}: expected 0 to 1')
    return args


def run_seeds(args: argparse.Namespace, work_dir: Path) -> dict[int, dict]:
    """Run all seeds: a dict from seed to its summary, empty after a dry run."""
    changes = {} if args.learning_rate is None else {'learning_rate': args.learning_rate}
    words = read_words('--train-flags', args.train_flags), read_crf_words(args.crf_flags)
    if args.of_photographs:
        data, needed = find_voc(args.data_dir, args.dataset, classes=args.classes)
        init, cues = absolute(args.init), absolute(args.cues)
        needed |= {init: 'an initial checkpoint', cues: 'a folder of NAME_<class id - 1>.png'}
        raise_all(missing(needed))
        samples = read_list(data['images']['data_list'], data['images']['data_dir'])
        check_files_of(samples, data['val_masks'], 'true mask')  # now, and not after hours
    if not work_dir.exists():
        check_train_words(words[0])
    results = {}
    for number, seed in enumerate(args.seeds):
        folder = work_dir / f'seed_{seed}'
        if args.of_photographs:
            run = new_run(args.settings or 'lite0', init=init, seed=seed, changes=changes, **data)
            first = work_dir
        else:
            run = toy_data.toy_run(folder, seed, {'random_seed': TOY_SEED} | changes)
            first, cues = folder, folder / 'data/cues'
        run.train_words, run.crf_words = words[0], [*run.crf_words, *words[1]]
        if not args.of_photographs or number == 0:
            saliency = None if args.of_photographs else folder / 'data/saliency'
            run.list_masks(
                run.make_proxies(cues, saliency, first / 'proxies'), first / 'train_1.txt'
            )
        if args.of_photographs and number == 0:  # the seeds share these
            run_stages(run.stages, work_dir, args.dry_run)
            run.stages.clear()
        chance = str(seed) if args.of_photographs else ''
        add_arms(run, first, folder, args.arms, args.rounds, args.fraction, chance)
        run_stages(run.stages, folder, args.dry_run)
        if not args.dry_run:
            results[seed] = summary(run, first, folder, args.arms, args.rounds)
    return results


def main() -> None:
    """Run all seeds and write the tables."""
    args = get_arguments()
    name = 'ablation_photographs' if args.of_photographs else 'ablation'
    work_dir = absolute(args.work_dir or f'./result/{name}')
    results = run_seeds(args, work_dir)
    if args.dry_run:
        return
    text = ablation_tables(list(results.values()))
    content = {'ablation.md': text, 'ablation.json': json.dumps(results, indent=2)}
    for name, lines in content.items():
        with replacing(work_dir / name) as temporary:
            temporary.write_text(f'{lines}\n', encoding='utf-8')
    print(text)


if __name__ == '__main__':
    errors.run_script(main)

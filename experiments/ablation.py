r"""What selection is worth, measured where the true masks are known.

python -m experiments.ablation --seeds 2 3 4        on generated data, another for each seed
python -m experiments.ablation --seeds 1 2 --data-dir ./VOC2012 --dataset ./dataset \
    --cues ./cues --init ./model/lite0/init         on photographs

Each arm starts from the same data, initial checkpoint and first round, and goes its own way:

    argmax      the network's own labels go on, all of them
    crf         the refined masks go on, all of them
    selection   the refined masks with the best scores go on: the method
    random      as many refined masks go on, by chance
    oracle      as many refined masks go on, by their true IoU
    pixels      all refined masks go on, without the pixels that the network is not sure of
    candidates  the refined mask or the proxy annotation of each image is chosen, whichever agrees
                better with the network; the best of the chosen masks go on
    truth       one training on the true masks

Writes WORK_DIR/ablation.md and .json: the mean IoU on the validation images (single scale, without
CRF), how many and how good masks each arm was trained on, and how well each measure ranks masks.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deeplablib.data.image_lists import check_files_of, read_list
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import replacing
from deeplablib.utils.stages import Stage, as_flags, run_stages
from experiments import toy_settings
from experiments.ablation_tables import TRUTH, ablation_tables, summary
from selection.rounds import plan, voc_settings
from selection.rounds import round_stages as make
from selection.rounds.find_data import voc_paths
from selection.rounds.round_settings import (
    DataPaths,
    RoundSettings,
    crf_flags_of,
    train_flags_of,
)

ARMS = ('argmax', 'crf', 'selection', 'random', 'oracle', 'pixels')
OTHER_ARMS = ('candidates', TRUTH)  # those that are not run unless they are named
PIXEL_THRESHOLD = '0.7'


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
    work: absolute folder of the seed. arms: of ARMS and OTHER_ARMS. number: rounds.
    chance: what tells the random choices of this seed from another's on the same data.
    """
    proxies = first / 'proxies'
    stages = plan.one_round(1, data, settings, first / 'train_1.txt', work)
    stages += plan.new_masks(1, data, settings, work)
    score_maps, measured = work / 'round_1/train/scores', work / 'measured'
    flags = as_flags(masks=proxies, scores=score_maps, out=measured)
    stages.append(
        Stage(
            name='round 1 measure proxies',
            command=('-m', 'selection.choose_candidates', *make.image_flags(data), *flags),
            reads=(*make.image_files(data), proxies, score_maps),
            output=measured,
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
            of_arm, train_list = _choice(arm, k, data, settings, proxies, before, folder, chance)
            of_arm += plan.one_round(k, data, settings, train_list, folder)
            if k < number:
                of_arm += plan.new_masks(k, data, settings, folder)
            stages += _named(arm, of_arm)
            before = folder / f'round_{k}'
    return stages


def _named(arm, stages):
    return [replace(stage, name=f'{arm}: {stage.name}') for stage in stages]


def _choice(arm, k, data, settings, proxies, before, folder, chance):
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
    if arm == 'candidates':
        stages = plan.chosen_candidates(
            name,
            data,
            settings,
            proxies=proxies,
            before=before,
            chosen=folder / f'chosen_{k}',
            train_list=out,
        )
        return stages, out
    table = folder / f'{arm}_{k}.csv'
    flags = as_flags(masks=refined, truth=data.val_masks, out=table) + data.class_flags
    if chance:
        flags += as_flags(seed=chance)
    stand_in = Stage(
        name=f'{name} scores',
        command=('-m', 'experiments.stand_in_quality', arm, *flags),
        reads=(refined, data.val_masks, *data.class_files),
        output=table,
    )
    return [stand_in, make.select(name, data, settings, refined, out, table)], out


def _select_pixels(name, data, masks, score_maps, out):
    flags = as_flags(masks=masks, scores=score_maps, out=out, threshold=PIXEL_THRESHOLD)
    return Stage(
        name=f'{name} pixels',
        command=('-m', 'selection.select_pixels', *make.image_flags(data), *flags),
        reads=(*make.image_files(data), masks, score_maps),
        output=out,
    )


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[2, 3, 4], help='default: 2 3 4')
    parser.add_argument(
        '--arms',
        nargs='+',
        choices=(*ARMS, *OTHER_ARMS),
        default=ARMS,
        help=f'default: all but {" and ".join(OTHER_ARMS)}',
    )
    parser.add_argument('--rounds', type=int, default=3, help='at least 2 (default: 3)')
    parser.add_argument('--learning-rate', type=float, help='of every training but the initial one')
    parser.add_argument(
        '--train-flags',
        default='',
        metavar="'FLAG ...'",
        help="further flags of main.py, for each training but the initial one: '--num_steps 300'",
    )
    parser.add_argument(
        '--crf-flags',
        default='',
        metavar="'FLAG ...'",
        help='further flags of selection.refine_masks, for the refined masks of every arm',
    )
    parser.add_argument('--fraction', type=float, help='of the masks that go on')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='where everything goes (default: ./result/ablation, of photographs '
        './result/ablation_photographs)',
    )
    parser.add_argument('--dry-run', action='store_true', help='only print the commands')
    real = parser.add_argument_group('photographs, in place of generated data')
    real.add_argument('--data-dir', help='folder that the lists start from')
    real.add_argument('--dataset', help='folder of train.txt, val.txt and tags.txt')
    real.add_argument('--cues', help='folder of localization cues')
    real.add_argument('--init', help='initial checkpoint of the network of --settings')
    real.add_argument(
        '--settings',
        choices=voc_settings.LAPTOP,
        help='lite0: EfficientNet-Lite0; small: VGG16, as of reproduce.py (default: lite0)',
    )
    real.add_argument(
        '--classes', metavar='FILE', help="names of a data set's own classes, background first"
    )
    args = parser.parse_args()
    if args.work_dir is None:
        name = 'ablation_photographs' if of_photographs(args) else 'ablation'
        args.work_dir = Path('./result') / name
    return args


def of_photographs(args: argparse.Namespace) -> bool:
    """Whether a command line asks for photographs, not for generated data."""
    names = ('data_dir', 'dataset', 'cues', 'init', 'classes', 'settings')
    return any(getattr(args, name) for name in names)


def photographs(args: argparse.Namespace) -> DataPaths:
    """Where the photographs are. Raises InputError for all that is not given or not there."""
    names = ('data_dir', 'dataset', 'cues', 'init')
    absent = [f'--{name.replace("_", "-")}' for name in names if getattr(args, name) is None]
    if absent:
        raise InputError(f'photographs need {" and ".join(absent)}, too')
    data, missing = voc_paths(
        args.data_dir, args.dataset, args.init, cues=args.cues, classes=args.classes
    )
    raise_all(missing)
    samples = read_list(data.train_list, data.data_dir)
    check_files_of(samples, data.val_masks, 'true mask')  # looked for now, read after hours
    return data


def run_seeds(args: argparse.Namespace) -> dict[int, dict]:
    """Run all seeds: a dict from seed to its summary, empty after a dry run."""
    work = args.work_dir.resolve()
    real = of_photographs(args)
    settings = voc_settings.SETTINGS[args.settings or 'lite0'] if real else toy_settings.SETTINGS
    if args.learning_rate is not None:
        training = replace(settings.training, learning_rate=args.learning_rate)
        settings = replace(settings, training=training)
    if args.fraction is not None:
        settings = replace(settings, fraction=args.fraction)
    settings = replace(
        settings,
        train_flags=train_flags_of(args.train_flags, settings.training),
        crf_flags=(*settings.crf_flags, *crf_flags_of(args.crf_flags)),
    )
    if real:
        data, first = photographs(args), work
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
    if args.fraction is not None and not 0 <= args.fraction <= 1:
        raise InputError(f'--fraction {args.fraction}: expected 0 to 1')
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
    errors.run_script(main)

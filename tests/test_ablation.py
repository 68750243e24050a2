"""The arms of the ablation, and its report."""

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import write_list
from experiments import ablation, ablation_tables, toy_settings
from selection.evaluate_masks import list_quality
from selection.mask_quality import write_table
from selection.rounds import plan
from selection.rounds.round_settings import DataPaths
from tests.command import run_command
from tests.planned_stages import WORK, flag
from tests.tables import squeezed


def stages_of_arms(arms=ablation.ARMS):
    stages, data = toy_settings.data_stages(WORK, seed=2)
    stages += plan.first_annotations(data, WORK)[0]
    return stages + ablation.arm_stages(data, toy_settings.SETTINGS, WORK, WORK, arms, 3)


def test_every_arm_of_the_ablation_has_its_own_folder_and_the_common_first_round():
    arms = (*ablation.ARMS, 'candidates')
    stages = stages_of_arms(arms)
    assert len({stage.name for stage in stages}) == len(stages)
    assert len({stage.output for stage in stages}) == len(stages)
    assert sum(stage.name == 'round 1 train' for stage in stages) == 1
    for arm in arms:
        lists = [flag(s, '--data_list') for s in stages if s.name.startswith(f'{arm}: round')
                 and s.name.endswith('train') and 'predict' not in s.name]  # fmt: skip
        assert lists == [str(WORK / arm / f'train_{k}.txt') for k in (2, 3)]


def test_candidates_are_a_proxy_annotation_and_the_refined_mask_of_the_round_before():
    stages = stages_of_arms(['candidates'])
    chosen = [stage for stage in stages if stage.name.endswith('candidates')]
    for stage, before in zip(chosen, ('round_1', 'candidates/round_2'), strict=True):
        at = stage.command.index('--masks') + 1
        folders = [str(WORK / 'proxies'), str(WORK / before / 'refined')]
        assert list(stage.command[at : at + 3]) == [*folders, '--scores']
    tables = [flag(stage, '--table') for stage in stages if stage.name.endswith('select')]
    assert tables == [f'{stage.output}/quality.csv' for stage in chosen]


def test_one_arm_is_trained_once_on_the_true_masks():
    stages = stages_of_arms(['truth'])
    of_arm = [stage for stage in stages if stage.name.startswith('truth: ')]
    assert flag(of_arm[0], '--masks') == str(WORK / 'data/SegmentationClassAug')
    trainings = [stage for stage in of_arm if stage.command[0] == 'main.py']
    assert [flag(stage, '--data_list') for stage in trainings] == [str(of_arm[0].output)]


def test_seeds_on_photographs_differ_in_their_trainings_and_share_their_proxies(tmp_path):
    for name in ('JPEGImages', 'SegmentationClassAug', 'cues'):
        (tmp_path / name).mkdir()
    (tmp_path / 'train.txt').write_text('a\n')
    (tmp_path / 'tags.txt').write_text('a 1\n')
    (tmp_path / 'val.txt').write_text('/JPEGImages/b.jpg /SegmentationClassAug/b.png\n')
    runs = tmp_path / 'runs'
    command = ['experiments.ablation', '--seeds', 1, 2, '--arms', 'random', '--dry-run']
    where = ['--data-dir', tmp_path, '--dataset', tmp_path, '--cues', tmp_path / 'cues']
    command += ['--work-dir', runs, '--train-flags', '--num_steps 3']
    where += ['--init', tmp_path / 'init']
    missing = run_command(*command, *where)
    assert missing.code == 2 and 'init: not there' in missing.error
    (tmp_path / 'init').touch()
    Image.new('L', (2, 2)).save(tmp_path / 'JPEGImages/a.png')
    missing = run_command(*command, *where)
    assert missing.code == 2 and f'no true mask at {tmp_path}/Segm' in missing.error
    (tmp_path / 'SegmentationClassAug/a.png').touch()
    result = run_command(*command, *where)
    assert result.code == 0, result.error
    assert result.out.count('-m selection.make_proxies') == 1
    for seed in (1, 2):
        assert f'--random_seed {seed} ' in result.out and f'--seed {seed}\n' in result.out
        assert result.out.count(f'--data_list {runs}/train_1.txt') == 2
    assert result.out.count('--num_steps 3\n') == 6
    classes = tmp_path / 'classes.txt'
    classes.write_text('ground\ncat\n')
    of_own = run_command(*command, *where, '--classes', classes)
    assert of_own.code == 0, of_own.error
    commands = [line for line in of_own.out.splitlines() if line.startswith('python ')]
    names_classes = [f'--classes {classes}' in line for line in commands]
    needs_none = [line.startswith('python test_vocspsm_lite0.py') for line in commands]
    assert len(commands) == 38
    assert all(a != b for a, b in zip(names_classes, needs_none, strict=True))
    small = run_command(*command, *where, '--settings', 'small')
    assert small.code == 0 and '--encoder_name vgg ' in small.out
    assert '--bilateral-sxy' not in small.out
    result = run_command('experiments.ablation', '--settings', 'lite0', '--dry-run')
    assert result.code == 2 and 'photographs need --data-dir' in result.error
    result = run_command(*command, *where[:-2])
    assert result.code == 2 and 'photographs need --init' in result.error


def test_no_arm_reads_scores_that_no_stage_makes():
    stages = stages_of_arms((*ablation.ARMS, *ablation.OTHER_ARMS))
    made = {flag(s, '--save-scores') for s in stages if '--save-scores' in s.command}
    read = {flag(s, '--scores') for s in stages if '--scores' in s.command}
    assert read == made


def write_masks(folder, masks):
    folder.mkdir()
    for name, mask in masks.items():
        Image.fromarray(np.array(mask, np.uint8)).save(folder / f'{name}.png')


def test_ignored_pixels_have_no_part_in_the_quality_of_a_mask(tmp_path):
    truth = {'a': [[0, 1, 1, 255]], 'b': [[2, 2, 0, 0]]}
    masks = {'a': [[0, 1, 255, 3]], 'b': [[2, 0, 255, 255]]}
    write_masks(tmp_path / 'truth', truth)
    write_masks(tmp_path / 'masks', masks)
    pairs = [(tmp_path / f'{name}.jpg', tmp_path / f'masks/{name}.png') for name in truth]
    write_list(tmp_path / 'list.txt', pairs, tmp_path)
    images, quality, labelled = list_quality(tmp_path / 'list.txt', tmp_path, tmp_path / 'truth')
    assert images == 2
    assert quality == pytest.approx(np.mean([1 / 2, 1, 1 / 2]))
    assert labelled == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_tables_that_stand_in_for_scores(tmp_path):
    write_masks(tmp_path / 'truth', {'a': [[0, 1]], 'b': [[0, 2]], 'c': [[1, 1]]})
    write_masks(tmp_path / 'masks', {'a': [[0, 1]], 'b': [[0, 0]], 'c': [[255, 255]]})
    where = ('--masks', tmp_path / 'masks', '--truth', tmp_path / 'truth')
    for arm in ('oracle', 'random'):
        table = tmp_path / arm / 'table.csv'
        result = run_command('experiments.stand_in_quality', arm, *where, '--out', table)
        assert result.code == 0
    rows = (tmp_path / 'oracle/table.csv').read_text().splitlines()
    assert rows == ['name,crf_agreement', 'a,1.000000', 'b,0.250000', 'c,0.000000']
    classes = tmp_path / 'classes.txt'
    classes.write_text('ground\ncat\n')
    own = ('--classes', classes, '--out', tmp_path / 'own.csv')
    result = run_command('experiments.stand_in_quality', 'oracle', *where, *own)
    assert result.code == 2 and 'truth/b.png: value 2 is no class' in result.error
    random = (tmp_path / 'random/table.csv').read_text().splitlines()
    assert sorted(line.split(',')[1] for line in random[1:]) == [
        *('0.000000', '0.333333', '0.666667')
    ]


def test_the_ablation_report_gives_mean_and_spread_over_the_seeds():
    def result(first, second, rho):
        rows = {'proxies': {'round 1': first}, 'crf': {'round 2': second}}
        return {'Mean IoU': rows, 'Spearman': {'crf_agreement': {'refined': rho}}}

    text = squeezed(ablation_tables.ablation_tables([result(40, 50, 0.8), result(44, 54, 0.9)]))
    assert 'Mean IoU:' in text and '| | round 1 | round 2 |' in text
    assert '| proxies | 42 ± 2.8 | |' in text
    assert '| crf | | 52 ± 2.8 |' in text
    assert '| crf_agreement | 0.85 ± 0.071 |' in text
    assert '| proxies | 40 | |' in squeezed(ablation_tables.ablation_tables([result(40, 50, 0.8)]))


def test_the_summary_of_a_seed_measures_lists_masks_and_scores(tmp_path):
    truth = {'a': [[0, 1]], 'b': [[0, 2]], 'c': [[3, 3]]}
    proxies = {'a': [[0, 1]], 'b': [[0, 0]], 'c': [[0, 255]]}
    refined = {'a': [[0, 0]], 'b': [[0, 2]], 'c': [[3, 0]]}
    (tmp_path / 'measured').mkdir()
    for path in ('round_1', 'selection/round_2'):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / 'val.json').write_text('{"mean_iou": 0.5}')
    for folder, masks in (('truth', truth), ('proxies', proxies), ('round_1/refined', refined)):
        write_masks(tmp_path / folder, masks)
    columns = {'crf_agreement': (0.1, 0.9, 0.5), 'annotation_agreement': (0.9, 0.5, 0.1)}
    for path, column in (
        ('round_1/refined/quality.csv', 'crf_agreement'),
        ('measured/quality.csv', 'annotation_agreement'),
    ):
        rows = {name: (v, v, v) for name, v in zip('abc', columns[column], strict=True)}
        names = [column, 'max_probability', 'mask_probability']
        write_table(tmp_path / path, names, rows)

    def listed(path, folder, names):
        pairs = [(tmp_path / f'{n}.jpg', tmp_path / folder / f'{n}.png') for n in names]
        write_list(tmp_path / path, pairs, tmp_path)

    listed('train_1.txt', 'proxies', 'abc')
    listed('selection/train_2.txt', 'round_1/refined', 'bc')
    data = DataPaths(
        data_dir=tmp_path,
        train_list=tmp_path / 'train_1.txt',
        val_list=None,
        val_masks=tmp_path / 'truth',
        tags=None,
        init=None,
    )
    tables = ablation_tables.summary(data, tmp_path, tmp_path, ['selection'], 2)
    assert tables['Mean IoU on the validation images'] == {
        'proxies': {'round 1': 50},
        'selection': {'round 2': 50},
    }
    assert tables['Images of the round']['selection'] == {'round 2': 2}
    assert tables['Labelled pixels, percent']['proxies']['round 1'] == pytest.approx(500 / 6)
    assert tables['Last round of selection minus last round of'] == {'proxies': {'difference': 0}}
    spearman = tables['Spearman with the true IoU']
    assert spearman['annotation_agreement']['of the proxy annotation'] == pytest.approx(1)
    assert spearman['crf_agreement']['of the refined mask'] == pytest.approx(1)

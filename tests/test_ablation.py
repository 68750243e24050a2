"""The arms of the ablation, and its report."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import write_list
from deeplablib.utils.errors import InputError
from experiments import ablation
from experiments.toy_data import toy_run
from selection.evaluate_masks import list_quality
from selection.mask_quality import read_measure, write_table
from selection.rounds import Run
from tests.command import refused, run_command
from tests.tables import squeezed

WORK = Path('/work-dir')


def stages_of_arms(arms=ablation.ARMS):
    """The stages of a seed, a dict from name."""
    run = toy_run(WORK, seed=2)
    run.stages.clear()
    ablation.add_arms(run, WORK, WORK, arms, 3)
    stages = {str(stage.output.relative_to(WORK)): stage for stage in run.stages}
    assert len(stages) == len(run.stages), 'two stages share an output'
    return stages


def flag(stage, name):
    command = list(stage.command)
    return command[command.index(name) + 1]


def test_every_arm_of_the_ablation_has_its_own_folder_and_the_common_first_round():
    arms = (*ablation.ARMS, 'candidates')
    stages = stages_of_arms(arms)
    for arm in arms:
        lists = [flag(stages[f'{arm}/round_{k}/model'], '--data_list') for k in (2, 3)]
        assert lists == [str(WORK / arm / f'train_{k}.txt') for k in (2, 3)]


def test_candidates_are_a_proxy_annotation_and_the_refined_mask_of_the_round_before():
    stages = stages_of_arms(['candidates'])
    for k, before in ((2, 'round_1'), (3, 'candidates/round_2')):
        chosen = stages[f'candidates/chosen_{k}']
        at = chosen.command.index('--masks') + 1
        folders = [str(WORK / 'proxies'), str(WORK / before / 'refined')]
        assert list(chosen.command[at : at + 3]) == [*folders, '--scores']
        table = flag(stages[f'candidates/train_{k}.txt'], '--table')
        assert table == str(chosen.output / 'quality.csv')


def test_one_arm_is_trained_once_on_the_true_masks():
    stages = stages_of_arms(['truth'])
    assert flag(stages['truth/train_1.txt'], '--masks') == str(WORK / 'data/SegmentationClassAug')
    trainings = [s for name, s in stages.items() if name.startswith('truth/') and 'model' in name]
    lists = [flag(s, '--data_list') for s in trainings if s.command[0] == 'main.py']
    assert lists == [str(WORK / 'truth/train_1.txt')]


def test_seeds_on_photographs_differ_in_their_trainings_and_share_their_proxies(tmp_path):
    for name in ('JPEGImages', 'SegmentationClassAug', 'cues'):
        (tmp_path / name).mkdir()
    (tmp_path / 'train.txt').write_text('a\n')
    (tmp_path / 'tags.txt').write_text('a 1\n')
    (tmp_path / 'val.txt').write_text('/JPEGImages/b.jpg /SegmentationClassAug/b.png\n')
    runs = tmp_path / 'runs'
    command = ['experiments.ablation', '--seeds', 1, 2, '--arms', 'random', '--dry-run']
    where = ['--data-dir', tmp_path, '--dataset', tmp_path, '--cues', tmp_path / 'cues']
    command += ['--work-dir', runs, '--learning-rate', '0.5']
    where += ['--init', tmp_path / 'init']
    refused(run_command(*command, *where), 'init: not there')
    (tmp_path / 'init').touch()
    Image.new('L', (2, 2)).save(tmp_path / 'JPEGImages/a.png')
    refused(run_command(*command, *where), f'no true mask at {tmp_path}/Segm')
    (tmp_path / 'SegmentationClassAug/a.png').touch()
    result = run_command(*command, *where)
    assert result.code == 0, result.error
    assert result.out.count('-m selection.make_proxies') == 1
    for seed in (1, 2):
        assert f'--random_seed {seed} ' in result.out and f' 21 random_2{seed}\n' in result.out
        assert result.out.count(f'--data_list {runs}/train_1.txt') == 2
    assert result.out.count('--learning_rate 0.5 ') == 6
    classes = tmp_path / 'classes.txt'
    classes.write_text('ground\ncat\n')
    of_own = run_command(*command, *where, '--classes', classes)
    assert of_own.code == 0, of_own.error
    commands = [line for line in of_own.out.splitlines() if line.startswith('python ')]
    names_classes = [f'--classes {classes}' in line for line in commands]
    needs_none = ['--restore-from' in line or 'write_stand_in' in line for line in commands]
    assert len(commands) == 38 and sum(' 2 random_' in line for line in commands) == 4
    assert all(a != b for a, b in zip(names_classes, needs_none, strict=True))
    result = run_command(*command, *where[:-2])
    refused(result, 'photographs need --init')


def test_no_arm_reads_scores_that_no_stage_makes():
    stages = stages_of_arms((*ablation.ARMS, *ablation.OTHER_ARMS)).values()
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


def test_a_choice_by_chance_or_by_the_truth_has_a_table_of_its_own(tmp_path):
    write_masks(tmp_path / 'truth', {'a': [[0, 1]], 'b': [[0, 2]], 'c': [[1, 1]]})
    write_masks(tmp_path / 'masks', {'a': [[0, 1]], 'b': [[0, 0]], 'c': [[255, 255]]})

    def quality(arm, num_classes='21', seed='x'):
        out = tmp_path / arm / 'table.csv'
        where = (str(tmp_path / 'masks'), str(tmp_path / 'truth'))
        ablation.write_stand_in(arm, *where, str(out), num_classes, seed)
        return read_measure(out, ablation.STAND_IN, ['a', 'b', 'c']).tolist()

    assert quality('oracle') == [1, 0.25, 0]
    with pytest.raises(InputError, match='truth/b.png: value 2 is no class'):
        quality('oracle', num_classes='2')
    assert sorted(quality('random')) == [0, 0.333333, 0.666667]
    assert quality('random') == quality('random')
    assert len({tuple(quality('random', seed=seed)) for seed in 'abcdefg'}) > 1


def test_the_quality_of_a_choice_is_that_of_its_masks_together():
    # Three images of two pixels: a mask that is right, half right, wrong.
    confusions = np.zeros((3, 3, 3), int)
    confusions[0, 1, 1] = 2
    confusions[1, 1, 1] = confusions[1, 2, 1] = 1
    confusions[2, 0, 2] = confusions[2, 2, 0] = 1
    allowed = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1]], bool)
    kept = ablation.kept_quality(np.array([True, True, False]), confusions, allowed)
    assert kept['images'] == 2 and kept['true mean IoU'] == pytest.approx(100 * 3 / 8)
    assert kept['least class'] == 50, 'class 2 keeps one image of two'
    quality = np.array([0.9, 0.5, 0.1])
    table = ablation.kept_table(quality, confusions, allowed)
    assert table['best 60%, class minimum 0.0'] == kept
    assert table['from 0.9 on, class minimum 0.0']['true mean IoU'] == 100
    assert ablation.rank_correlation(quality, confusions) == pytest.approx(1)
    assert ablation.rank_correlation(-quality, confusions) == pytest.approx(-1)


def test_the_ablation_report_gives_mean_and_spread_over_the_seeds():
    def result(first, second, rho):
        rows = {'proxies': {'round 1': first}, 'crf': {'round 2': second}}
        return {'Mean IoU': rows, 'Spearman': {'crf_agreement': {'refined': rho}}}

    text = squeezed(ablation.ablation_tables([result(40, 50, 0.8), result(44, 54, 0.9)]))
    assert 'Mean IoU:' in text and '| | round 1 | round 2 |' in text
    assert '| proxies | 42 ± 2.8 | |' in text
    assert '| crf | | 52 ± 2.8 |' in text
    assert '| crf_agreement | 0.85 ± 0.071 |' in text
    assert '| proxies | 40 | |' in squeezed(ablation.ablation_tables([result(40, 50, 0.8)]))


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
    (tmp_path / 'tags.txt').write_text('a 1\nb 2\nc 3\n')
    images = {'data_dir': str(tmp_path), 'data_list': tmp_path / 'train_1.txt'}
    images['tags'] = tmp_path / 'tags.txt'
    run = Run(images=images, training={}, prediction_script='', val_masks=tmp_path / 'truth')
    tables = ablation.summary(run, tmp_path, tmp_path, ['selection'], 2)
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
    kept = tables['Kept of the refined masks of round 1, by crf_agreement']
    assert kept['best 60%, class minimum 0.0']['images'] == 2

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import write_list
from deeplablib.run.stage_runner import stage_entries
from deeplablib.run.text_tables import as_markdown, as_text
from experiments import ablation, ablation_tables, toy_settings
from experiments.panel import save_panel
from reproduce import PAPER
from selection.quality import list_quality, mask_confusion
from selection.rounds import plan, result_tables, voc_settings
from selection.rounds.round_settings import DataPaths
from selection.shared.quality_table import write_table
from tests.command import run_command
from tests.tables import squeezed

WORK = Path('/work-dir')


def toy_plan(number=3):
    _, data = toy_settings.data_stages(WORK, seed=5)
    return plan.all_rounds(data, toy_settings.SETTINGS, WORK, number)


def flag(stage, name):
    command = list(map(str, stage.command))
    return command[command.index(name) + 1]


def test_every_round_starts_from_the_initial_checkpoint():
    stages, model = toy_plan()
    trainings = [stage for stage in stages if stage.command[0] == 'main.py']
    assert len(trainings) == 3
    assert {flag(stage, '--pretrain_file') for stage in trainings} == {
        str(WORK / f'initial/model.ckpt-{toy_settings.INITIAL_STEPS}')
    }
    assert [flag(stage, '--data_list') for stage in trainings] == [
        str(WORK / f'train_{k}.txt') for k in (1, 2, 3)
    ]
    assert model == WORK / 'round_3/model'


def test_a_round_predicts_with_its_own_model_and_selects_among_its_own_masks():
    stages = {stage.name: stage for stage in toy_plan()[0]}
    for k in (1, 2):
        scores = str(WORK / f'round_{k}/train/scores')
        labelled = stages[f'round {k} predict train']
        assert flag(labelled, '--restore-from') == str(WORK / f'round_{k}/model')
        assert flag(labelled, '--save-scores') == scores
        assert flag(stages[f'round {k} refine'], '--scores') == scores
        chosen = stages[f'round {k} select']
        assert flag(chosen, '--masks') == str(WORK / f'round_{k}/refined')
        assert flag(chosen, '--out') == str(WORK / f'train_{k + 1}.txt')
    assert 'round 3 select' not in stages, 'nothing is trained after the last round'


def test_no_two_stages_share_a_name_or_an_output():
    stages, data = toy_settings.data_stages(WORK, seed=5)
    _, model = toy_plan()
    stages += toy_plan()[0] + plan.final_predictions(data, toy_settings.SETTINGS, model, WORK)
    assert len({stage.name for stage in stages}) == len(stages)
    assert len({stage.output for stage in stages}) == len(stages)


def test_given_annotations_are_trained_on_without_any_selection():
    _, data = toy_settings.data_stages(WORK, seed=5)
    given = [WORK / 'a', WORK / 'b']
    stages, model = plan.given_annotations(data, toy_settings.SETTINGS, WORK, given)
    assert model == WORK / 'round_2/model'
    assert not any('refine' in stage.name or 'select' in stage.name for stage in stages)
    assert [flag(stage, '--masks') for stage in stages[:2]] == [str(WORK / 'a'), str(WORK / 'b')]


def test_an_annotation_list_is_trained_on_as_it_is(tmp_path):
    (tmp_path / 'train_3.txt').write_text('/a.jpg /b.png')
    _, data = toy_settings.data_stages(WORK, seed=5)
    given = [WORK / 'a', tmp_path / 'train_3.txt']
    stages, _ = plan.given_annotations(data, toy_settings.SETTINGS, WORK, given)
    trainings = [stage for stage in stages if stage.name.endswith('train')]
    lists = [str(WORK / 'train_1.txt'), str(tmp_path / 'train_3.txt')]
    assert [flag(stage, '--data_list') for stage in trainings] == lists
    assert after_a_change(stages, tmp_path / 'train_3.txt')[0] == 'round 2 train'


def test_a_mask_that_a_given_list_names_is_an_input_too(tmp_path):
    (tmp_path / 'list.txt').write_text('/a.jpg /b.png')
    _, data = toy_settings.data_stages(WORK, seed=5)
    data = replace(data, data_dir=tmp_path)
    given = [WORK / 'a', tmp_path / 'list.txt']
    stages, _ = plan.given_annotations(data, toy_settings.SETTINGS, WORK, given)
    names = [stage.name for stage in stages]
    stale = after_a_change(stages, tmp_path / 'b.png')
    assert stale == names[names.index('round 2 train') :]
    # The list of a folder's masks names them too, once it is there; the stage before reads them.
    before = stage_entries(stages)
    rounds = [stage.listed for stage in stages if stage.name == 'round 1 train']
    assert rounds[0].list_file == WORK / 'train_1.txt' and before['round 1 train']['inputs'] == {
        str(data.init): None
    }


def after_a_change(stages, path):
    """The stages that are stale when what stands at a path has changed."""
    before = stage_entries(stages)
    path.write_text('another')
    return [name for name, entry in stage_entries(stages).items() if entry != before[name]]


def test_only_what_depends_on_an_input_is_stale_when_it_changes(tmp_path):
    def given(name):
        (tmp_path / name).write_text('one')
        return tmp_path / name

    data = DataPaths(
        data_dir=tmp_path,
        train_list=given('train.txt'),
        val_list=given('val.txt'),
        val_masks=tmp_path,
        tags=given('tags.txt'),
        init=tmp_path / 'init',
        cues=given('cues'),
        saliency=given('saliency'),
    )
    index = given('init.index')
    stages, model = plan.all_rounds(data, toy_settings.SETTINGS, WORK, 2)
    stages += plan.final_predictions(data, toy_settings.SETTINGS, model, WORK)
    names = [stage.name for stage in stages]
    for path in (data.train_list, data.tags, data.cues, data.saliency):
        assert after_a_change(stages, path) == names, path
    assert after_a_change(stages, index) == names[names.index('round 1 train') :]
    evaluations = [name for name in names if 'evaluate' in name]
    of_val = [*evaluations, *(name for name in names if 'predict val' in name)]
    assert set(after_a_change(stages, data.val_list)) == {*of_val, 'last predict last', 'CRF'}
    assert after_a_change(stages, tmp_path / 'one.png') == evaluations, 'a true mask'
    own = replace(data, classes=given('classes.txt'))
    stages, _ = plan.all_rounds(own, toy_settings.SETTINGS, WORK, 2)
    assert after_a_change(stages, own.classes) == [stage.name for stage in stages]

    folders = [tmp_path / 'a', tmp_path / 'b']
    for folder in folders:
        folder.mkdir()
    stages, _ = plan.given_annotations(data, toy_settings.SETTINGS, WORK, folders)
    stale = after_a_change(stages, folders[1] / 'mask.png')
    assert stale == [n for n in map(lambda s: s.name, stages) if 'list 2' in n or 'round 2' in n]


def test_the_plan_of_toy_is_printed_as_commands(tmp_path):
    result = run_command('reproduce', 'toy', '--work-dir', tmp_path / 'w', '--dry-run')
    assert result.code == 0
    assert 'python main.py --option train --encoder_name res50' in result.out
    assert not (tmp_path / 'w').exists()
    result = run_command(
        'reproduce', 'toy', '--work-dir', tmp_path / 'w', '--seed', '7', '--dry-run'
    )
    assert result.out.count('--random_seed 7') == 4, 'the initial training and three rounds'
    assert '--seed 7\n' in result.out, 'the data'


def test_rounds_that_choose_among_candidates_train_on_what_was_chosen(tmp_path):
    _, data = toy_settings.data_stages(WORK, seed=5)
    settings = replace(toy_settings.SETTINGS, candidates=True)
    stages = {stage.name: stage for stage in plan.all_rounds(data, settings, WORK, 3)[0]}
    for k in (1, 2):
        chosen, select = stages[f'round {k} candidates'], stages[f'round {k} select']
        assert flag(chosen, '--scores') == str(WORK / f'round_{k}/train/scores')
        assert flag(select, '--masks') == str(chosen.output)
        assert flag(select, '--measure') == 'annotation_agreement'
        assert flag(stages[f'round {k + 1} train'], '--data_list') == str(select.output)
    plain = run_command('reproduce', 'toy', '--work-dir', tmp_path, '--rounds', 2, '--dry-run')
    assert plain.code == 0 and 'selection.candidates' not in plain.out
    given = ('--work-dir', tmp_path, '--rounds', 2, '--dry-run', '--candidates')
    result = run_command('reproduce', 'toy', *given)
    assert result.code == 0 and result.out.count('selection.candidates') == 1


@pytest.mark.parametrize(
    'name, script, crop',
    [('small', 'test_vocspsm_vgg.py', '161'), ('narrow', 'test_vocspsm_resnet.py', '129')],
)
def test_settings_for_a_laptop_predict_at_one_scale_but_for_the_last_numbers(name, script, crop):
    _, data = toy_settings.data_stages(WORK, seed=5)
    settings = voc_settings.SETTINGS[name]
    stages, model = plan.all_rounds(data, settings, WORK, 2)
    stages += plan.final_predictions(data, settings, model, WORK)
    trainings = [stage for stage in stages if stage.command[0] == 'main.py']
    assert {flag(stage, '--input_height') for stage in trainings} == {crop}
    predictions = {s.name: s.work for s in stages if s.command[0] == script}
    assert predictions['round 1 predict train'].single_scale
    assert not predictions['last predict last'].single_scale


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['toy', '--rounds', '0'], 'at least 1'),
        (['toy', '--seed', '-1'], '--seed -1: expected 0 to'),
        (['resnet', '--data-dir', 'nowhere'], 'nowhere: not there; set DATA_DIRECTORY'),
        (['resnet', '--data-dir', '.', '--dataset', 'no'], 'val.txt: not there; make it with'),
        (['vgg'], 'init: not there; make it with: python -m deeplab_vgg.convert imagenet'),
        (['resnet', '--settings', 'small'], '--settings small is for: reproduce.py vgg'),
        (['vgg', '--settings', 'narrow'], '--settings narrow is for: reproduce.py resnet'),
        (['resnet', '--settings', 'narrow', '--cues', '.'], '--settings narrow needs --init'),
        (['vgg', '--cues', 'a', '--imagenet', 'b'], 'are for runs that begin with tags'),
        (['vgg', '--images', 'a'], '--images and --max-size are for: reproduce.py photos'),
        (['vgg', '--annotations', 'no-a', 'no-b'], 'no-b: not there; a folder of annotations'),
        (['vgg', '--train-flags', "--modeldir 'a"], "--modeldir 'a: No closing quotation"),
        (['toy', '--width', '0.5'], 'toy has settings and data of its own'),
        (['toy', '--init', 'model'], 'toy has settings and data of its own'),
        (['vgg', '--annotations', 'a', '--rounds', '2'], '--annotations names the rounds'),
        (['vgg', '--annotations', 'a', '--candidates'], '--annotations names the rounds'),
        (['toy', '--candidates', '--rounds', '1'], 'the masks of round 2: not with --rounds 1'),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    result = run_command('reproduce', *arguments)
    assert result.code == 2
    assert message in result.error


def test_a_dry_run_names_all_that_is_missing_after_the_plan_and_an_estimate(tmp_path):
    where = ('--data-dir', tmp_path / 'VOC', '--dataset', tmp_path / 'ds', '--init', tmp_path / 'i')
    cues = ('--cues', tmp_path / 'cues', '--work-dir', tmp_path / 'work')
    flags = ('--train-flags', '--batch_size=2 --input_height 33', '--width', '0.125')
    result = run_command('reproduce', 'resnet', *where, *cues, *flags, '--dry-run')
    assert result.code == 2
    for name in ('VOC', 'ds/train.txt', 'ds/val.txt', 'ds/tags.txt', 'i', 'cues'):
        assert f'{tmp_path / name}: not there; ' in result.error
    assert '# round 3 train: to do\npython main.py' in result.out
    assert '--width 0.125 --batch_size=2 --input_height 33\n' in result.out
    for line in ('An estimate', '  training ', '  prediction ', '  CRF ', '  disk '):
        assert f'\n{line}' in result.out
    assert not (tmp_path / 'work').exists()
    wrong = ('--train-flags', '--no_such_flag 1')
    result = run_command('reproduce', 'resnet', *where, *cues, *wrong, '--dry-run')
    assert result.code == 2 and 'no_such_flag' in result.error


def test_an_estimate_is_for_photographs_of_the_size_they_have(tmp_path):
    (tmp_path / 'train.txt').write_text('/a.png\n')
    (tmp_path / 'val.txt').write_text('/a.png /a.png\n')
    where = ('--data-dir', tmp_path, '--dataset', tmp_path, '--cues', tmp_path / 'cues')

    def prediction():
        run = run_command('reproduce', 'vgg', *where, '--width', '0.015625', '--dry-run')
        assert 'cues: not there' in run.error
        return float(re.search(r'prediction +([0-9.]+) MFLOP', run.out).group(1))

    of_vocs_usual_size = prediction()
    Image.new('RGB', (50, 40)).save(tmp_path / 'a.png')
    assert prediction() < of_vocs_usual_size / 20


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
    chosen = [stage for stage in stages if stage.command[1] == 'selection.candidates']
    for stage, before in zip(chosen, ('round_1', 'candidates/round_2'), strict=True):
        at = stage.command.index('--masks') + 1
        folders = [str(WORK / 'proxies'), str(WORK / before / 'refined')]
        assert list(stage.command[at : at + 3]) == [*folders, '--scores']
    tables = [flag(stage, '--table') for stage in stages if stage.name.endswith('select')]
    assert tables == [f'{stage.output}/scores.csv' for stage in chosen]


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
    assert result.out.count('-m selection.proxies') == 1
    for seed in (1, 2):
        assert f'--random_seed {seed} ' in result.out and f'--seed {seed}\n' in result.out
        assert result.out.count(f'--data_list {runs}/train_1.txt') == 2
    assert result.out.count('--num_steps 3') == 6
    classes = tmp_path / 'classes.txt'
    classes.write_text('ground\ncat\n')
    of_own = run_command(*command, *where, '--classes', classes)
    assert of_own.code == 0, of_own.error
    commands = [line for line in of_own.out.splitlines() if line.startswith('python ')]
    names_classes = [f'--classes {classes}' in line for line in commands]
    needs_none = [line.startswith('python test_vocspsm_vgg.py') for line in commands]
    assert len(commands) == 38
    assert all(a != b for a, b in zip(names_classes, needs_none, strict=True))
    narrow = run_command(*command, *where, '--settings', 'narrow')
    assert narrow.code == 0 and '--encoder_name res50 ' in narrow.out
    assert '--bilateral-sxy 40' in narrow.out, 'half, as the photographs are'
    result = run_command('experiments.ablation', '--settings', 'narrow', '--dry-run')
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
    assert mask_confusion(np.array([[255]]), np.array([[3]])).sum() == 0


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
    for path in ('round_1', 'selection/round_2'):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / 'val.json').write_text('{"mean_iou": 0.5}')
    for folder, masks in (('truth', truth), ('proxies', proxies), ('round_1/refined', refined)):
        write_masks(tmp_path / folder, masks)
    columns = {'crf_agreement': (0.1, 0.9, 0.5), 'annotation_agreement': (0.9, 0.5, 0.1)}
    for path, column in (
        ('round_1/refined/scores.csv', 'crf_agreement'),
        ('proxies.csv', 'annotation_agreement'),
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


def test_the_panel_leaves_room_for_what_is_missing(tmp_path):
    image = tmp_path / 'a.png'
    Image.new('RGB', (30, 20)).save(image)
    write_masks(tmp_path / 'masks', {'a': np.ones((20, 30))})
    save_panel(tmp_path / 'panel.png', [image], {'m': tmp_path / 'masks', 'n': tmp_path / 'none'})
    panel = np.array(Image.open(tmp_path / 'panel.png'))
    assert panel.shape == (38, 90, 3)
    assert panel[25, 35].tolist() == [128, 0, 0] and panel[25, 65].tolist() == [255, 255, 255]


def test_results_become_a_table_beside_the_paper(tmp_path):
    for name, value in (('round_1/val', 0.5), ('last', 0.6), ('crf', 0.7)):
        path = tmp_path / f'{name}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({'mean_iou': value}))
    numbers = result_tables.read_numbers(tmp_path, 1)
    table = result_tables.number_table(result_tables.beside_paper(numbers, PAPER['resnet'], 1))
    assert squeezed(as_markdown(*table)).splitlines() == [
        '| | mean IoU | paper |',
        '|:------------|-----------:|--------:|',
        '| round 1 | 50.0 | 59.9 |',
        '| test script | 60.0 | 61.6 |',
        '| with CRF | 70.0 | 62.3 |',
    ]
    assert as_text(*table).splitlines()[:2] == [
        '               mean IoU    paper',
        'round 1            50.0     59.9',
    ]
    pairs = result_tables.beside_paper({'round 2': 1, 'round 3': 2}, PAPER['vgg'], 3)
    assert pairs == {'round 2': (1, None), 'round 3': (2, 56.9)}

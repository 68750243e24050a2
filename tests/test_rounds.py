import argparse
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeplablib.utils.stages import stage_entries
from deeplablib.utils.text_tables import as_markdown, as_text
from experiments import toy_settings
from experiments.panel import save_panel
from reproduce import PAPER
from selection.rounds import plan, result_tables, voc_settings
from selection.rounds.reproduce_flags import run_name, title_of
from selection.rounds.round_settings import DataPaths
from tests.command import run_command
from tests.planned_stages import WORK, flag
from tests.tables import squeezed


def toy_plan(number=3):
    _, data = toy_settings.data_stages(WORK, seed=5)
    return plan.all_rounds(data, toy_settings.SETTINGS, WORK, number)


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


def test_predictions_compute_in_the_precision_of_the_trainings():
    stages, data = toy_settings.data_stages(WORK, seed=5)
    settings = replace(toy_settings.SETTINGS, train_flags=('--precision', 'bfloat16'))
    stages, model = plan.all_rounds(data, settings, WORK, 2)
    stages += plan.final_predictions(data, settings, model, WORK)
    predictions = [stage for stage in stages if ' predict ' in stage.name]
    assert len(predictions) == 4
    assert {flag(stage, '--precision') for stage in predictions} == {'bfloat16'}
    assert not any('--precision' in stage.command for stage in toy_plan()[0])


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


def test_an_image_in_the_folder_of_another_class_makes_all_stages_stale(tmp_path):
    for folder in ('bird', 'boat'):
        (tmp_path / 'tags' / folder).mkdir(parents=True)
    (tmp_path / 'tags/bird/a.jpg').touch()
    _, data = toy_settings.data_stages(WORK, seed=5)
    data = replace(data, tags=tmp_path / 'tags')

    def entries():
        return stage_entries(plan.all_rounds(data, toy_settings.SETTINGS, WORK, 1)[0])

    before = entries()
    (tmp_path / 'tags/bird/a.jpg').rename(tmp_path / 'tags/boat/a.jpg')
    assert all(entry != before[name] for name, entry in entries().items())


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
    assert plain.code == 0 and 'selection.choose_candidates' not in plain.out
    given = ('--work-dir', tmp_path, '--rounds', 2, '--dry-run', '--candidates')
    result = run_command('reproduce', 'toy', *given)
    assert result.code == 0 and result.out.count('selection.choose_candidates') == 1


@pytest.mark.parametrize(
    'name, script, crop',
    [('small', 'test_vocspsm_vgg.py', '161'), ('lite0', 'test_vocspsm_lite0.py', '257')],
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
        (['vgg', '--settings', 'lite0'], '--settings lite0 is for: reproduce.py photos'),
        (
            ['lite0'],
            'init: not there; make it with: python -m deeplab_efficientnet.convert imagenet',
        ),
        (['vgg', '--cues', 'a', '--imagenet', 'b'], 'are for runs that begin with tags'),
        (['vgg', '--images', 'a'], '--images and --max-size are for: reproduce.py photos'),
        (['vgg', '--annotations', 'no-a', 'no-b'], 'no-b: not there; a folder of annotations'),
        (['vgg', '--train-flags', "--modeldir 'a"], "--modeldir 'a: No closing quotation"),
        (['toy', '--width', '0.5'], 'toy has settings and data of its own'),
        (['toy', '--crf-flags', '--prune 0.1'], 'toy has settings and data of its own'),
        (['toy', '--init', 'model'], 'toy has settings and data of its own'),
        (['vgg', '--annotations', 'a', '--rounds', '2'], '--annotations names the rounds'),
        (['vgg', '--annotations', 'a', '--candidates'], '--annotations names the rounds'),
        (['toy', '--candidates', '--rounds', '1'], 'the masks of round 2: give --rounds 2'),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    result = run_command('reproduce', *arguments)
    assert result.code == 2
    assert message in result.error


def test_runs_of_different_kinds_have_different_titles_and_folders():
    settings = {'vgg': [None, 'small'], 'lite0': [None], 'photos': [None, 'lite0']}
    runs = [
        argparse.Namespace(what=what, settings=name, annotations=None, cues=None)
        for what, names in settings.items()
        for name in names
    ]
    assert len({title_of(run) for run in runs}) == len({run_name(run) for run in runs}) == 5


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
    assert result.code == 2 and '--train-flags --no_such_flag 1: ' in result.error


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


def test_the_panel_leaves_room_for_what_is_missing(tmp_path):
    image = tmp_path / 'a.png'
    Image.new('RGB', (30, 20)).save(image)
    (tmp_path / 'masks').mkdir()
    Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / 'masks/a.png')
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

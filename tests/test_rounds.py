"""The commands of reproduce.py, planned and not run, and what it prints."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reproduce
from deeplablib.utils.stages import stage_entries
from deeplablib.utils.text_tables import text_table
from experiments.toy_data import INITIAL_STEPS, save_panel
from tests.command import run_command
from tests.tables import squeezed

WORK = Path('/work-dir')
TOY = ('toy',)


def plan_of(*words):
    """The stages of a command line, a dict from name."""
    args = reproduce.get_arguments(list(map(str, words)))
    stages = reproduce.plan(args, WORK)[0].stages
    plan = {str(stage.output.relative_to(WORK)): stage for stage in stages}
    assert len(plan) == len(stages), 'two stages share an output'
    return plan


def flag(stage, name):
    command = list(stage.command)
    return command[command.index(name) + 1]


@pytest.fixture
def voc(tmp_path):
    """Flags that name a data set in the form of VOC, of which nothing but the lists is there."""
    (tmp_path / 'train.txt').write_text('a\n')
    (tmp_path / 'tags.txt').write_text('a 1\n')
    (tmp_path / 'val.txt').write_text('/b.jpg /truth/b.png\n')
    (tmp_path / 'init.index').touch()
    given = {'data-dir': tmp_path, 'dataset': tmp_path, 'init': tmp_path / 'init'}
    return [f'--{name}={value}' for name, value in given.items()]


def test_every_round_starts_from_the_initial_checkpoint():
    plan = plan_of(*TOY)
    trainings = [plan[f'round_{k}/model'] for k in (1, 2, 3)]
    assert {flag(stage, '--pretrain_file') for stage in trainings} == {
        str(WORK / f'initial/model.ckpt-{INITIAL_STEPS}')
    }
    assert [flag(stage, '--data_list') for stage in trainings] == [
        str(WORK / f'train_{k}.txt') for k in (1, 2, 3)
    ]
    assert flag(plan['last'], '--restore-from') == str(WORK / 'round_3/model')


def test_a_round_predicts_with_its_own_model_and_selects_among_its_own_masks():
    plan = plan_of(*TOY)
    for k in (1, 2):
        folder = WORK / f'round_{k}'
        assert flag(plan[f'round_{k}/train'], '--restore-from') == str(folder / 'model')
        assert flag(plan[f'round_{k}/train'], '--save-scores') == str(folder / 'train/scores')
        assert flag(plan[f'round_{k}/refined'], '--scores') == str(folder / 'train/scores')
        assert flag(plan[f'train_{k + 1}.txt'], '--masks') == str(folder / 'refined')
    assert 'round_3/train' not in plan, 'nothing is trained after the last round'


def test_rounds_that_choose_among_candidates_train_on_what_was_chosen():
    plan = plan_of(*TOY, '--candidates')
    for k in (1, 2):
        chosen, selected = plan[f'round_{k}/chosen'], plan[f'train_{k + 1}.txt']
        assert flag(chosen, '--scores') == str(WORK / f'round_{k}/train/scores')
        assert flag(selected, '--masks') == str(WORK / f'round_{k}/chosen')
        assert flag(selected, '--measure') == 'annotation_agreement'
    assert not any('chosen' in name for name in plan_of(*TOY))


def test_predictions_compute_in_the_precision_of_the_trainings(voc):
    plan = plan_of('resnet', *voc, '--precision', 'bfloat16')
    scripts = [s for s in plan.values() if s.command[0] in ('main.py', 'test_vocspsm_resnet.py')]
    assert len(scripts) == 9
    precisions = {name for s in scripts for name in s.command if 'float' in name}
    assert precisions == {'bfloat16'}
    assert not any('--precision' in s.command for s in plan_of('resnet', *voc).values())


def after_a_change(words, path):
    """The stages of a command line that are stale when what stands at a path has changed."""
    before = stage_entries(plan_of(*words))
    path.parent.mkdir(exist_ok=True)
    path.write_text('another')
    return [n for n, entry in stage_entries(plan_of(*words)).items() if entry != before[n]]


def test_only_what_depends_on_an_input_is_stale_when_it_changes(voc, tmp_path):
    for folder in ('cues', 'saliency', 'truth'):
        (tmp_path / folder).mkdir()
    words = ['vgg', *voc, '--rounds=2', f'--cues={tmp_path}/cues']
    words += [f'--saliency={tmp_path}/saliency']
    names = list(plan_of(*words))
    for path in ('train.txt', 'tags.txt', 'cues/a.png', 'saliency/a.png'):
        assert after_a_change(words, tmp_path / path) == names, path
    of_val = {name for name in names if 'val' in name} | {'last', 'last.json', 'crf', 'crf.json'}
    (tmp_path / 'val.txt').write_text('/b.jpg /truth/b.png\n')
    before = stage_entries(plan_of(*words))
    (tmp_path / 'val.txt').write_text('/c.jpg /truth/c.png\n')
    after = stage_entries(plan_of(*words))
    assert {name for name in names if before[name] != after[name]} == of_val
    stale = after_a_change(words, tmp_path / 'truth/b.png')
    assert stale == [name for name in names if name.endswith('.json')]
    assert after_a_change(words, tmp_path / 'init.index') == names[2:], 'all but the proxies'
    own = [*words, f'--classes={tmp_path}/classes.txt']
    assert after_a_change(own, tmp_path / 'classes.txt') == names


def test_an_image_in_the_folder_of_another_class_makes_all_stages_stale(voc, tmp_path):
    words = ['vgg', *voc, f'--tags={tmp_path}/tags']
    for folder in ('bird', 'boat'):
        (tmp_path / 'tags' / folder).mkdir(parents=True)
    (tmp_path / 'tags/bird/a.jpg').touch()
    before = stage_entries(plan_of(*words))
    (tmp_path / 'tags/bird/a.jpg').rename(tmp_path / 'tags/boat/a.jpg')
    assert all(entry != before[n] for n, entry in stage_entries(plan_of(*words)).items())


def test_given_annotations_are_trained_on_as_they_are(voc, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'list.txt').write_text('/a.jpg /masks/b.png')
    words = ['vgg', *voc, '--annotations', tmp_path / 'a', tmp_path / 'list.txt']
    plan = plan_of(*words)
    assert not any('refined' in name or 'train_2' in name for name in plan)
    assert list(plan)[0] == 'train_1.txt' and flag(plan['train_1.txt'], '--masks').endswith('/a')
    lists = [flag(plan[f'round_{k}/model'], '--data_list') for k in (1, 2)]
    assert lists == [str(WORK / 'train_1.txt'), str(tmp_path / 'list.txt')]
    of_second = list(plan)[list(plan).index('round_2/model') :]
    assert after_a_change(words, tmp_path / 'masks/b.png') == of_second, 'a mask of the list'
    stale = after_a_change(words, tmp_path / 'a/mask.png')
    assert stale[:2] == ['train_1.txt', 'round_1/model'] and not set(stale) & set(of_second)


@pytest.mark.parametrize(
    'words, script, crop',
    [
        (('vgg', '--settings', 'small'), 'test_vocspsm_vgg.py', '161'),
        (('lite0', '--rounds', '2'), 'test_vocspsm_resnet.py', '449'),
    ],
)
def test_settings_for_a_laptop_predict_at_one_scale_but_for_the_last_numbers(
    voc, words, script, crop
):
    plan = plan_of(*words, *voc)
    assert flag(plan['round_2/model'], '--input_height') == crop
    assert script in plan['last'].command[0] and '--single-scale' not in plan['last'].command
    assert '--single-scale' in plan['round_1/train'].command


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['toy', '--rounds', '0'], 'at least 1'),
        (['toy', '--seed', '-1'], '--seed -1: expected 0 to'),
        (['resnet', '--data-dir', 'nowhere'], 'nowhere: not there; set DATA_DIRECTORY'),
        (['resnet', '--data-dir', '.', '--dataset', 'no'], 'val.txt: not there; make it with'),
        (['vgg'], 'init: not there; make it with: python -m deeplab_vgg.convert imagenet'),
        (['resnet', '--settings', 'small'], '--settings small is for: reproduce.py vgg and photos'),
        (['vgg', '--settings', 'lite0'], '--settings lite0 is for: reproduce.py photos'),
        (['lite0'], 'not there; make it with: python -m deeplab_efficientnet.convert imagenet'),
        (['vgg', '--cues', 'a', '--imagenet', 'b'], 'are for runs that begin with tags'),
        (['vgg', '--cues', 'a', '--annotations', 'b'], 'not with --cues'),
        (['vgg', '--images', 'a'], '--images and --max-size are for: reproduce.py photos'),
        (['vgg', '--annotations', 'no-a', 'no-b'], 'no-b: not there; a folder of annotations'),
        (['vgg', '--train-flags', "--modeldir 'a"], "--modeldir 'a: No closing quotation"),
        (['toy', '--width', '0.5'], 'toy has settings and data of its own'),
        (['toy', '--crf-flags', '--prune 0.1'], 'toy has settings and data of its own'),
        (['toy', '--init', 'model'], 'toy has settings and data of its own'),
        (['vgg', '--annotations', 'a', '--rounds', '2'], '--annotations names the rounds'),
        (['vgg', '--annotations', 'a', '--candidates'], '--annotations names the rounds'),
        (['toy', '--candidates', '--rounds', '1'], 'the masks of round 2: give --rounds 2'),
        (['vgg', '--crf-flags', '--saliency x'], 'the CRF has no flag --saliency'),
        (['vgg', '--crf-flags', '--bilateral-sxy a'], 'invalid float value'),
        (['vgg', '--crf-flags', '--bilateral-sxy 0'], 'value 0.0 of --bilateral-sxy is out of'),
    ],
)
def test_what_is_missing_or_wrong_is_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the project's own folder may hold what is missing
    result = run_command('reproduce', *arguments)
    assert result.code == 2
    assert message in result.error


def test_a_wrong_flag_of_the_trainings_is_found_before_anything_runs(voc, tmp_path):
    cues = ('--cues', tmp_path, '--work-dir', tmp_path / 'work')
    wrong = ('--train-flags', '--no_such_flag 1')
    result = run_command('reproduce', 'resnet', *voc, *cues, *wrong)
    assert result.code == 2 and '--train-flags --no_such_flag 1: ' in result.error


def test_runs_of_different_kinds_have_different_folders():
    commands = [('vgg',), ('vgg', '--settings', 'small'), ('lite0',)]
    photos = ('photos', '--images', 'a', '--tags', 'b')
    commands += [photos, (*photos, '--settings', 'vgg'), (*photos, '--settings', 'small')]
    names = {reproduce.get_arguments(words).name for words in commands}
    assert len(names) == len(commands)


def test_a_dry_run_prints_the_commands_and_all_that_is_missing(tmp_path):
    where = ('--data-dir', tmp_path / 'VOC', '--dataset', tmp_path / 'ds', '--init', tmp_path / 'i')
    cues = ('--cues', tmp_path / 'cues', '--work-dir', tmp_path / 'work')
    result = run_command('reproduce', 'resnet', *where, *cues, '--width', '0.125', '--dry-run')
    assert result.code == 2
    for name in ('VOC', 'ds/train.txt', 'ds/val.txt', 'ds/tags.txt', 'i', 'cues'):
        assert f'{tmp_path / name}: not there; ' in result.error
    assert '# round_3/model: to do\npython main.py' in result.out and '--width 0.125' in result.out
    assert not (tmp_path / 'work').exists()
    result = run_command(
        'reproduce', 'toy', '--work-dir', tmp_path / 'work', '--seed', '7', '--dry-run'
    )
    assert result.code == 0 and not (tmp_path / 'work').exists()
    assert result.out.count('--random_seed 7') == 4, 'the initial training and three rounds'
    assert '--seed 7\n' in result.out, 'the data'


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
    numbers = {'round 1': 50, 'test script': 60, 'with CRF': 70}
    table = reproduce.number_table(numbers, reproduce.PAPER['resnet'])
    assert squeezed(text_table(*table, 'pipe')).splitlines() == [
        '| | mean IoU | paper |',
        '|:------------|-----------:|--------:|',
        '| round 1 | 50.0 | 59.9 |',
        '| test script | 60.0 | 61.6 |',
        '| with CRF | 70.0 | 62.3 |',
    ]
    text = reproduce.save_tables(tmp_path, [table], {}, 'Trained so')
    assert text == f'{text_table(*table)}\n\nTrained so'
    assert (tmp_path / 'table.txt').read_text() == f'{text}\n'
    assert reproduce.number_table(numbers, {})[0] == ('', 'mean IoU')

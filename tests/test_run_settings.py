"""A run remembers what it was set to, and what its classes are called."""

import json
import shutil

import pytest

from deeplablib.data.classes import default_classes
from deeplablib.run.errors import InputError
from deeplablib.weights import checkpoints
from deeplablib.weights.run_settings import classes_of, read_settings
from tests.training_run import make_samples, run_main


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    """A run of five steps that was stopped after the third."""
    folder = tmp_path_factory.mktemp('begun')
    make_samples(folder)
    (folder / 'classes.txt').write_text('ground\nred\nblue\ngreen\n')
    result = run_main(folder, classes=folder / 'classes.txt')
    assert result.code == 0, result.error
    checkpoints.remove(folder / 'run/model/model.ckpt-4')
    return folder


@pytest.fixture
def folder(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / 'data')


def go_on(folder, **changes):
    return run_main(folder, classes=folder / 'classes.txt', **changes)


def settings_of(folder):
    return json.loads((folder / 'run/model/settings.json').read_text())


def test_settings_hold_flags_versions_classes_and_the_hash_of_the_list(begun):
    settings = settings_of(begun)
    assert settings['result']['learning_rate'] == 1e-3
    assert settings['result']['data_list'].startswith('4 samples, sha256 ')
    assert settings['result']['classes'] == ['ground', 'red', 'blue', 'green']
    assert settings['flags']['save_interval'] == 2
    assert set(settings['versions']) == {'python', 'tensorflow', 'keras', 'numpy'}


def test_the_flagfile_repeats_a_run(begun):
    flagfile = begun / 'run/model/flags.txt'
    result = run_main(begun, 'again', flagfile=flagfile)
    assert result.code == 0, result.error
    again = json.loads((begun / 'again/model/settings.json').read_text())
    assert again['result'] == settings_of(begun)['result']


def test_a_run_goes_on_with_the_same_settings_and_others_that_change_nothing(folder):
    moved = shutil.copytree(folder, folder.with_name('moved'))
    result = go_on(moved, save_interval=1, max_to_keep=2)
    assert result.code == 0, result.error
    assert settings_of(moved) == settings_of(folder) | {'flags': settings_of(moved)['flags']}


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'learning_rate': 2e-3}, 'learning_rate 0.001 there, 0.002 here'),
        ({'batch_size': 3}, 'batch_size 2 there, 3 here'),
        ({'num_steps': 6}, 'num_steps 4 there, 6 here'),
        ({'random_seed': 1}, 'random_seed 1234 there, 1 here'),
        ({'recipe': 'authors', 'input_width': 41}, 'recipe caffe there, authors here'),
        ({'random_mirror': 'false'}, 'random_mirror True there, False here'),
        ({'precision': 'bfloat16'}, 'precision float32 there, bfloat16 here'),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(folder, changes, words):
    before = settings_of(folder)
    result = go_on(folder, **changes)
    assert result.code == 2
    assert words in result.error and '--resume_changed' in result.error
    assert len([line for line in result.error.splitlines() if 'error' in line]) == 1
    assert settings_of(folder) == before


def test_a_run_does_not_go_on_with_another_list_or_classes(folder):
    lines = (folder / 'list.txt').read_text().splitlines(keepends=True)
    (folder / 'list.txt').write_text(''.join(lines[::-1]))
    result = go_on(folder)
    assert result.code == 2 and 'data_list 4 samples, sha256' in result.error
    (folder / 'list.txt').write_text(''.join(lines))
    (folder / 'classes.txt').write_text('ground\nred\nblue\ngrey\n')
    result = go_on(folder)
    assert 'classes ground, red, blue, green there, ground, red, blue, grey here' in result.error


def test_changes_that_are_meant_are_kept_in_the_record(folder):
    assert go_on(folder, learning_rate=2e-3, num_steps=6, resume_changed=True).code == 0
    settings = settings_of(folder)
    assert settings['result']['learning_rate'] == 2e-3
    assert settings['resumed'] == [{'learning_rate': [0.001, 0.002], 'num_steps': [4, 6]}]
    assert (folder / 'run/model/model.ckpt-6.index').exists()


def test_a_damaged_record_is_named_and_a_missing_one_noted(folder):
    path = folder / 'run/model/settings.json'
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    result = go_on(folder)
    assert result.code == 2 and f'{path}: cannot be read (' in result.error
    for text in ('[]', '{"result": {}, "versions": {}}'):
        path.write_text(text)
        assert go_on(folder).code == 2
    path.unlink()
    result = go_on(folder)
    assert result.code == 0, result.error
    assert 'holds checkpoints but no settings.json' in result.out
    assert read_settings(path.parent)['result']['num_steps'] == 4


def test_a_checkpoint_has_the_names_of_its_run_or_those_by_default(begun, tmp_path):
    prefix = begun / 'run/model/model.ckpt-2'
    assert classes_of(prefix, 4) == ('ground', 'red', 'blue', 'green')
    assert classes_of(prefix.parent, 4) == classes_of(prefix, 4)
    assert classes_of(prefix, 3) == default_classes(3), 'another network put beside it'
    assert classes_of(tmp_path / 'model', 21)[1] == 'aeroplane', 'no settings.json there'
    (tmp_path / 'settings.json').write_text('{"result"')
    with pytest.raises(InputError, match=r'settings\.json: cannot be read'):
        classes_of(tmp_path / 'model', 21)


def test_a_test_has_the_classes_of_the_run(begun):
    flags = {'option': 'test', 'valid_step': 2, 'valid_data_list': begun / 'list.txt'}
    result = run_main(begun, num_classes=None, **flags)
    assert result.code == 0, result.error
    assert 'ground ' in result.out and 'blue ' in result.out and 'aeroplane' not in result.out


def test_classes_and_their_number_must_agree(folder):
    result = go_on(folder, num_classes=5)
    assert result.code == 2 and '--num_classes 5' in result.error
    assert 'names 4' in result.error

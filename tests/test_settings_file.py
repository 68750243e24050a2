"""A run remembers what it was set to, and what its classes are called."""

import json
import shutil

import numpy as np
import pytest

from deeplablib.data.classes import default_classes
from deeplablib.utils.errors import InputError
from deeplablib.weights import checkpoints
from deeplablib.weights.settings_file import (
    check_resume,
    checkpoint_fingerprint,
    classes_of,
    write_settings,
)
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


def test_settings_that_change_nothing_may_differ(folder):
    settings = settings_of(folder)
    other = settings | {'flags': settings['flags'] | {'save_interval': 1}}
    assert check_resume(folder / 'run/model', other, False) == other


def test_another_version_of_a_package_is_noted(folder, capsys):
    settings = settings_of(folder)
    other = settings | {'versions': settings['versions'] | {'keras': '9.9'}}
    assert check_resume(folder / 'run/model', other, False) == other
    assert ', now 9.9: the last digits may differ' in capsys.readouterr().out


def test_a_run_does_not_go_on_with_other_settings(folder):
    before = settings_of(folder)
    changes = {'learning_rate': 2e-3, 'batch_size': 3, 'recipe': 'authors', 'weight_decay': 0}
    changes |= {'random_mirror': 'false', 'num_steps': 6, 'random_seed': 1}
    result = go_on(folder, **changes)
    assert result.code == 2
    for words in (
        'learning_rate 0.001 there, 0.002 here',
        'batch_size 2 there, 3 here',
        'recipe caffe there, authors here',
        'weight_decay 0.0005 there, 0.0 here',
        'random_mirror True there, False here',
        'num_steps 4 there, 6 here',
        'random_seed 1234 there, 1 here',
        '--resume_changed',
    ):
        assert words in result.error
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


def test_a_damaged_record_is_named_and_a_missing_one_noted(folder, capsys):
    path = folder / 'run/model/settings.json'
    settings = settings_of(folder)
    for text in (path.read_text()[:300], '[]', '{"result": {}, "versions": {}}', 'null'):
        path.write_text(text)
        result = go_on(folder)
        assert result.code == 2 and f'{path}: cannot be read (' in result.error
    path.unlink()
    assert check_resume(path.parent, settings, False) == settings
    assert 'holds checkpoints but no settings.json' in capsys.readouterr().out
    path.write_bytes(b'\xff')
    with pytest.raises(InputError, match='cannot be read'):
        check_resume(path.parent, settings, False)


def test_a_pretrained_file_that_is_gone_is_not_missed(folder):
    checkpoints.write(folder / 'init', {'w': np.float32(1)})
    first = checkpoint_fingerprint(folder / 'init')
    checkpoints.write(folder / 'init', {'w': np.float32(2)})
    assert first.startswith('init, sha256 ') and checkpoint_fingerprint(folder / 'init') != first
    settings = settings_of(folder)
    known = settings | {'result': settings['result'] | {'pretrain_file': first}}
    write_settings(folder / 'run/model', known)
    now = settings | {'result': settings['result'] | {'pretrain_file': None}}
    assert check_resume(folder / 'run/model', now, False) == known
    assert checkpoint_fingerprint(folder / 'gone') is None


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

import json
import sys

import pytest

from deeplablib.errors import InputError
from deeplablib.files import locked
from deeplablib.stages import RECORD, Stage, run_stages


def writer(name, folder, text='x', inputs=()):
    """A stage that appends to a log of what ran, and writes its output."""
    code = (
        f'open({str(folder / "log")!r}, "a").write({name!r} + " ");'
        f'open({str(folder / name)!r}, "a").write({text!r})'
    )
    return Stage(name, ('-c', code), folder / name, inputs)


def ran(folder):
    log = folder / 'log'
    words = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return words


def test_stages_run_in_order_and_only_once(tmp_path, capfd):
    stages = [writer('a', tmp_path), writer('b', tmp_path)]
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == ['a', 'b']
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == []
    assert '[2/2] b: done' in capfd.readouterr().out
    assert all(entry['done'] for entry in json.loads((tmp_path / RECORD).read_text()).values())


def test_a_changed_command_makes_it_and_what_follows_stale(tmp_path):
    run_stages([writer(name, tmp_path) for name in 'abc'], tmp_path)
    ran(tmp_path)
    run_stages([writer('a', tmp_path), writer('b', tmp_path, 'y'), writer('c', tmp_path)], tmp_path)
    assert ran(tmp_path) == ['b', 'c']
    assert (tmp_path / 'b').read_text() == 'y', 'the stale output was not removed'


def test_a_changed_input_makes_a_stage_stale(tmp_path):
    source = tmp_path / 'input'
    source.write_text('1')
    stages = [writer('a', tmp_path, inputs=(source,)), writer('b', tmp_path)]
    run_stages(stages, tmp_path)
    ran(tmp_path)
    source.write_text('2')
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == ['a', 'b']


def test_a_stage_whose_output_is_gone_is_done_again(tmp_path):
    stages = [writer('a', tmp_path), writer('b', tmp_path)]
    run_stages(stages, tmp_path)
    ran(tmp_path)
    (tmp_path / 'a').unlink()
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == ['a']


def test_a_failed_stage_is_named_and_goes_on_from_what_it_left(tmp_path, capfd):
    output, fails = tmp_path / 'b', tmp_path / 'fails'
    code = (
        f'import os; open({str(output)!r}, "a").write("x");'
        f'os.path.exists({str(fails)!r}) and exit(3)'
    )
    stages = [writer('a', tmp_path), Stage('b', ('-c', code), output)]
    fails.touch()
    with pytest.raises(SystemExit, match='1'):
        run_stages(stages, tmp_path)
    assert 'stage b failed (exit code 3)' in capfd.readouterr().err
    fails.unlink()
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == ['a']
    assert output.read_text() == 'xx', 'the output of a stopped stage was removed'


def test_what_the_record_does_not_know_is_never_removed(tmp_path):
    (tmp_path / 'a').write_text('mine')
    with pytest.raises(InputError, match='is there, but not in .*; move it away'):
        run_stages([writer('a', tmp_path)], tmp_path)
    assert (tmp_path / 'a').read_text() == 'mine'


def test_a_dry_run_prints_the_commands_and_runs_nothing(tmp_path, capsys):
    stage = Stage('see', ('main.py', '--flag', 'two words'), tmp_path / 'out')
    run_stages([stage], tmp_path / 'work', dry_run=True)
    assert capsys.readouterr().out == "# see: to do\npython main.py --flag 'two words'\n"
    assert not (tmp_path / 'work').exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match='another process is writing'):
        run_stages([writer('a', tmp_path)], tmp_path)


def test_a_missing_input_and_a_damaged_record_are_named(tmp_path):
    with pytest.raises(InputError, match='gone: cannot read this input'):
        run_stages([writer('a', tmp_path, inputs=(tmp_path / 'gone',))], tmp_path)
    (tmp_path / RECORD).write_text('{"a": ')
    with pytest.raises(InputError, match='cannot read the record'):
        run_stages([writer('a', tmp_path)], tmp_path)


def test_stages_run_with_the_same_python(tmp_path):
    output = tmp_path / 'out'
    code = f'import sys; open({str(output)!r}, "w").write(sys.executable)'
    run_stages([Stage('a', ('-c', code), output)], tmp_path)
    assert output.read_text() == sys.executable

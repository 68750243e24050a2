import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked
from deeplablib.utils.stages import RECORD, ROOT, Stage, make_stage, run_stages


def writer(name, folder, text='x', inputs=(), reads=()):
    """A stage that appends to a log of what ran, and writes its output.

    inputs: paths that it reads. reads: names of the stages whose outputs it reads.
    """
    code = (
        f'open({str(folder / "log")!r}, "a").write({name!r} + " ");'
        f'open({str(folder / name)!r}, "a").write({text!r})'
    )
    return Stage(('-c', code), folder / name, (*inputs, *(folder / r for r in reads)))


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


def test_a_changed_command_makes_it_and_what_reads_its_output_stale(tmp_path, capfd):
    def stages(text):
        return [
            writer('a', tmp_path),
            writer('b', tmp_path, text),
            writer('c', tmp_path, reads='b'),
            writer('d', tmp_path, reads='c'),
            writer('e', tmp_path, reads='a'),
        ]

    run_stages(stages('x'), tmp_path)
    ran(tmp_path)
    assert run_stages(stages('y'), tmp_path) == ['b', 'c', 'd']
    assert ran(tmp_path) == ['b', 'c', 'd']
    assert (tmp_path / 'b').read_text() == 'y', 'it went on from the stale output'
    assert (tmp_path / 'b.stale-1').read_text() == 'x', 'the stale output was removed'
    run_stages(stages('z'), tmp_path)
    assert (tmp_path / 'b.stale-2').read_text() == 'y'
    out = capfd.readouterr().out
    assert '[2/5] b: stale, its command has changed' in out
    assert '[3/5] c: stale, b has changed' in out and '[5/5] e: done' in out


def test_a_stage_that_reads_within_an_output_depends_on_it(tmp_path):
    def stages(text):
        folder = tmp_path / 'a'
        code = f'import os; os.makedirs({str(folder)!r}); {text!r}'
        reader = writer('b', tmp_path, inputs=(folder / 'scores',))
        return [Stage(('-c', code), folder), reader]

    run_stages(stages('x'), tmp_path)
    ran(tmp_path)
    run_stages(stages('y'), tmp_path)
    assert ran(tmp_path) == ['b']


def test_a_changed_input_makes_a_stage_stale(tmp_path, capfd):
    source = tmp_path / 'input'
    source.write_text('1')
    stages = [writer('a', tmp_path, inputs=(source,)), writer('b', tmp_path, reads='a')]
    run_stages(stages, tmp_path)
    ran(tmp_path)
    os.utime(source, (0, 0))
    assert not run_stages(stages, tmp_path), 'what a file holds counts, not its time'
    source.write_text('2')
    run_stages(stages, tmp_path)
    assert ran(tmp_path) == ['a', 'b']
    assert f'a: stale, {source} has changed' in capfd.readouterr().out


def test_a_folder_has_changed_when_what_a_file_in_it_holds_has(tmp_path):
    folder = tmp_path / 'cues'
    folder.mkdir()
    stages = [writer('a', tmp_path, inputs=(folder,))]
    for change in (
        lambda: (folder / 'x.png').write_text('1'),
        lambda: (folder / 'x.png').write_text('2'),
        lambda: (folder / 'x.png').rename(folder / 'y.png'),
    ):
        run_stages(stages, tmp_path)
        ran(tmp_path)
        run_stages(stages, tmp_path)
        assert not ran(tmp_path)
        change()
        run_stages(stages, tmp_path)
        assert ran(tmp_path) == ['a']
    os.utime(folder / 'y.png', (1, 1))  # as a copy would have
    (folder / '.DS_Store').touch()
    run_stages(stages, tmp_path)
    assert not ran(tmp_path)


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
    stages = [writer('a', tmp_path), Stage(('-c', code), output)]
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
    stage = Stage(('main.py', '--flag', 'two words'), tmp_path / 'work/see')
    run_stages([stage], tmp_path / 'work', dry_run=True)
    assert capsys.readouterr().out == "# see: to do\npython main.py --flag 'two words'\n"
    assert not (tmp_path / 'work').exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match='another process is writing'):
        run_stages([writer('a', tmp_path)], tmp_path)


def test_a_folder_is_for_one_kind_of_run(tmp_path):
    run_stages([writer('a', tmp_path)], tmp_path, title='resnet from cues')
    for dry_run in (True, False):
        with pytest.raises(InputError, match='holds a run of resnet from cues, this one is vgg;'):
            run_stages([writer('a', tmp_path)], tmp_path, dry_run, title='vgg')
    assert not run_stages([writer('a', tmp_path)], tmp_path, title='resnet from cues')


def test_a_stage_whose_parent_was_killed_still_holds_the_folder(tmp_path):
    started, wait = tmp_path / 'started', tmp_path / 'wait'
    wait.touch()
    stage = (
        f'import os, time; open({str(started)!r}, "w").close()\n'
        f'while os.path.exists({str(wait)!r}): time.sleep(0.05)'
    )
    code = (
        'from pathlib import Path; from deeplablib.utils.stages import Stage, run_stages;'
        f'run_stages([Stage(("-c", {stage!r}), Path({str(started)!r}))], Path({str(tmp_path)!r}))'
    )
    parent = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
    while not started.exists():
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    with pytest.raises(InputError, match='another process is writing'):
        run_stages([writer('a', tmp_path)], tmp_path)
    wait.unlink()
    for _ in range(100):
        with contextlib.suppress(InputError), locked(tmp_path):
            return
        time.sleep(0.05)
    pytest.fail('the lock outlived the stage')


def test_a_missing_input_and_a_damaged_record_are_named(tmp_path):
    stages = [writer(n, tmp_path, inputs=(tmp_path / 'gone', tmp_path / f'no_{n}')) for n in 'ab']
    with pytest.raises(InputError) as error:
        run_stages(stages, tmp_path)
    for name in ('gone', 'no_a', 'no_b'):
        assert str(error.value).count(f'{name}: this input is not there') == 1
    assert len(run_stages(stages, tmp_path, dry_run=True)) == 2, 'a dry run does without'
    (tmp_path / RECORD).write_text('{"a": ')
    with pytest.raises(InputError, match='cannot read the record'):
        run_stages([writer('a', tmp_path)], tmp_path)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_stage_saves_before_the_run_ends(tmp_path, number, capfd):
    stage = (
        'import os, signal, sys, time\n'
        f'def save(*_): open({str(tmp_path / "saved")!r}, "w").close(); sys.exit(1)\n'
        f'signal.signal({number}, save)\n'
        f'os.kill(os.getppid(), {number})\n'
        'if signal.SIGINT == %d: os.kill(os.getpid(), 2)  # a terminal sends it to both\n'
        'time.sleep(60)'
    ) % number
    stages = [Stage(('-c', stage), tmp_path / 'a')]
    with pytest.raises(SystemExit, match=str(128 + number)):
        errors.run_script(run_stages, stages, tmp_path)
    assert (tmp_path / 'saved').exists()
    assert 'stage a was stopped; the same command goes on from here' in capfd.readouterr().err
    assert not json.loads((tmp_path / RECORD).read_text())['a']['done']


def test_flags_become_words_and_name_what_a_stage_reads(tmp_path):
    folder = tmp_path / 'out'
    flags = {
        'data_dir': 'word',
        'masks': (tmp_path / 'a', tmp_path / 'b'),
        'tags': tmp_path / 'tags',
        'save_scores': folder / 'scores',
        'classes': None,
        'resume': True,
        'rate': 1e-4,
        'out': folder,
    }
    stage = make_stage('selection.refine_masks', flags, 'out', words=['--prune', '0.1'])
    assert stage.command[:4] == ('-m', 'selection.refine_masks', '--data-dir', 'word')
    assert stage.command[-5:] == ('0.0001', '--out', str(folder), '--prune', '0.1')
    assert '--resume' in stage.command and '--classes' not in stage.command
    assert stage.reads == (tmp_path / 'a', tmp_path / 'b', tmp_path / 'tags')
    (tmp_path / 'init.index').touch()
    flags = {'pretrain_file': tmp_path / 'init', 'random_scale': False, 'modeldir': folder}
    stage = make_stage('main.py', flags, 'modeldir')
    assert stage.command[0] == 'main.py' and '--norandom_scale' in stage.command
    assert stage.reads == (tmp_path / 'init.index',), 'what a checkpoint changes in'


def test_stages_run_with_the_same_python(tmp_path):
    output = tmp_path / 'out'
    code = f'import sys; open({str(output)!r}, "w").write(sys.executable)'
    run_stages([Stage(('-c', code), output)], tmp_path)
    assert output.read_text() == sys.executable

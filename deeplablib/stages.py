"""A long piece of work as a row of commands: what is done is recorded and not done again."""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from deeplablib.errors import InputError
from deeplablib.files import locked, make_output_folder, replacing

ROOT = Path(__file__).parent.parent
RECORD = 'stages.json'


@dataclass(frozen=True)
class Stage:
    """One command.

    name: what the record and the messages call it. command: arguments for Python, such as
    ('main.py', '--option', 'train') or ('-m', 'selection.refine'); paths must be absolute.
    output: the file or folder that it makes. inputs: files from outside the work that it reads.
    """

    name: str
    command: tuple
    output: Path
    inputs: tuple = ()


def run_stages(stages, work_dir, dry_run=False):
    """Run the stages that are not done, in their order.

    A stage is done when the record holds it with a hash of its command, of its inputs and of the
    stages before it. One that was stopped goes on from what it left; one whose hash has changed
    is stale: what it left is removed first. What the record does not know is never removed.
    stages: list of Stage. work_dir: folder of the record. dry_run: only say what would be done.
    Raises InputError when an output stands there that is not in the record, or another process is
    at work in work_dir; leaves the program with the stage's exit code when one fails.
    """
    keys = stage_keys(stages)
    if dry_run:
        record = _read_record(Path(work_dir))
        for stage in stages:
            print(f'# {stage.name}: {_state(record, stage, keys)}\n{command_line(stage)}')
        return
    work_dir = make_output_folder(work_dir)
    with locked(work_dir):
        record = _read_record(work_dir)
        for number, stage in enumerate(stages, 1):
            state = _state(record, stage, keys)
            print(f'[{number}/{len(stages)}] {stage.name}: {state}', flush=True)
            if state == 'done':
                continue
            if state == 'unknown':
                raise InputError(
                    f'{stage.output}: is there, but not in {work_dir / RECORD}; move it away'
                )
            if state == 'stale':
                _remove(stage.output)
            started = time.monotonic()
            record[stage.name] = {'key': keys[stage.name], 'done': False}
            _write_record(work_dir, record)
            _run(stage)
            record[stage.name] |= {'done': True, 'seconds': round(time.monotonic() - started, 1)}
            _write_record(work_dir, record)


def command_line(stage):
    """The command of a stage as one would type it in the project's folder."""
    return shlex.join(['python', *map(str, stage.command)])


def stage_keys(stages):
    """The hash that each stage is recorded under: a dict from name to hexadecimal str."""
    keys, before = {}, ''
    for stage in stages:
        digest = hashlib.sha256(json.dumps([before, *map(str, stage.command)]).encode())
        for path in stage.inputs:
            digest.update(_digest(path))
        before = keys[stage.name] = digest.hexdigest()
    return keys


def _digest(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError as error:
        raise InputError(f'{path}: cannot read this input ({error.strerror})') from None


def _state(record, stage, keys):
    entry = record.get(stage.name)
    if entry is None:
        return 'unknown' if Path(stage.output).exists() else 'to do'
    if entry['key'] != keys[stage.name]:
        return 'stale'
    if not entry['done']:
        return 'going on'
    return 'done' if Path(stage.output).exists() else 'to do'


def _run(stage):
    code = subprocess.run([sys.executable, *map(str, stage.command)], cwd=ROOT).returncode
    if code:
        print(
            f'error: stage {stage.name} failed (exit code {code}); mend what it says and run the '
            'same command again',
            file=sys.stderr,
        )
        sys.exit(code if code in (1, 2) else 1)


def _remove(output):
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def _read_record(work_dir):
    try:
        return json.loads((work_dir / RECORD).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f'{work_dir / RECORD}: cannot read the record ({error})') from None


def _write_record(work_dir, record):
    with replacing(work_dir / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + '\n')

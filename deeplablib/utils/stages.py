"""A long piece of work as a row of commands: what is done is recorded and not done again."""

import hashlib
import itertools
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import locked, make_output_folder, replacing

ROOT = Path(__file__).parents[2]
RECORD = 'stages.json'
DONE, GOING_ON, TO_DO, STALE, UNKNOWN = 'done', 'going on', 'to do', 'stale', 'unknown'


@dataclass(frozen=True)
class ListedMasks:
    """The masks that a list stands for; list_file, masks: absolute paths."""

    list_file: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Stage:
    """One command.

    name: what the record and the messages call it. command: arguments for Python, such as
    ('main.py', '--option', 'train') or ('-m', 'selection.refine_masks').
    output: the file or folder that it makes. reads: files and folders that it reads; those that no
    earlier stage makes are inputs of the whole. All paths are absolute.
    listed: the masks that one of these files lists. They are inputs where no stage makes the list.
    work: what the command does, for those who plan by it; it is not recorded.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    reads: tuple[Path, ...] = ()
    listed: ListedMasks | None = None
    work: object = None


def run_stages(
    stages: Sequence[Stage], work_dir: str | Path, dry_run: bool = False, title: str | None = None
) -> list[Stage]:
    """Run the stages that are not done, in their order.

    A stage is done when the record holds it with its command, the state of its inputs, and the
    earlier stages that make what it reads. One that was stopped goes on from what it
    left; one that differs from the record is stale: what it left is set aside first, as
    NAME.stale-1 or the next number that is free. Nothing is ever removed.
    work_dir: folder of the record. dry_run: only say what would be done.
    title: what the run is; one folder is for runs of one title. None: not checked.
    Returns the stages that were not done before.
    Raises InputError when an input is missing (except in a dry run), an output exists that is not
    in the record, work_dir is of another title, or another process is at work in it; leaves the
    program with the stage's exit code when one fails.
    """
    work_dir = Path(work_dir)
    if dry_run:
        record = _read_record(work_dir, title)
        entries = stage_entries(stages)
        states = {stage.name: _state(record, stage, entries) for stage in stages}
        for stage in stages:
            print(f'# {stage.name}: {states[stage.name]}\n{command_line(stage)}')
        return [stage for stage in stages if states[stage.name] != DONE]

    make_output_folder(work_dir)
    with locked(work_dir) as lock:
        record = _read_record(work_dir, title)
        missing = [path for stage in stages for path in _given(stage, stages) if not path.exists()]
        raise_all([f'{path}: this input is not there' for path in dict.fromkeys(missing)])
        entries = stage_entries(stages)
        run = []
        for number, stage in enumerate(stages, 1):
            state = _state(record, stage, entries)
            print(f'[{number}/{len(stages)}] {stage.name}: {state}', flush=True)
            if state == DONE:
                continue
            if state == UNKNOWN:
                raise InputError(
                    f'{stage.output}: is there, but not in {work_dir / RECORD}; move it away'
                )
            if state.startswith(STALE):
                _set_aside(stage.output)
            started = time.monotonic()
            entry = record[stage.name] = entries[stage.name] | {'title': title, 'done': False}
            _write_record(work_dir, record)
            _run(stage, lock)
            entry |= {'done': True, 'seconds': round(time.monotonic() - started, 1)}
            _write_record(work_dir, record)
            run.append(stage)
    return run


def as_flags(**values: object) -> list[str]:
    """Flags as words of a command: as_flags(save_dir='a') is ['--save-dir', 'a']."""
    words = []
    for name, value in values.items():
        words += [f'--{name.replace("_", "-")}', str(value)]
    return words


def command_line(stage: Stage) -> str:
    """The command of a stage as one would type it in the project's folder."""
    return shlex.join(['python', *stage.command])


def stage_entries(stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
    """What the record holds of each stage: a dict from its name.

    An entry is a dict: `command`; `inputs`, from a path to the hash of what is there; `after`, from
    the name of each stage that makes what this one reads to the hash of its entry.
    """
    entries: dict[str, dict[str, Any]] = {}
    fingerprint = cache(_fingerprint)  # several stages read the same tags and masks
    for number, stage in enumerate(stages):
        before = [s for s in stages[:number] if any(_within(path, s) for path in stage.reads)]
        given = _given(stage, stages)
        inputs = {str(path): fingerprint(path) for path in given}
        if stage.listed is not None and stage.listed.list_file in given:
            masks = [(path.name, fingerprint(path)) for path in stage.listed.masks]
            inputs[f'a mask that {stage.listed.list_file} lists'] = _hash(str(masks))
        entries[stage.name] = {
            'command': list(stage.command),
            'inputs': inputs,
            'after': {s.name: _hash(json.dumps(entries[s.name])) for s in before},
        }
    return entries


def _within(path, stage):
    return stage.output == path or stage.output in path.parents


def _given(stage, others):
    """What a stage reads that no stage makes."""
    return [path for path in stage.reads if not any(_within(path, other) for other in others)]


def _fingerprint(path):
    """A hash of what a file, or the files of a folder, hold; None when it is not there.

    Hidden files do not count: what lists folders likes to leave them there.
    """
    try:
        if not path.is_dir():
            return _hash(path.read_bytes())
        files = [file for file in sorted(path.glob('[!.]*')) if file.is_file()]
        return _hash(str([(file.name, _hash(file.read_bytes())) for file in files]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f'{path}: cannot read this input ({error.strerror})') from None


def _hash(content):
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def _state(record, stage, entries):
    known, wanted = record.get(stage.name), entries[stage.name]
    if known is None:
        return UNKNOWN if stage.output.exists() else TO_DO
    if known['command'] != wanted['command']:
        return f'{STALE}, its command has changed'
    for kind in ('inputs', 'after'):
        names = known[kind].keys() | wanted[kind].keys()
        changed = sorted(n for n in names if known[kind].get(n) != wanted[kind].get(n))
        if changed:
            return f'{STALE}, {changed[0]} has changed'
    if not known['done']:
        return GOING_ON
    return DONE if stage.output.exists() else TO_DO


def _run(stage, lock):
    # A stage holds the lock too: should this process be killed, it is still at work in the folder.
    command = [sys.executable, *stage.command]
    code = subprocess.run(command, cwd=ROOT, pass_fds=[lock]).returncode
    if code:
        print(
            f'error: stage {stage.name} failed (exit code {code}); correct what it says and run '
            'the same command again',
            file=sys.stderr,
        )
        sys.exit(code if code in (1, 2) else 1)


def _set_aside(output):
    # Removing could take away a training of days, and when stopped leave half of it as if done.
    if output.exists():
        names = (output.with_name(f'{output.name}.stale-{n}') for n in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        output.rename(aside)
        print(f'  what was there is now {aside}; remove it when you no longer need it')


def _read_record(work_dir, title):
    path = work_dir / RECORD
    try:
        record = json.loads(path.read_text())
        titles = {entry['title'] for entry in record.values()} - {title}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise InputError(
            f'{path}: cannot read the record ({error}); choose another folder'
        ) from None
    if titles:
        raise InputError(
            f'{work_dir}: holds a run of {titles.pop()}, this one is {title}; choose another folder'
        )
    return record


def _write_record(work_dir, record):
    with replacing(work_dir / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + '\n')

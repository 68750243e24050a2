"""A long piece of work as a row of commands: what is done is recorded and not done again."""

import hashlib
import itertools
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deeplablib.utils.errors import InputError, Terminated, raise_all
from deeplablib.utils.files import locked, make_output_folder, replacing

ROOT = Path(__file__).parents[2]
RECORD = 'stages.json'
DONE, GOING_ON, TO_DO, STALE, UNKNOWN = 'done', 'going on', 'to do', 'stale', 'unknown'


@dataclass(frozen=True)
class Stage:
    """One command, called after its output.

    command: arguments for Python, such as ('main.py', '--option', 'train') or ('-m',
    'selection.refine_masks'). output: the file or folder that it makes, in the folder of the whole.
    reads: files and folders that it reads; those that no earlier stage makes are inputs of the
    whole. All paths are absolute.
    """

    command: tuple[str, ...]
    output: Path
    reads: tuple[Path, ...] = ()


def make_stage(
    script: str,
    flags: Mapping[str, object],
    output: str,
    words: Sequence[str] = (),
    reads: Sequence[Path] = (),
) -> Stage:
    """The stage that runs a script, or a module, with flags.

    flags: dict from name to value; what is a Path, or a tuple of Path, is what the command reads,
    or in its output. output: the name of the flag that names the output.
    words: further flags, as they were typed. reads: what no flag names.
    """
    out = Path(str(flags[output]))
    given = [
        v for value in flags.values() for v in (value if isinstance(value, tuple) else [value])
    ]
    paths = [_on_disk(path) for path in given if isinstance(path, Path)]
    read = [path for path in paths if path != out and out not in path.parents]
    start = (script,) if script.endswith('.py') else ('-m', script)
    dash = '_' if script == 'main.py' else '-'
    return Stage((*start, *flag_words(flags, dash), *words), out, (*read, *reads))


def flag_words(flags: Mapping[str, object], dash: str = '_') -> list[str]:
    """Flags as words of a command line; those that are None are left out.

    dash: between the words of a name. With '_', the flags of main.py, False is --noNAME; with
    '-', it is left out.
    """
    words: list[str] = []
    for name, value in flags.items():
        flag = f'--{name.replace("_", dash)}'
        if value is True:
            words.append(flag)
        elif value is False:
            words += [f'--no{name}'] if dash == '_' else []
        elif value is not None:
            words += [flag, *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def _on_disk(path):
    """The file that a change of a checkpoint shows in: its index holds checksums."""
    index = path.with_name(f'{path.name}.index')
    return index if index.exists() else path


def run_stages(
    stages: Sequence[Stage], work_dir: Path, dry_run: bool = False, title: str | None = None
) -> list[str]:
    """Run the stages that are not done, in their order.

    A stage is done when the record holds it with its command, the state of its inputs, and the
    earlier stages that make what it reads. One that was stopped goes on from what it
    left; one that differs from the record is stale: what it left is set aside first, as
    NAME.stale-1 or the next number that is free. Nothing is ever removed.
    work_dir: absolute folder of the record. dry_run: only say what would be done.
    title: what the run is; one folder is for runs of one title. None: not checked.
    Returns the names of the stages that were not done before.
    Raises InputError when an input is missing (except in a dry run), an output exists that is not
    in the record, work_dir is of another title, or another process is at work in it; leaves the
    program with the stage's exit code when one fails or is stopped.
    """
    named = {str(stage.output.relative_to(work_dir)): stage for stage in stages}
    if dry_run:
        record, entries = _read_record(work_dir, title), stage_entries(named)
        states = {name: _state(record, name, stage, entries) for name, stage in named.items()}
        for name, stage in named.items():
            print(f'# {name}: {states[name]}\n{shlex.join(["python", *stage.command])}')
        return [name for name in named if states[name] != DONE]

    make_output_folder(work_dir)
    with locked(work_dir) as lock:
        record = _read_record(work_dir, title)
        missing = [path for stage in stages for path in _given(stage, stages) if not path.exists()]
        raise_all([f'{path}: this input is not there' for path in dict.fromkeys(missing)])
        entries = stage_entries(named)
        run = []
        for number, (name, stage) in enumerate(named.items(), 1):
            state = _state(record, name, stage, entries)
            print(f'[{number}/{len(named)}] {name}: {state}', flush=True)
            if state == DONE:
                continue
            if state == UNKNOWN:
                raise InputError(
                    f'{stage.output}: is there, but not in {work_dir / RECORD}; move it away'
                )
            if state.startswith(STALE):
                _set_aside(stage.output)
            started = time.monotonic()
            entry = record[name] = entries[name] | {'title': title, 'done': False}
            _write_record(work_dir, record)
            _run(name, stage, lock)
            entry |= {'done': True, 'seconds': round(time.monotonic() - started, 1)}
            _write_record(work_dir, record)
            run.append(name)
    return run


def stage_entries(stages: Mapping[str, Stage]) -> dict[str, dict[str, Any]]:
    """What the record holds of each stage: a dict from its name.

    An entry is a dict: `command`; `inputs`, from a path to the hash of what is there; `after`, from
    the name of each stage that makes what this one reads to the hash of its entry.
    """
    entries: dict[str, dict[str, Any]] = {}
    fingerprint = cache(_fingerprint)  # several stages read the same tags and masks
    for name, stage in stages.items():
        before = [n for n in entries if any(_within(path, stages[n]) for path in stage.reads)]
        given = _given(stage, list(stages.values()))
        entries[name] = {
            'command': list(stage.command),
            'inputs': {str(path): fingerprint(path) for path in given},
            'after': {n: _hash(json.dumps(entries[n])) for n in before},
        }
    return entries


def _within(path, stage):
    return stage.output == path or stage.output in path.parents


def _given(stage, others):
    """What a stage reads that no stage makes."""
    return [path for path in stage.reads if not any(_within(path, other) for other in others)]


def _fingerprint(path):
    """A hash of what a file, or the files of a folder, hold; None when it is not there.

    Those of the folders in a folder count too: tags may have a folder for each class. Hidden ones
    do not: what lists folders likes to leave them there.
    """
    try:
        if not path.is_dir():
            return _hash(path.read_bytes())
        files = [*path.glob('[!.]*'), *path.glob('[!.]*/[!.]*')]
        hashes = [(str(f.relative_to(path)), _hash(f.read_bytes())) for f in files if f.is_file()]
        return _hash(str(sorted(hashes)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f'{path}: cannot read this input ({error.strerror})') from None


def _hash(content):
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def _state(record, name, stage, entries):
    known, wanted = record.get(name), entries[name]
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


def _run(name, stage, lock):
    # A stage holds the lock too: should this process be killed, it is still at work in the folder.
    process = subprocess.Popen([sys.executable, *stage.command], cwd=ROOT, pass_fds=[lock])
    try:
        code = process.wait()
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):  # Ctrl-C reaches the stage by itself
            process.terminate()
        process.wait()  # it may have something to save
        raise type(stop)(f'stage {name} was stopped; the same command goes on from here') from None
    if code:
        print(
            f'error: stage {name} failed (exit code {code}); correct what it says and run '
            'the same command again',
            file=sys.stderr,
        )
        sys.exit(code if code in (1, 2, 130, 143) else 1)  # of a stage that was stopped by itself


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

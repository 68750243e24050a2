"""What a training run was set to: settings.json beside its checkpoints.

It tells a run that goes on with other settings from one that goes on as it was, and what the
classes of its checkpoints are called.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from deeplablib.data.classes import default_classes
from deeplablib.data.image_lists import Sample
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import replacing
from deeplablib.weights import checkpoints

FILE = 'settings.json'
FLAGFILE = 'flags.txt'  # in the form that --flagfile takes
# Settings that older records lack, and what they were then.
LATER_SETTINGS = {'frozen': 0}
_PACKAGES = ('tensorflow', 'keras', 'numpy')


def make_settings(result: dict, classes: tuple, all_flags: dict) -> dict:
    """What settings.json is to hold.

    result: all that changes the weights in the end, name to a value of JSON. classes: names.
    all_flags: every flag, name to value.
    """
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return {
        'result': result | {'classes': list(classes)},
        'flags': all_flags,
        'versions': {'python': platform.python_version(), **versions},
        'resumed': [],
    }


def list_fingerprint(samples: Sequence[Sample], data_dir: str | Path) -> str:
    """How many samples a list has, and a hash of their paths from the data directory on, in order.

    samples: a mask that there is not is left out.
    """
    paths = [
        path.relative_to(data_dir).as_posix() for s in samples for path in (s.image, s.mask) if path
    ]
    digest = hashlib.sha256('\n'.join(paths).encode(errors='surrogateescape')).hexdigest()
    return f'{len(samples)} samples, sha256 {digest}'


def checkpoint_fingerprint(path: str) -> str | None:
    """The name of a checkpoint and a hash that tells it from others; None when it is not there.

    path: as for checkpoints.find. Of the two files of a V2 checkpoint the index is taken, which
    holds checksums of the other.
    """
    try:
        file = Path(checkpoints.find(path))
    except InputError:
        return None
    index = file.with_name(f'{file.name}.index')
    content = (index if index.exists() else file).read_bytes()
    return f'{file.name}, sha256 {hashlib.sha256(content).hexdigest()}'


def check_resume(
    folder: str | Path,
    wanted: dict,
    changed_is_meant: bool,
    flags: tuple[str, str] = ('--modeldir', '--resume_changed'),
) -> dict:
    """Compare the settings that a run goes on with to those that it had.

    folder: of the checkpoints. wanted: from make_settings. changed_is_meant: let them differ.
    flags: of the command that name the folder, and say that.
    Returns what is to be written now: wanted, with the changes so far. Prints a note where there is
    nothing to compare with, and where another version of a package goes on.
    Raises InputError when they differ, with both values of each, and when the file is damaged.
    """
    known = read_settings(folder)
    if known is None:
        print(f'note: {folder} holds checkpoints but no {FILE}; nothing tells whether they fit')
        return wanted
    before, now = known['result'], wanted['result']
    for name in LATER_SETTINGS.keys() & now.keys():
        before = {name: LATER_SETTINGS[name]} | before
    if now['pretrain_file'] is None:  # gone since: it is not read again
        now = now | {'pretrain_file': before.get('pretrain_file')}
    changes = {
        name: [before.get(name), now.get(name)]
        for name in before | now
        if before.get(name) != now.get(name)
    }
    if changes and not changed_is_meant:
        values = '; '.join(
            f'{name} {_text(old)} there, {_text(new)} here' for name, (old, new) in changes.items()
        )
        raise InputError(
            f'{folder}: holds a run with other settings: {values}; give this one a {flags[0]} of '
            f'its own, or {flags[1]} to go on from there with these'
        )
    other = [
        f'{name} {known["versions"].get(name)}, now {version}'
        for name, version in wanted['versions'].items()
        if known['versions'].get(name) != version
    ]
    if other:
        print(f'note: this run began with {"; ".join(other)}: the last digits may differ')
    resumed = known['resumed'] + ([changes] if changes else [])
    return wanted | {'result': now, 'resumed': resumed}


def write_settings(folder: str | Path, settings: dict, flagfile: str | None = None) -> None:
    """Write settings.json, and the flags in the form that --flagfile takes, each whole or not.

    settings: from make_settings or check_resume. flagfile: None for a command without --flagfile.
    """
    texts = {FILE: json.dumps(settings, indent=2) + '\n'}
    if flagfile is not None:
        texts[FLAGFILE] = flagfile
    for name, text in texts.items():
        with replacing(Path(folder) / name) as temporary:
            temporary.write_text(text, errors='surrogateescape')  # a path may not be UTF-8


def read_settings(folder: str | Path) -> dict | None:
    """The settings.json of a folder, or None when there is none.

    Raises InputError when it is damaged.
    """
    path = Path(folder) / FILE
    try:
        settings = json.loads(path.read_text())
        if all(isinstance(settings[key], dict) for key in ('result', 'versions')):
            settings['result']['classes'] = list(map(str, settings['result']['classes']))
            settings['resumed'] = list(settings['resumed'])
            return settings
        reason = 'not what a run writes'
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error)
    raise InputError(
        f'{path}: cannot be read ({reason}); restore it, or remove it to go on without'
    )


def classes_of(prefix: str | Path, num_classes: int) -> tuple[str, ...]:
    """What the classes of a checkpoint are called: by settings.json beside it, or by default.

    prefix: of the checkpoint, or its folder. num_classes: that it has.
    Raises InputError when settings.json is damaged.
    """
    prefix = Path(prefix)
    settings = read_settings(prefix if prefix.is_dir() else prefix.parent)
    if settings and len(settings['result']['classes']) == num_classes:
        return tuple(settings['result']['classes'])
    return default_classes(num_classes)


def note_changes(prefix: str | Path, **here: Any) -> None:
    """Print a note of each setting that a checkpoint was trained with and a command has otherwise.

    prefix: of the checkpoint. here: from a name in the `result` of settings.json to the value of
    the command. Raises InputError when settings.json is damaged.
    """
    settings = read_settings(Path(prefix).parent)
    known = settings['result'] if settings else {}
    for name, value in here.items():
        if known.get(name, value) != value:
            print(
                f'note: {prefix} was trained with {name} {_text(known[name])}; here it is '
                f'{_text(value)}'
            )


def _text(value):
    """A value as a user sees it: a long one is cut."""
    text = ', '.join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f'{text[:57]}...'

"""settings.json beside the checkpoints of a run: what it was set to, and its classes' names.

It tells a run that goes on with other settings from one that goes on as it was.
"""

import hashlib
import json
import platform
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from deeplablib.data.classes import default_classes
from deeplablib.data.image_lists import Sample
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import replacing
from deeplablib.weights import checkpoints

FILE = 'settings.json'
_PACKAGES = ('tensorflow', 'keras', 'numpy')


def make_settings(
    flags: Mapping[str, Any],
    result_flags: Collection[str],
    samples: Sequence[Sample],
    classes: Sequence[str],
    **more: Any,
) -> dict:
    """What settings.json is to hold of a run.

    flags: name to value, data_dir and pretrain_file among them. result_flags: names of those that
    change the weights in the end. samples: of the list. classes: their names. more: what else
    changes the weights.
    """
    pretrained = flags['pretrain_file']
    result = {name: flags[name] for name in result_flags} | more
    result['data_list'] = list_fingerprint(samples, flags['data_dir'])
    result['pretrain_file'] = checkpoint_fingerprint(pretrained) if pretrained else ''
    result['classes'] = list(classes)
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return {
        'result': result,
        'flags': dict(flags),
        'versions': {'python': platform.python_version(), **versions},
        'resumed': [],
    }


def list_fingerprint(samples: Sequence[Sample], data_dir: str | Path) -> str:
    """How many samples a list has, and a hash of their paths from the data directory on, in order.

    samples: a mask that there is not is left out.
    """
    paths = [path for s in samples for path in (s.image, s.mask) if path]
    names = [p.relative_to(data_dir) if p.is_relative_to(data_dir) else p for p in paths]
    text = '\n'.join(name.as_posix() for name in names)
    digest = hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()
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


def check_resume(folder: str | Path, wanted: dict, changed_is_meant: bool) -> dict:
    """Compare the settings that a run goes on with to those that it had.

    folder: of the checkpoints. wanted: from make_settings. changed_is_meant: let them differ.
    Returns what is to be written now: wanted, with the changes so far. Prints a note where there is
    nothing to compare with, and where another version of a package goes on.
    Raises InputError when they differ, with both values of each, and when the file is damaged.
    """
    known = read_settings(folder)
    if known is None:
        print(f'note: {folder} holds checkpoints but no {FILE}; nothing tells whether they fit')
        return wanted
    before, now = known['result'], wanted['result']
    if now['pretrain_file'] is None:  # gone since: it is not read again
        now = now | {'pretrain_file': before.get('pretrain_file')}
    changes = {
        name: [before.get(name), value] for name, value in now.items() if before.get(name) != value
    }
    if changes and not changed_is_meant:
        values = '; '.join(
            f'{name} {_text(old)} there, {_text(new)} here' for name, (old, new) in changes.items()
        )
        raise InputError(
            f'{folder}: holds a run with other settings: {values}; give this one a folder of its '
            'own, or --resume_changed to go on from there with these'
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


def write_settings(folder: str | Path, settings: dict) -> None:
    """Write settings.json, whole or not; settings: from make_settings or check_resume."""
    with replacing(Path(folder) / FILE) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + '\n', errors='surrogateescape')


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

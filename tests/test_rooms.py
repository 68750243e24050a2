"""The house: imports point one way, and the documents name what is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.command import ROOT

# From the bottom up: a module imports from its own room and from the floors below.
FLOORS = (
    ('deeplablib/utils',),
    ('deeplablib/data',),
    ('deeplablib/network',),
    ('deeplablib/weights',),
    ('deeplablib/prediction',),
    ('deeplablib/training',),
    ('deeplab_resnet', 'deeplab_vgg', 'deeplab_efficientnet'),
    ('selection',),
    ('experiments',),
    ('.',),  # the scripts
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = [
    path.relative_to(ROOT)
    for room in FLOOR
    for path in sorted((ROOT / room).glob('*.py' if room == '.' else '**/*.py'))
]
DOCUMENTS = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])
PACKAGES = (
    'deeplablib|deeplab_resnet|deeplab_vgg|deeplab_efficientnet|selection|experiments|tests|docs'
)
# What else the documents name: an original script, what our commands write, a program.
OTHERS = {'main_msc.py', 'table.md', 'result/benchmark.md', 'dask'}


def room_of(path):
    """The room of a file; what lies in a folder of a room is of that room."""
    return next(str(parent) for parent in path.parents if str(parent) in FLOOR)


def file_of(name):
    """The file of a module, from the project's folder, or None when it is no module of ours."""
    place = Path(name.replace('.', '/'))
    files = (place.with_suffix('.py'), place / '__init__.py')
    return next((file for file in files if (ROOT / file).is_file()), None)


def imports_of(path):
    """The files of this project that a module imports."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return {file_of(name) for name in names} - {None}


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_imports_point_down(path):
    here = room_of(path)
    rooms = {file: room_of(file) for file in imports_of(path)}
    wrong = {f: room for f, room in rooms.items() if room != here and FLOOR[room] >= FLOOR[here]}
    assert not wrong


def test_every_module_of_deeplablib_is_in_a_room():
    assert [path.name for path in (ROOT / 'deeplablib').glob('*.py')] == ['__init__.py']


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_is_there(document):
    text = document.read_text()
    folders = (ROOT, document.parent)
    files = set(re.findall(r'[\w./-]+\.(?:py|md)\b', text)) - OTHERS
    lost = {file for file in files if not any((folder / file).is_file() for folder in folders)}
    rooms = re.findall(rf'\b(?:{PACKAGES})/(?:\w+/)*', text)
    lost |= {room for room in rooms if not (ROOT / room).is_dir()}
    modules = re.findall(rf'python -m ([\w.]*\w)|`((?:{PACKAGES})\.[\w.]*\w)', text)
    modules = {started or named for started, named in modules} - OTHERS
    lost |= {module for module in modules if file_of(module) is None}
    assert not lost


def without_hints(node, owner=''):
    """The public functions below a node of a syntax tree that lack the type of something."""
    for child in ast.iter_child_nodes(node):
        name = getattr(child, 'name', '_')
        if isinstance(child, ast.ClassDef) and not name.startswith('_'):
            yield from without_hints(child, f'{name}.')
        elif isinstance(child, ast.FunctionDef) and (name == '__init__' or name[0] != '_'):
            arguments = (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)
            hinted = all(a.annotation or a.arg in ('self', 'cls') for a in arguments)
            if not (hinted and (child.returns or name == '__init__')):
                yield f'{owner}{name}'


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_public_functions_have_type_hints(path):
    assert list(without_hints(ast.parse((ROOT / path).read_text()))) == []

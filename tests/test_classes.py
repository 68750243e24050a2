import argparse

import pytest

from deeplablib.data.classes import add_classes, class_ids, default_classes, read_classes
from deeplablib.data.voc import CLASSES
from deeplablib.utils.errors import InputError

NAMES = ('background', 'apple', 'traffic light')


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_bytes(b'\xef\xbb\xbfbackground\r\n\napple \ntraffic light')
    return path


def test_a_class_file_gives_names_by_their_id(file):
    assert read_classes(file) == NAMES


def test_the_first_lines_of_labelme_are_no_class_and_the_background(tmp_path, capsys):
    (tmp_path / 'labels.txt').write_text('__ignore__\n_background_\ncup\nplate\n')
    assert read_classes(tmp_path / 'labels.txt') == ('background', 'cup', 'plate')
    assert capsys.readouterr().out == ''


def test_names_without_a_background_are_noted(tmp_path, capsys):
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    assert read_classes(tmp_path / 'classes.txt') == ('cat', 'dog')
    assert 'class 0 is cat; where there is a background' in capsys.readouterr().out


def test_the_flag_gives_names_and_without_it_those_of_voc(file):
    parser = argparse.ArgumentParser()
    add_classes(parser)
    assert parser.parse_args(['--classes', str(file)]).classes == NAMES
    assert parser.parse_args([]).classes == CLASSES


def test_only_21_classes_have_names_when_none_are_given():
    assert default_classes(21) == CLASSES
    assert default_classes(3) == ('class 0', 'class 1', 'class 2')


@pytest.mark.parametrize(
    'text, message',
    [
        ('\n'.join(f'c{i}' for i in range(300)), '300 classes; expected 2 to 255'),
        ('background\n', '1 classes; expected 2 to 255'),
        ('background\ncat\ncat\n', 'line 3: cat is there already, line 2'),
        ('background\n7\n', "line 2: '7' is no name of a class"),
        ('background\ncat, dog\n', "line 2: 'cat, dog' is no name of a class"),
        ('train: ../images\nnc: 2\nnames: [cat, dog]\n', "line 3: 'names: .* is no name"),
        ('background\ncaf\xe9\n'.encode('latin1'), 'line 2: .*is no name of a class'),
        (b'background\0cat', 'not a text file'),
        (None, 'cannot read the classes'),
    ],
)
def test_a_bad_class_file_is_named(tmp_path, text, message):
    path = tmp_path / 'classes.txt'
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as error:
        read_classes(path)
    assert str(path) in str(error.value)


def test_255_classes_are_allowed(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(f'c{i}' for i in range(255)))
    assert len(read_classes(path)) == 255


def test_tags_are_names_or_ids():
    assert class_ids(['Traffic_Light', '1', 'apple'], NAMES) == ((1, 2), [])
    assert class_ids(['pear', '0', '3', 'background'], NAMES) == (
        (),
        ['pear', '0', '3', 'background'],
    )

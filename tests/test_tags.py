import numpy as np
import pytest
from PIL import Image

from deeplablib.data.tags import read_tags, tags_of_annotation
from deeplablib.utils.errors import InputError
from selection.make_tags import tags_of_mask
from tests.command import refused, run_command

XML = '<annotation><object><name>{}</name></object><object><name>cat</name></object></annotation>'


def test_tags_come_from_annotations_or_masks(tmp_path):
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations/a.xml').write_text(XML.format('aeroplane'))
    arguments = ('--annotations', tmp_path / 'Annotations', '--jobs', '1')
    assert run_command('selection.make_tags', *arguments, '--out', tmp_path / 'tags.txt').code == 0
    assert read_tags(tmp_path / 'tags.txt') == {'a': (1, 8)}
    (tmp_path / 'masks').mkdir()
    Image.fromarray(np.array([[0, 8, 1, 255]], np.uint8)).save(tmp_path / 'masks/a.png')
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / 'masks/b.PNG')
    (tmp_path / 'masks/c.gif').touch()
    arguments = ('--masks', tmp_path / 'masks', '--jobs', '1', '--out', tmp_path / 'folder')
    result = run_command('selection.make_tags', *arguments)
    assert f'note: 1 files are no *.png, and are left out: {tmp_path}/masks/c.gif' in result.out
    assert read_tags(tmp_path / 'folder') == {'a': (1, 8), 'b': ()}
    (tmp_path / 'list.txt').write_text('b\n')
    run_command(
        'selection.make_tags',
        *arguments[:-1],
        tmp_path / 'tags.txt',
        '--data-list',
        tmp_path / 'list.txt',
    )
    assert read_tags(tmp_path / 'tags.txt') == {'b': ()}
    assert tags_of_mask(np.array([[255, 20]], np.uint8)) == (20,)


@pytest.mark.parametrize(
    'text, message',
    [
        (XML.format('unicorn'), "a.xml: 'unicorn' is no class (1 to 20: aeroplane, "),
        ('<annotation>', 'a.xml: not an XML file'),
        (None, 'no files *.xml in this folder'),
    ],
)
def test_bad_annotations_are_named(tmp_path, text, message):
    if text:
        (tmp_path / 'a.xml').write_text(text)
    result = run_command('selection.make_tags', '--annotations', tmp_path, '--jobs', '1')
    refused(result, message)


NAMES = ('background', 'apple', 'traffic light', 'pear')
EXPECTED = {'a': (1, 3), 'b.v2': (), 'c': (2,)}


def write_text(path):
    path.write_text('JPEGImages/a.jpg apple 3\nb.v2\nc traffic_light\n')


def write_commas(path):
    path.write_text('a.jpg, Apple, pear\nb.v2,\nc, traffic light\n')


def write_csv(path):
    path.write_text('name,tags\na.jpg,apple;pear\nb.v2,\nc,traffic light\n')


def write_csv_of_rows(path):
    path.write_text('\ufeffImage,class\r\na,apple\r\na,pear\r\n\r\nb.v2,\r\nc,2\r\n', 'utf-8')


def write_csv_of_classes(path):
    path.write_text('filename,pear,apple,traffic light\na.png,1,1,0\nb.v2,0,0,0\nc,,,1\n')


def write_files(path):
    path.mkdir()
    for name, tags in {'a': 'apple\n3\n', 'b.v2': '', 'c': 'traffic light'}.items():
        (path / f'{name}.txt').write_text(tags)


@pytest.mark.parametrize(
    'name, write',
    [
        ('tags.txt', write_text),
        ('tags.txt', write_commas),
        ('tags.csv', write_csv),
        ('tags.csv', write_csv_of_rows),
        ('tags.csv', write_csv_of_classes),
        ('tags', write_files),
    ],
)
def test_tags_are_read_in_every_form(tmp_path, name, write):
    write(tmp_path / name)
    assert read_tags(tmp_path / name, NAMES) == EXPECTED


def test_a_folder_for_each_class_holds_the_images_that_show_it(tmp_path):
    for file in ('apple/a.jpg', 'pear/a.jpg', 'traffic_light/c.png', '.git/x', 'apple/._a.jpg'):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert read_tags(tmp_path, NAMES) == {'a': (1, 3), 'c': (2,)}
    (tmp_path / 'plum').mkdir()
    with pytest.raises(InputError, match='plum is no class .1 to 3: apple, traffic light, pear'):
        read_tags(tmp_path, NAMES)


@pytest.mark.parametrize(
    'name, text, message',
    [
        ('a.csv', 'a,apple\nb,pear\n', 'first line must name the columns, .* it is "a,apple"'),
        ('a.csv', '', 'first line must name the columns'),
        ('a.csv', 'name,apple,plum\na,1,0\n', 'column plum is no class'),
        ('a.csv', 'name,apple,pear\na,1,2\n', 'row 2: expected 0 or 1 in each of 2 columns'),
        ('a.csv', 'name,apple,pear\na,1\n', 'row 2: expected 0 or 1 in each of 2 columns'),
        ('a.csv', 'name,tags\na,plum\n', 'row 2: plum is no class'),
        ('a.txt', 'a 1\nb plum 9\n', '2 faults:\n.*line 2: plum is no class.*\n.*2: 9 is no'),
        ('a.txt', 'a background\n', 'line 1: background is no class'),
    ],
)
def test_bad_tags_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_tags(tmp_path / name, NAMES)


def test_annotations_may_have_classes_of_their_own(tmp_path):
    (tmp_path / 'a.xml').write_text(XML.format('traffic light').replace('cat', 'pear'))
    assert tags_of_annotation(tmp_path / 'a.xml', NAMES) == (2, 3)


def test_a_csv_file_with_an_open_quotation_mark_is_named_as_such(tmp_path):
    path = tmp_path / 'tags.csv'
    path.write_text('name,tags\na,"dog\n' + 'b,cat\n' * 30000)
    with pytest.raises(InputError, match='not a CSV file'):
        read_tags(path, ('background', 'dog', 'cat'))

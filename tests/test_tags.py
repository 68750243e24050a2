import numpy as np
import pytest
from PIL import Image

from deeplablib.data.tags import read_tags
from selection.tags import tags_of_mask
from tests.command import run_command

XML = '<annotation><object><name>{}</name></object><object><name>cat</name></object></annotation>'


def test_tags_come_from_annotations_or_masks(tmp_path):
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations/a.xml').write_text(XML.format('aeroplane'))
    arguments = ('--annotations', tmp_path / 'Annotations', '--jobs', '1')
    assert run_command('selection.tags', *arguments, '--out', tmp_path / 'tags.txt').code == 0
    assert read_tags(tmp_path / 'tags.txt') == {'a': (1, 8)}
    (tmp_path / 'masks').mkdir()
    Image.fromarray(np.array([[0, 8, 1, 255]], np.uint8)).save(tmp_path / 'masks/a.png')
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / 'masks/b.png')
    arguments = ('--masks', tmp_path / 'masks', '--jobs', '1', '--out', tmp_path / 'folder')
    assert run_command('selection.tags', *arguments).code == 0
    assert read_tags(tmp_path / 'folder') == {'a': (1, 8), 'b': ()}
    (tmp_path / 'list.txt').write_text('b\n')
    run_command(
        'selection.tags',
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
        (XML.format('unicorn'), "a.xml: 'unicorn' is no VOC class"),
        ('<annotation>', 'a.xml: not an XML file'),
        (None, 'no files *.xml in this folder'),
    ],
)
def test_bad_annotations_are_named(tmp_path, text, message):
    if text:
        (tmp_path / 'a.xml').write_text(text)
    result = run_command('selection.tags', '--annotations', tmp_path, '--jobs', '1')
    assert result.code == 2
    assert message in result.error and 'Traceback' not in result.error

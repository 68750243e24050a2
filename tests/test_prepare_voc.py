import re
import shutil

import numpy as np
import pytest
from PIL import Image

from deeplablib.data import prepare_voc
from deeplablib.data.image_lists import read_list
from deeplablib.data.masks import read_mask
from deeplablib.data.tags import read_tags
from deeplablib.data.voc import CLASSES, colour_map
from tests.command import refused, run_command

TRAIN = ['2007_000001', '2008_000007', '2011_000003']
VAL = ['2007_000002', '2009_000001']
TEST = ['2010_000009']


def write_masks(folder, names, mode='P'):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        labels = np.full((9, 12), number % 21, np.uint8)
        labels[0] = 255
        mask = Image.fromarray(labels)
        if mode == 'P':
            mask.putpalette(colour_map().tobytes())
        if mode == 'RGB':
            mask = Image.fromarray(colour_map()[labels])
        mask.save(folder / f'{name}.png')


@pytest.fixture
def devkit(tmp_path, monkeypatch):
    """A VOCdevkit in small: what the archives and the augmented masks unpack to."""
    monkeypatch.setattr(prepare_voc, 'COUNTS', {'train': 3, 'val': 2, 'test': 1})
    voc = tmp_path / 'VOCdevkit' / 'VOC2012'
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Segmentation'):
        (voc / folder).mkdir(parents=True)
    for number, name in enumerate([*TRAIN, *VAL, *TEST]):
        Image.new('RGB', (12, 9)).save(voc / f'JPEGImages/{name}.jpg')
        objects = ''.join(f'<object><name>{CLASSES[i]}</name></object>' for i in (15, number + 1))
        (voc / f'Annotations/{name}.xml').write_text(f'<annotation>{objects}</annotation>')
    for split, names in (('val', VAL[::-1]), ('test', TEST)):
        (voc / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(names) + '\n')
    write_masks(voc / 'SegmentationClassAug', [*TRAIN, *VAL])
    return tmp_path / 'VOCdevkit'


def prepare(devkit, *options):
    return run_command(
        'deeplablib.data.prepare_voc', devkit, '--out', devkit.parent / 'dataset', *options
    )


def names_of(devkit, split):
    voc = devkit / 'VOC2012'
    return [sample.name for sample in read_list(devkit.parent / f'dataset/{split}.txt', voc)]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('given', ['.', 'VOC2012', '..'])
def test_voc_is_found_and_its_lists_are_written(devkit, given):
    result = run_command(
        'deeplablib.data.prepare_voc', devkit / given, '--out', devkit.parent / 'dataset'
    )
    assert result.code == 0, result.error
    assert names_of(devkit, 'train') == TRAIN
    assert names_of(devkit, 'val') == VAL, 'sorted'
    assert names_of(devkit, 'test') == TEST
    line = (devkit.parent / 'dataset/val.txt').read_text().splitlines()[0]
    assert line == '/JPEGImages/2007_000002.jpg /SegmentationClassAug/2007_000002.png'
    tags = read_tags(devkit.parent / 'dataset/tags.txt')
    assert tags == {'2007_000001': (1, 15), '2008_000007': (2, 15), '2011_000003': (3, 15)}
    assert 'train.txt: 3 images, complete' in result.out
    assert 'Every image and mask of train.txt and val.txt is there and fits.' in result.out


@pytest.mark.parametrize('mode', ['P', 'RGB'])
def test_a_second_run_changes_nothing(devkit, mode):
    write_masks(devkit / 'VOC2012/SegmentationClassAug', [*TRAIN, *VAL], mode)
    prepare(devkit)
    folder = devkit.parent / 'dataset'
    before = contents(folder)
    assert prepare(devkit).code == 0
    assert contents(folder) == before


def test_masks_may_lie_elsewhere(devkit):
    elsewhere = devkit.parent / 'masks' / 'SegmentationClassAug'
    elsewhere.parent.mkdir()
    (devkit / 'VOC2012/SegmentationClassAug').rename(elsewhere)
    for given in (elsewhere, elsewhere.parent):
        assert prepare(devkit, '--masks', given).code == 0
        assert names_of(devkit, 'train') == TRAIN


def masks_in_inner_folders(voc):
    (voc / 'SegmentationClassAug').rename(voc / 'inner')
    (voc / 'SegmentationClassAug/content').mkdir(parents=True)
    (voc / 'inner').rename(voc / 'SegmentationClassAug/content/SegmentationClassAug')


def val_list_in_utf_16(voc):
    lines = '\r\n'.join(VAL).encode('utf-16')  # with a byte order mark
    (voc / 'ImageSets/Segmentation/val.txt').write_bytes(lines)


def endings_in_capitals(voc):
    for path in [*voc.rglob('*.jpg'), *voc.rglob('*.png')]:
        path.rename(path.with_suffix(path.suffix.upper()))


@pytest.mark.parametrize(
    'change', [masks_in_inner_folders, val_list_in_utf_16, endings_in_capitals]
)
def test_a_copy_in_another_form_is_taken(devkit, change):
    change(devkit / 'VOC2012')
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert names_of(devkit, 'train') == TRAIN and names_of(devkit, 'val') == VAL


def test_voc_is_found_three_folders_down(devkit):
    (devkit.parent / 'data/archive').mkdir(parents=True)
    devkit.rename(devkit.parent / 'data/archive/VOCtrainval_11-May-2012')
    result = run_command(
        'deeplablib.data.prepare_voc', devkit.parent / 'data', '--out', devkit.parent / 'dataset'
    )
    assert result.code == 0, result.error


def test_what_macos_leaves_beside_files_does_not_count(devkit):
    voc = devkit / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClassAug', 'Annotations'):
        for path in list((voc / folder).iterdir()):
            (path.parent / f'._{path.name}').write_bytes(b'\0\5\x16\7')
        (voc / folder / '.DS_Store').write_bytes(b'\0')
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert names_of(devkit, 'train') == TRAIN


def test_where_masks_were_looked_for_is_said_and_no_tags_are_not_complete(devkit):
    shutil.rmtree(devkit / 'VOC2012/SegmentationClassAug')
    result = prepare(devkit)
    where = f'in {devkit}/VOC2012, {devkit}, '
    assert (
        f'no masks in SegmentationClassAug or SegmentationClass, or folders of these, {where}'
        in (result.out)
    )
    assert 'tags of 0 images, train.txt names no image yet' in result.out


@pytest.fixture
def rgb_masks(devkit):
    """VOC's own masks, saved as colours, in place of the augmented ones."""
    folder = devkit / 'VOC2012/SegmentationClass'
    shutil.rmtree(devkit / 'VOC2012/SegmentationClassAug')
    write_masks(folder, [*TRAIN, *VAL], 'RGB')
    return folder


def labels_of(devkit, number):
    sample = read_list(devkit.parent / 'dataset/train.txt', devkit / 'VOC2012')[number]
    return np.unique(np.array(Image.open(sample.mask))).tolist()


def test_rgb_masks_are_converted_where_only_those_exist(devkit, rgb_masks):
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert labels_of(devkit, 2) == [2, 255]


def test_rgb_masks_are_converted_beside_palette_masks(devkit, rgb_masks):
    write_masks(rgb_masks, TRAIN[:1])  # the first of the folder
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert [labels_of(devkit, number) for number in range(3)] == [[0, 255], [1, 255], [2, 255]]


def test_changed_and_removed_rgb_masks_leave_no_conversion(devkit, rgb_masks):
    prepare(devkit)
    write_masks(rgb_masks, [VAL[0], TRAIN[0]], 'RGB')
    (rgb_masks / f'{TRAIN[1]}.png').unlink()
    prepare(devkit)
    assert labels_of(devkit, 0) == [1, 255]
    assert not list((devkit.parent / 'dataset').rglob(f'{TRAIN[1]}.png'))


def test_rgb_masks_that_cannot_be_converted_are_named_and_change_nothing(devkit, rgb_masks):
    prepare(devkit)
    before = contents(devkit.parent / 'dataset')
    Image.new('RGB', (12, 9), (1, 2, 3)).save(rgb_masks / f'{VAL[0]}.png')
    (rgb_masks / f'{TRAIN[0]}.png').write_bytes(b'')
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 3 images, complete' in result.out
    assert f'{VAL[0]}.png: colour (1, 2, 3) is not in the VOC colour map' in result.error
    assert f'{TRAIN[0]}.png: cannot read the mask' in result.error
    assert contents(devkit.parent / 'dataset') == before


@pytest.mark.parametrize('mode', ['I;16', '1', 'RGBA', 'LA'])
def test_masks_of_any_depth_keep_their_labels_or_are_refused(devkit, mode):
    folder = devkit / 'VOC2012/SegmentationClassAug'
    labels = np.eye(9, 12, dtype=np.uint8)
    mask = Image.fromarray(colour_map()[labels] if mode == 'RGBA' else labels)
    mask = Image.fromarray(labels.astype(bool)) if mode == '1' else mask.convert(mode)
    mask.save(folder / f'{TRAIN[0]}.png')
    result = prepare(devkit)
    if mode == 'LA':
        assert result.code == 2 and f'{TRAIN[0]}.png: a mask must be an 8-bit' in result.error
        assert not list((devkit.parent / 'dataset').glob('*.txt'))
    else:
        assert result.code == 0, result.error
        (sample, *_) = read_list(devkit.parent / 'dataset/train.txt', devkit / 'VOC2012')
        np.testing.assert_array_equal(read_mask(sample.mask), labels)


def test_palette_masks_that_cannot_be_read_are_named(devkit):
    for name in (TRAIN[0], VAL[0]):
        (devkit / f'VOC2012/SegmentationClassAug/{name}.png').write_bytes(b'')
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 3 images, complete' in result.out
    for name in (TRAIN[0], VAL[0]):
        assert f'{name}.png: cannot read the mask' in result.error


def test_an_incomplete_copy_is_reported_with_where_to_get_the_rest(devkit):
    (devkit / f'VOC2012/SegmentationClassAug/{TRAIN[0]}.png').unlink()
    (devkit / 'VOC2012/ImageSets/Segmentation/test.txt').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 2 images, expected 3; get SegmentationClassAug.zip' in result.out
    assert 'test.txt: 0 images, expected 1; get the VOC2012 test images' in result.out
    assert 'this copy is not complete' in result.error


def test_vocs_own_masks_alone_are_too_few(devkit):
    voc = devkit / 'VOC2012'
    (voc / 'SegmentationClassAug').rename(voc / 'SegmentationClass')
    (voc / f'SegmentationClass/{TRAIN[0]}.png').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert f'masks of train.txt: {voc}/SegmentationClass\n' in result.out
    assert 'train.txt: 2 images, expected 3; get SegmentationClassAug.zip' in result.out


def test_missing_images_are_named(devkit):
    for name in [*TRAIN[:2], VAL[0]]:  # half of all
        (devkit / f'VOC2012/JPEGImages/{name}.jpg').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 3 images, 2 are not in JPEGImages; get VOCtrainval' in result.out
    assert 'val.txt: 2 images, 1 are not in JPEGImages; get VOCtrainval' in result.out
    assert '3 faults' in result.error and f'no image at {devkit}' in result.error
    result = prepare(devkit, '--skip-check')
    assert result.code == 2 and 'this copy is not complete' in result.error


def test_the_test_images_are_optional(devkit):
    image = devkit / f'VOC2012/JPEGImages/{TEST[0]}.jpg'
    image.write_bytes(b'')
    result = prepare(devkit)
    assert result.code == 2 and f'cannot read the image {image}' in result.error
    image.unlink()
    result = prepare(devkit)
    assert result.code == 0, result.error
    optional = 'get the VOC2012 test images, which are optional, from'
    assert f'test.txt: 1 images, 1 are not in JPEGImages; {optional}' in result.out
    assert result.out.endswith(f'to {devkit}/VOC2012\n')
    (devkit / 'VOC2012/ImageSets/Segmentation/test.txt').unlink()
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert f'test.txt: 0 images, expected 1; {optional}' in result.out


def test_missing_annotations_are_reported(devkit):
    (devkit / f'VOC2012/Annotations/{TRAIN[0]}.xml').unlink()
    result = prepare(devkit)
    assert result.code == 2
    needed = 'not in Annotations, and the selection needs them; get VOCtrainval'
    assert f'tags.txt: tags of 2 images, 1 are {needed}' in result.out
    assert 'this copy is not complete' in result.error and 'DATA_DIRECTORY' not in result.out
    shutil.rmtree(devkit / 'VOC2012/Annotations')
    result = prepare(devkit)
    assert result.code == 2
    assert f'tags.txt: tags of 0 images, 3 are {needed}' in result.out


def test_masks_of_val_are_those_of_voc_where_the_augmented_ones_lack_them(devkit):
    voc = devkit / 'VOC2012'
    (voc / f'SegmentationClassAug/{VAL[1]}.png').unlink()
    write_masks(voc / 'SegmentationClass', VAL)
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert f'masks of val.txt: {voc}/SegmentationClass\n' in result.out
    samples = [read_list(devkit.parent / f'dataset/{split}.txt', voc) for split in ('train', 'val')]
    folders = [{sample.mask.parent.name for sample in of_split} for of_split in samples]
    assert folders == [{'SegmentationClassAug'}, {'SegmentationClass'}]


def test_missing_masks_of_val_are_reported(devkit):
    (devkit / f'VOC2012/SegmentationClassAug/{VAL[1]}.png').unlink()
    result = prepare(devkit)
    assert result.code == 2
    folders = 'SegmentationClassAug or SegmentationClass'
    assert f'val.txt: 2 images, 1 have no mask in {folders}; get Seg' in result.out
    assert f'SegmentationClassAug/{VAL[1]}.png' in result.error


def test_all_that_is_missing_is_in_one_report(devkit):
    voc = devkit / 'VOC2012'
    for folder in ('SegmentationClassAug', 'Annotations'):
        shutil.rmtree(voc / folder)
    (voc / f'JPEGImages/{VAL[0]}.jpg').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 0 images, expected 3; get SegmentationClassAug.zip' in result.out
    assert 'val.txt: 2 images, 1 are not in JPEGImages; get VOCtrainval' in result.out
    assert '; 2 have no mask in' in result.out
    assert 'tags.txt: tags of 0 images, all are not in Annotations' in result.out


def test_a_val_list_that_names_other_things_leaves_no_lists(devkit):
    val = devkit / 'VOC2012/ImageSets/Segmentation/val.txt'
    val.write_text(''.join(f'/JPEGImages/{name}.jpg\n' for name in VAL))
    result = prepare(devkit)
    assert result.code == 2 and 'val.txt: no image at' in result.error
    assert not list((devkit.parent / 'dataset').iterdir())


def test_the_folder_that_has_the_lists_is_taken(devkit):
    (devkit / 'VOC2012').rename(devkit / 'train_val')
    for folder in ('JPEGImages', 'ImageSets/Segmentation'):
        (devkit / 'VOC2012' / folder).mkdir(parents=True)
    result = prepare(devkit)
    assert result.code == 0, result.error
    assert f'images and annotations: {devkit}/train_val\n' in result.out


def test_without_vocs_val_list_no_list_is_made(devkit):
    (devkit / 'VOC2012/ImageSets/Segmentation/val.txt').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert 'train.txt: 5 images, expected 3; get VOCtrainval' in result.out
    assert 'val.txt: 0 images, expected 2; get VOCtrainval' in result.out
    assert 'there are no lists without val.txt' in result.error
    assert not any((devkit.parent / 'dataset').iterdir())


@pytest.mark.parametrize(
    'make, message',
    [
        (
            lambda root: (root / 'VOC2012').rename(root / 'VOC2007'),
            'VOC2007: this is VOC2007; SPSM uses VOC2012',
        ),
        (lambda root: shutil.rmtree(root / 'VOC2012'), 'no VOC2012 here'),
        (
            lambda root: (root / 'VOC2012/ImageSets/Segmentation/val.txt').write_text(
                '000033\n000042\n'
            ),
            'this is VOC2007; SPSM uses VOC2012',
        ),
    ],
)
def test_what_is_not_voc2012_is_refused(devkit, make, message):
    make(devkit)
    result = prepare(devkit)
    refused(result, message)


@pytest.mark.parametrize('name', ['VOC.tar.gz', 'VOC2012/images.zip'])
def test_an_archive_that_is_not_unpacked_is_named(devkit, name):
    shutil.rmtree(devkit / 'VOC2012')
    (devkit / 'VOC2012').mkdir()
    (devkit / name).write_text('')
    result = prepare(devkit)
    refused(result, f'not unpacked yet; unpack {devkit / name}\n')


@pytest.mark.parametrize('folder', ['VOC2012', '..'])
def test_archives_that_hold_what_is_missing_are_named(devkit, folder):
    masks = devkit / folder / 'SegmentationClassAug.zip'
    images = devkit / folder / 'VOCtrainval_11-May-2012.tar'
    for archive in (masks, images):
        archive.write_text('')
    assert 'unpack' not in prepare(devkit).out
    shutil.rmtree(devkit / 'VOC2012/SegmentationClassAug')
    (devkit / f'VOC2012/JPEGImages/{VAL[0]}.jpg').unlink()
    result = prepare(devkit)
    assert result.code == 2
    assert re.search('expected 3; unpack .*/SegmentationClassAug.zip', result.out)
    assert re.search('not in JPEGImages; unpack .*/VOCtrainval_11-May-2012.tar', result.out)


def test_a_tarball_or_nothing_is_refused(devkit):
    (devkit / 'a.tar').write_text('')
    assert 'unpack it' in prepare(devkit / 'a.tar').error
    assert 'no such folder' in prepare(devkit / 'nowhere').error

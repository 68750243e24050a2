"""Images, masks and folders as they come from cameras, drawing programs and archives."""

import io
import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageChops

from deeplablib.data.image_lists import Sample, find_images, read_list, write_list
from deeplablib.data.images import TURNS, read_header, read_image
from deeplablib.data.masks import read_mask, write_mask
from deeplablib.data.network_input import load_image
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import read_tags, write_tags
from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.prediction.metrics import confusion_matrix, evaluate, iou_table
from deeplablib.training.batches import make_dataset, raise_unreadable
from deeplablib.utils.errors import InputError
from selection.mask_quality import read_measure, write_table
from tests.command import run_command, run_process
from tests.training_run import batch_settings, flags_of, make_samples

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
# Every kind of PNG that there is.
KINDS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((kind, bits) for kind in (RGB, GREY_ALPHA, RGB_ALPHA) for bits in (8, 16)),
]


def chunk(kind, content):
    check = zlib.crc32(kind + content).to_bytes(4, 'big')
    return len(content).to_bytes(4, 'big') + kind + content + check


def png(kind, bits, rows, width, palette=b'', transparency=b''):
    """A PNG of rows of packed samples, bytes."""
    head = struct.pack('>IIBBBBB', width, len(rows), bits, kind, 0, 0, 0)
    parts = [chunk(b'IHDR', head)]
    parts += [chunk(b'PLTE', palette)] if palette else []
    parts += [chunk(b'tRNS', transparency)] if transparency else []
    parts += [chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row for row in rows)))]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts) + chunk(b'IEND', b'')


def noise_png(kind, bits):
    rng = np.random.default_rng(bits)
    rows = [rng.bytes(16 * SAMPLES[kind] * bits // 8) for _ in range(6)]
    palette = rng.bytes(3 * 2**bits) if kind == PALETTE else b''
    return png(kind, bits, rows, 16, palette, b'\x10\x20' if kind == PALETTE else b'')


def noise_jpeg(**options):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, 'JPEG', **options)
    return buffer.getvalue()


def packed(labels, bits):
    """Rows of a PNG of labels, int [height, width]."""
    spread = (np.asarray(labels)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in spread]


@pytest.mark.parametrize('kind, bits', KINDS)
def test_both_decoders_see_one_picture(tmp_path, kind, bits):
    path = tmp_path / 'a.png'
    path.write_bytes(noise_png(kind, bits))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.filterwarnings('ignore', module='PIL')  # as for a user
        np.testing.assert_array_equal(read_image(path), load_image(path))


@pytest.mark.parametrize('adobe', [True, False])
def test_the_inks_of_a_jpeg_are_one_picture(tmp_path, adobe):
    picture = Image.merge(
        'CMYK', [Image.linear_gradient('L').resize((40, 30)).rotate(a) for a in (0, 90, 180, 0)]
    )
    contents = io.BytesIO()
    picture.save(contents, 'JPEG', quality=95)
    contents = contents.getvalue()
    if not adobe:  # without its marker the inks are as they are, not inverted
        start = contents.index(b'\xff\xee')
        length = 2 + int.from_bytes(contents[start + 2 : start + 4], 'big')
        contents = contents[:start] + contents[start + length :]
    (tmp_path / 'a.jpg').write_bytes(contents)
    expected = np.array((picture if adobe else ImageChops.invert(picture)).convert('RGB'), int)
    for read in (read_image, load_image):
        assert np.abs(np.array(read(tmp_path / 'a.jpg'), int) - expected).max() < 12


@pytest.mark.parametrize('kind', ['webp', 'bmp', 'gif', 'tif'])
def test_a_photograph_of_any_kind_and_name_is_one_picture(tmp_path, kind):
    path = tmp_path / f'a.{kind}'
    picture = Image.radial_gradient('L').resize((40, 30)).convert('RGB')
    picture.save(path, lossless=True)
    np.testing.assert_array_equal(read_image(path), load_image(path))
    assert read_header(path)[0] == (30, 40)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=rf'cannot read the image .*a\.{kind}'):
        read_header(path)


def test_a_tiff_is_taken_upright(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new('RGB', (4, 3)).save(tmp_path / 'a.tif', exif=exif)
    assert read_header(tmp_path / 'a.tif') == ((4, 3), None)
    assert read_image(tmp_path / 'a.tif').shape == (4, 3, 3)


def test_what_is_no_photograph_in_a_folder_is_counted(tmp_path, capsys):
    with pytest.raises(InputError, match='no photographs here'):
        find_images(tmp_path)
    for name in ('a.JPG', 'b.webp', 'c.Jfif'):
        Image.new('RGB', (3, 2)).save(tmp_path / name)
    (tmp_path / 'b.webp').rename(tmp_path / 'b')  # known by what it holds
    assert [path.name for path in find_images(tmp_path)] == ['a.JPG', 'b', 'c.Jfif']
    assert capsys.readouterr().out == ''
    (tmp_path / 'notes.txt').write_text('no picture')
    (tmp_path / 'inner').mkdir()
    assert len(find_images(tmp_path)) == 3
    assert '2 others, such as' in capsys.readouterr().out


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
@pytest.mark.parametrize('kind', [GREY, PALETTE])
def test_the_indices_of_a_mask_of_any_bit_depth_are_read(tmp_path, kind, bits):
    labels = np.arange(48).reshape(6, 8) % min(2**bits, 20)
    palette = bytes(range(1, 1 + 3 * 2 ** min(bits, 6))) if kind == PALETTE else b''
    path = tmp_path / 'a.png'
    path.write_bytes(png(kind, bits, packed(labels, bits), 8, palette))
    np.testing.assert_array_equal(read_mask(path), labels)


@pytest.mark.parametrize('kind, bits', [(RGB, 8), (GREY_ALPHA, 8), (RGB_ALPHA, 8)])
def test_labels_are_made_of_no_other_picture(tmp_path, kind, bits):
    path = tmp_path / 'a.png'
    path.write_bytes(noise_png(kind, bits))
    with pytest.raises(InputError, match='must be an 8-bit grey or palette PNG'):
        read_mask(path)


def test_class_ids_in_16_bits_are_read(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(np.array([[0, 15, 255]], np.uint16)).save(path)
    np.testing.assert_array_equal(read_mask(path), [[0, 15, 255]])
    Image.fromarray(np.array([[0, 15, 65535]], np.uint16)).save(path)
    with pytest.raises(InputError, match=r'a\.png: value 65535 is no class'):
        read_mask(path)


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'exif': 'thumbnail'}])
@pytest.mark.parametrize('behind', [b'', b'video' * 1000, bytes(9000)])
def test_a_whole_jpeg_is_taken_whatever_stands_behind_it(tmp_path, options, behind):
    path = tmp_path / 'a.jpg'
    if 'exif' in options:  # a camera's holds a whole small JPEG
        options = {'exif': b'Exif\0\0' + noise_jpeg()}
    whole = noise_jpeg(**options)
    path.write_bytes(whole + behind)
    assert read_header(path)[0] == (30, 40)
    assert load_image(path).shape == (30, 40, 3)
    for cut in (whole[:-2], whole[: len(whole) * 3 // 4], whole[:-500] + bytes(500)):
        path.write_bytes(cut)
        with pytest.raises(InputError, match='it is cut off'):
            read_header(path)


def test_a_whole_png_is_taken_whatever_stands_behind_it(tmp_path):
    path = tmp_path / 'a.png'
    whole = noise_png(RGB, 8)
    path.write_bytes(whole + bytes(9000))
    assert read_header(path)[0] == (6, 16)
    for cut in (whole[:-12], whole[:-30]):
        path.write_bytes(cut)
        with pytest.raises(InputError, match='it is cut off'):
            read_header(path)


def reduced(labels):
    """A mask as a picture in VOC's colours, which Pillow has reduced to a palette of its own."""
    return Image.fromarray(colour_map()[labels]).quantize(len(np.unique(labels)))


def test_a_palette_that_contradicts_the_indices_is_refused(tmp_path):
    labels = np.repeat([[15, 0, 8, 255]], 9, 0).repeat([3, 9, 4, 1], 1)
    path = tmp_path / 'a.png'
    reduced(labels).save(path)
    with pytest.raises(InputError, match=r'a\.png: its palette has the VOC colours in another'):
        read_mask(path)
    write_mask(path, labels.astype(np.uint8))
    np.testing.assert_array_equal(read_mask(path), labels)


@pytest.mark.parametrize(
    'palette',
    [
        [0, 0, 0, 10, 20, 30, 0, 0, 128],  # one colour that is not VOC's
        [0, 0, 0] * 3,  # one colour for all
        [0, 0, 0, 0, 128, 0, 128, 128, 0],  # VOC's, but of classes that this data set lacks
    ],
)
def test_a_palette_of_a_users_own_says_nothing(tmp_path, palette):
    mask = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    mask.putpalette(palette)
    mask.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.png', num_classes=3), [[0, 1, 2]])


def sample_of(folder, name='a', orientation=None, labels=None, height=6, width=8):
    """Write an image, turned by EXIF, and its mask; without labels there is no mask."""
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    Image.new('RGB', (width, height)).save(folder / f'{name}.jpg', exif=exif)
    mask = None
    if labels is not None:
        mask = folder / f'{name}.png'
        Image.fromarray(np.asarray(labels, np.uint8)).save(mask)
    return Sample(folder / f'{name}.jpg', mask, f'list, {name}')


@pytest.mark.parametrize('orientation', TURNS)
def test_an_image_that_exif_turns_is_named_beside_a_mask_and_noted_alone(
    tmp_path, capsys, orientation
):
    labels = np.ones((6, 8))
    with pytest.raises(InputError, match=rf'a\.jpg is stored {TURNS[orientation]}, .*a\.png'):
        check_samples([sample_of(tmp_path, 'a', orientation, labels)], tmp_path)
    check_samples([sample_of(tmp_path, 'a', orientation)], tmp_path)
    assert f'EXIF would turn 1 images, such as {tmp_path}/a.jpg' in capsys.readouterr().out
    check_samples([sample_of(tmp_path, 'a', 1, labels)], tmp_path)
    assert 'EXIF' not in capsys.readouterr().out


def test_any_value_may_be_the_ignored_one(tmp_path):
    labels = np.array([[0, 1, 2, 3], [0, 0, 2, 2]])
    sample = sample_of(tmp_path, labels=labels, height=2, width=4)
    for ignored in (0, 2, 3):
        expected = np.where(labels == ignored, 255, labels)
        mask = read_mask(sample.mask, 4, ignore_label=ignored)
        np.testing.assert_array_equal(mask, expected)
        batches = batch_settings(
            (3, 5), 1, random_scale=False, random_mirror=False, ignore_label=ignored
        )
        ((_, batch),) = make_dataset([sample], batches, range(1))
        expected = np.pad(expected, ((0, 1), (0, 1)), constant_values=255)
        np.testing.assert_array_equal(batch[0, 0], expected)
        confusion = evaluate([(sample.mask, sample.mask)], 4, ignored)
        assert confusion[ignored].sum() == 0 and confusion.sum() == (labels != ignored).sum()


def test_labels_of_one_class_alone_are_noted(tmp_path, capsys):
    labels = np.zeros((6, 8))
    labels[:2] = 255
    check_samples([sample_of(tmp_path, labels=labels)], tmp_path, 2, need_masks=True)
    note = 'one class only, 0, so there is nothing to learn; 33 % of the pixels are 255'
    assert note in capsys.readouterr().out
    labels[5] = 1
    check_samples([sample_of(tmp_path, labels=labels)], tmp_path, 2, need_masks=True)
    assert 'one class' not in capsys.readouterr().out
    nothing = np.zeros((2, 2), np.uint8)
    table = iou_table(confusion_matrix(nothing, nothing), CLASSES)
    assert table.endswith('note: the labelled pixels of all masks have one class only, background')


@pytest.mark.parametrize(
    'file, line',
    [
        ('JPEGImages/a.jpeg', 'a'),
        ('JPEGImages/a.JPG', 'a'),
        ('a.png', 'a'),
        ('JPEGImages/a.png', 'a.png'),
        ('JPEGImages/a,b.jpg', 'a,b'),
        ('images/a.jpg', 'images/a.jpg,masks/a.png'),
        ('images/a.jpg', '/images/a.jpg , /masks/a.png'),
        ('images/a.jpg', r'images\a.jpg masks\a.png'),
        ('images/a.jpg', '{folder}/images/a.jpg {folder}/masks/a.png'),
        ('my images/a 1.jpg', 'my images/a 1.jpg'),
        ('my images/a 1.jpg', 'my images/a 1.jpg\tmasks/a.png'),
        ('my images/a 1.jpg', 'my images/a 1.jpg,masks/a.png'),
    ],
)
def test_a_list_may_name_an_image_in_many_ways(tmp_path, file, line):
    for path in (tmp_path / file, tmp_path / 'masks/a.png'):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / 'list.txt').write_text(line.format(folder=tmp_path) + '\n', 'utf-16')
    (sample,) = read_list(tmp_path / 'list.txt', tmp_path)
    assert sample.image == tmp_path / file
    assert sample.mask == (tmp_path / 'masks/a.png' if 'mask' in line else None)


@pytest.mark.parametrize(
    'file, line, message',
    [
        ('JPEGImages/a.ppm', 'JPEGImages/a.ppm', r'a\.ppm \(PPM RGB, expected JPEG, '),
        ('JPEGImages/a.JPG', 'JPEGImages/a.jpg', r'no image at .*/a\.jpg \(there is a\.JPG\)'),
        ('a.jpg', 'images/a.jpg', r'no image at .*/images/a\.jpg \(no folder .*/images; a list'),
        ('a.jpg', 'b', r'no image at .*/JPEGImages/b\.jpg'),
    ],
)
def test_what_is_in_the_place_of_a_missing_image_is_said(tmp_path, file, line, message):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    Image.new('RGB', (3, 2)).save(tmp_path / file)
    (tmp_path / 'list.txt').write_text(f'{line}\n')
    with pytest.raises(InputError, match=message):
        check_samples(read_list(tmp_path / 'list.txt', tmp_path), tmp_path)


def test_a_list_with_white_space_is_read_back(tmp_path):
    files = [tmp_path / 'my data/a b.jpg', tmp_path / 'my data/a, b.png', tmp_path / 'c.jpg']
    pairs = [files[:2], files[2:], files[1:2]]
    write_list(tmp_path / 'list.txt', pairs, tmp_path)
    samples = read_list(tmp_path / 'list.txt', tmp_path)
    assert [[f for f in (s.image, s.mask) if f] for s in samples] == pairs


def test_lines_that_stand_twice_are_noted(tmp_path, capsys):
    (tmp_path / 'list.txt').write_text('images/a.jpg\nimages/b.jpg\nimages/a.jpg\n')
    assert len(read_list(tmp_path / 'list.txt', tmp_path)) == 3
    assert '1 of 3 lines stand there before, such as line 3' in capsys.readouterr().out


def test_hidden_files_do_not_count(tmp_path):
    for name in ('gt', 'pred', 'tags'):
        (tmp_path / name).mkdir()
    for folder in ('gt', 'pred'):
        write_mask(tmp_path / folder / 'a.png', np.zeros((2, 2), np.uint8))
        (tmp_path / folder / '._a.png').write_bytes(b'\0\5\x16\7')
    result = run_command('eval_iou', '--pred', tmp_path / 'pred', '--gt', tmp_path / 'gt')
    assert result.code == 0, result.error
    masks = ('--masks', tmp_path / 'gt', '--jobs', '1', '--out', tmp_path / 'tags')
    assert run_command('selection.make_tags', *masks).code == 0
    (tmp_path / 'tags/._a.txt').write_bytes(b'\0\5\x16\7')
    assert [path.name for path in sorted((tmp_path / 'tags').glob('[!.]*'))] == ['a.txt']


def test_a_run_in_a_folder_that_is_not_utf_8_is_logged_and_gone_on_with(tmp_path):
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    make_samples(folder)
    list_file = folder / 'whole.txt'
    write_list(list_file, [(s.image, s.mask) for s in read_list(folder / 'list.txt', folder)], '/')
    assert [s.image for s in read_list(list_file, '/')] == [
        s.image for s in read_list(folder / 'list.txt', folder)
    ]
    flags = flags_of(folder, data_dir='/', data_list=list_file, num_steps=1, save_interval=1)
    assert run_command('main', *flags).code == 0
    result = run_command('main', '--resume_changed', *flags, '--num_steps=2')
    assert result.code == 0, result.error
    assert 'Restored model parameters' in result.out and 'model.ckpt-1' in result.out
    assert list((folder / 'run/log').glob('events*'))
    checkpoint = folder / 'run/model/model.ckpt-2'
    given = ('-m', 'deeplab_vgg.convert', checkpoint, folder / 'written/model')
    result = run_process(*given, '--num-classes', '4', text=False)
    assert result.returncode == 0 and (folder / 'written/model.index').is_file(), result.stderr


def test_names_that_are_not_utf_8_have_tags_and_scores(tmp_path):
    name = os.fsdecode(b'caf\xe9')
    write_tags(tmp_path / 'tags.txt', {name: (1, 2)})
    assert read_tags(tmp_path / 'tags.txt') == {name: (1, 2)}
    write_table(tmp_path / 'quality.csv', ['quality'], {name: (0.5,)})
    assert read_measure(tmp_path / 'quality.csv', 'quality', [name]).tolist() == [0.5]
    (tmp_path / 'flags.txt').write_bytes(b'--data_dir=caf\xe9\n')
    result = run_command('main', f'--flagfile={tmp_path}/flags.txt')
    assert result.code == 2 and '--flagfile: holds a path that is not UTF-8' in result.error


def test_a_path_that_is_not_utf_8_is_trained_on(tmp_path):
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    folder.mkdir()
    sample = sample_of(folder, labels=np.ones((6, 8)))
    mask = Image.open(sample.mask).convert('P')
    mask.save(sample.mask)
    ((images, _),) = make_dataset([sample], batch_settings((6, 8), 1), range(1))
    assert images.shape == (1, 1, 6, 8, 3)
    raise_unreadable([sample])
    shutil.copy(sample.image, sample.mask)
    with pytest.raises(InputError, match=r'a\.png: a mask must be'):
        raise_unreadable([sample])

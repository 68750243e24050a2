import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import read_list
from deeplablib.data.score_maps import image_probabilities, write_score_map
from deeplablib.prediction.crf import crf_labels
from deeplablib.utils.files import locked
from selection.mask_quality import agreement, read_measure, write_table
from selection.refine_masks import with_saliency
from selection.show_selection import panel
from tests.command import refused, run_command

IMAGES = Path(__file__).parent / 'golden/voc/JPEGImages'
NAMES = ['gold_000001', 'gold_000002', 'gold_000003']
TAGS = {'gold_000001': (3,), 'gold_000002': (), 'gold_000003': (1, 2)}


def mask(*rows):
    return np.array(rows, np.uint8)


@pytest.fixture(scope='module')
def refined(tmp_path_factory):
    """Three images, their tags and score files, a list of names, and their refined masks."""
    folder = tmp_path_factory.mktemp('data')
    shutil.copytree(IMAGES, folder / 'JPEGImages')
    (folder / 'scores').mkdir()
    for name in NAMES:
        size = size_of(name)
        write_score_map(folder / f'scores/{name}.npz', scores_of(name), size, 'logits')
    (folder / 'list.txt').write_text(''.join(f'{name}\n' for name in NAMES))
    lines = [' '.join(map(str, (name, *ids))) for name, ids in TAGS.items()]
    (folder / 'tags.txt').write_text('\n'.join(lines))
    assert run_refine(folder).code == 0
    return folder


@pytest.fixture
def data(tmp_path, refined):
    """A copy of it for each test."""
    shutil.copytree(refined, tmp_path / 'data')
    return tmp_path / 'data'


def image_of(name):
    return np.array(Image.open(IMAGES / f'{name}.jpg').convert('RGB'))


def size_of(name):
    return image_of(name).shape[:2]


def scores_of(name):
    height, width = size_of(name)
    random = np.random.default_rng(int(name[-1]))
    coarse = random.normal(0, 3, (3, 3, 21)).repeat(7, 0).repeat(7, 1).astype(np.float16)
    return coarse[: -(-height // 8), : -(-width // 8)]


def allowed_of(name):
    return np.isin(np.arange(21), [0, *TAGS[name]])


def probabilities_of(name):
    scores = scores_of(name).astype(np.float32)
    return image_probabilities(scores, size_of(name), 'logits', allowed_of(name))


def labels_of(path):
    return np.array(Image.open(path))


def fill(folder, value, size=None):
    """A mask of one value for each image."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        Image.new('L', size or size_of(name)[::-1], value).save(folder / f'{name}.png')


def run(step, data, *options):
    return run_command(
        f'selection.{step}',
        *('--data-dir', data, '--data-list', data / 'list.txt', '--tags', data / 'tags.txt'),
        *options,
    )


def run_refine(data, *options):
    given = ('--scores', data / 'scores', '--out', data / 'refined', '--jobs', '1')
    return run('refine_masks', data, *given, *options)


def run_masks(data, *options):
    masks = data / 'refined'
    given = ('--table', masks / 'quality.csv', '--masks', masks, '--out', data / 'train.txt')
    return run('select_masks', data, *given, *options)


def run_pixels(data, *options):
    given = ('--masks', data / 'refined', '--out', data / 'pixels', '--jobs', '1')
    return run('select_pixels', data, *given, *options)


def run_choice(data, *folders):
    given = ('--scores', data / 'scores', '--out', data / 'best', '--jobs', '1')
    masks = [data / folder for folder in folders]
    return run('choose_candidates', data, '--masks', *masks, *given)


# Refined masks


def test_refined_masks_are_the_crf_of_the_tags_probabilities(refined):
    for name in NAMES:
        expected = crf_labels(image_of(name), probabilities_of(name))
        labels = labels_of(refined / f'refined/{name}.png')
        np.testing.assert_array_equal(labels, expected)
        assert set(np.unique(labels)) <= {0, *TAGS[name]}
        (quality,) = read_measure(refined / 'refined/quality.csv', 'crf_agreement', [name])
        argmax = probabilities_of(name).argmax(-1).astype(np.uint8)
        assert quality == pytest.approx(agreement(argmax, expected, allowed_of(name)), abs=1e-6)


def test_resumed_refinement_gives_the_same_masks_and_table(data):
    table = (data / 'refined/quality.csv').read_bytes()
    kept = data / f'refined/{NAMES[0]}.png'
    before = kept.stat().st_mtime_ns
    (data / 'refined/quality.csv').unlink()
    (data / f'refined/{NAMES[1]}.png').unlink()
    assert run_refine(data, '--resume', '--jobs', '2').code == 0
    assert (data / 'refined/quality.csv').read_bytes() == table
    assert kept.stat().st_mtime_ns == before


def test_masks_refined_with_saliency_are_the_crf_of_both(data):
    (data / 'saliency').mkdir()
    saliency = {}
    for name in NAMES:
        saliency[name] = np.zeros(size_of(name), np.uint8)
        saliency[name][:, saliency[name].shape[1] // 2 :] = 230
        Image.fromarray(saliency[name]).save(data / f'saliency/{name}.png')
    out = ('--out', data / 'salient', '--saliency', data / 'saliency')
    assert run_refine(data, *out).code == 0
    for name in NAMES:
        probabilities = probabilities_of(name)
        expected = crf_labels(image_of(name), with_saliency(probabilities, saliency[name]))
        np.testing.assert_array_equal(labels_of(data / f'salient/{name}.png'), expected)
        (quality,) = read_measure(data / 'salient/quality.csv', 'crf_agreement', [name])
        argmax = probabilities.argmax(-1).astype(np.uint8)
        assert quality == pytest.approx(agreement(argmax, expected, allowed_of(name)), abs=1e-6)
    assert (labels_of(data / f'salient/{NAMES[0]}.png') == 3).mean() > 0.1

    fill(data / 'proxies', 255)
    assert run_choice(data, 'proxies', 'refined', 'salient').code == 0
    tables = [data / folder / 'quality.csv' for folder in ('refined', 'salient')]
    qualities = [read_measure(table, 'crf_agreement', NAMES) for table in tables]
    chosen = read_measure(data / 'best/quality.csv', 'annotation_agreement', NAMES)
    np.testing.assert_array_equal(chosen, np.max(qualities, 0))

    Image.new('L', (3, 3)).save(data / f'saliency/{NAMES[0]}.png')
    refused(run_refine(data, *out), f'{NAMES[0]}.png: the map is 3x3, its image')
    (data / f'saliency/{NAMES[0]}.png').unlink()
    refused(run_refine(data, *out), 'list.txt, line 1: no saliency map at')


def test_bad_score_maps_are_named_and_leave_no_table(data):
    (data / 'refined/quality.csv').unlink()
    shutil.copy(data / f'scores/{NAMES[1]}.npz', data / f'scores/{NAMES[0]}.npz')
    refused(run_refine(data), f'{NAMES[0]}.npz: holds the scores of another image, {NAMES[1]}')
    size = size_of(NAMES[0])
    of_five = np.zeros((*(-(-n // 8) for n in size), 5))
    write_score_map(data / f'scores/{NAMES[0]}.npz', of_five, size, 'logits')
    refused(run_refine(data), f'{NAMES[0]}.npz: scores of 5 classes, expected 21')
    (data / f'scores/{NAMES[0]}.npz').unlink()
    refused(run_refine(data), 'list.txt, line 1: no scores at')
    assert not (data / 'refined/quality.csv').exists()


@pytest.mark.parametrize('step', ['refine_masks', 'select_pixels', 'choose_candidates'])
def test_two_processes_do_not_write_to_one_folder(refined, tmp_path, step):
    masks = () if step == 'refine_masks' else ('--masks', refined / 'refined')
    masks += ('--threshold', '0.5') if step == 'select_pixels' else ()
    with locked(tmp_path):
        given = ('--scores', refined / 'scores', '--out', tmp_path, '--jobs', '1')
        refused(run(step, refined, *masks, *given), 'another process is writing to this folder')
    assert not list(tmp_path.glob('*.png'))


# Pixels


def test_pixel_selection_ignores_unsure_pixels(data):
    sure = ('--scores', data / 'scores', '--threshold')
    assert run_pixels(data, *sure, '0.9').code == 0
    before, after = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('refined', 'pixels'))
    assert (after == 255).any() and set(np.unique(after)) <= {0, 1, 2, 255}
    np.testing.assert_array_equal(after[after != 255], before[after != 255])
    assert run_pixels(data, *sure, '1', '--class-threshold', '0=0').code == 0
    after = labels_of(data / f'pixels/{NAMES[2]}.png')
    np.testing.assert_array_equal(after == 0, before == 0)
    refused(run_pixels(data, *sure, '1.1'), 'from 0 to 1')
    refused(run_pixels(data, *sure, '1', '--class-threshold', '21=0'), '--class-threshold 21=0')
    refused(run_pixels(data, *sure, '1', '--out', data / 'refined'), 'overwrite')
    refused(run_pixels(data, '--threshold', '1'), '--scores and --threshold go together')
    refused(run_pixels(data), 'give --agree-with, or --scores and --threshold')


def test_pixels_stay_where_masks_of_several_folders_agree(data):
    fill(data / 'ones', 1)
    assert run_pixels(data, '--agree-with', data / 'ones', data / 'refined').code == 0
    before, after = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('refined', 'pixels'))
    np.testing.assert_array_equal(after, np.where(before == 1, 1, 255))
    assert (after == 1).any()
    fill(data / 'ones', 1, (3, 3))
    refused(
        run_pixels(data, '--agree-with', data / 'ones'), f'ones/{NAMES[0]}.png: the mask is 3x3'
    )
    (data / f'ones/{NAMES[0]}.png').unlink()
    refused(run_pixels(data, '--agree-with', data / 'ones'), 'list.txt, line 1: no mask at')


# Masks


def test_selected_samples_are_listed_with_their_masks(data):
    result = run_masks(data, '--fraction', '0.3', '--class-minimum', '0')
    assert result.code == 0
    assert 'all               3 images,      1 kept' in result.out
    samples = read_list(data / 'train.txt', data)
    assert [s.name for s in samples] == ['gold_000002'], 'no tags: network and CRF agree'
    assert samples[0].image == data / 'JPEGImages/gold_000002.jpg'
    assert samples[0].mask == data / 'refined/gold_000002.png'
    run_masks(data, '--class-minimum', '0.4', '--fraction', '0.3')
    assert len(read_list(data / 'train.txt', data)) == 3, 'every class has one image'


def test_masks_outside_the_data_folder_are_found_again(data):
    (data / 'elsewhere').mkdir()
    (data / 'link').symlink_to(data / 'elsewhere')
    shutil.move(data / 'JPEGImages', data / 'elsewhere/JPEGImages')
    assert run_masks(data, '--data-dir', data / 'link').code == 0
    for sample in read_list(data / 'train.txt', data / 'link'):
        assert sample.image.is_file() and sample.mask.is_file()


def test_bad_selections_are_named(data):
    (data / 'tags.txt').write_text('gold_000001 3\ngold_000002 5\ngold_000003 1 2\n')
    table = data / 'refined/quality.csv'
    refused(run_masks(data, '--threshold', '1.5'), 'threshold 1.5: must be from 0 to 1')
    refused(run_masks(data, '--measure', 'beauty'), 'no measure beauty')
    write_table(table, ['crf_agreement'], {name: [0.5] for name in NAMES})
    refused(run_masks(data, '--threshold', '0.8'), 'no mask reaches the threshold 0.8')
    refused(run_masks(data, '--fraction', '0', '--class-minimum', '0'), 'keep no mask')
    refused(run_masks(data, '--out', data / 'list.txt'), 'would overwrite what it is made from')
    (data / f'refined/{NAMES[0]}.png').unlink()
    refused(run_masks(data), 'no mask at')
    table.write_bytes(table.read_bytes()[:-20])
    refused(run_masks(data), 'quality.csv')
    assert not (data / 'train.txt').exists()


def test_without_a_table_the_masks_that_are_there_go_on(data):
    (data / f'refined/{NAMES[0]}.png').unlink()
    (data / f'refined/{NAMES[1]}.png').rename(data / f'refined/{NAMES[1]}.PNG')
    given = ('--masks', data / 'refined', '--out', data / 'train.txt')
    result = run('select_masks', data, *given)
    assert result.code == 0 and 'all               3 images,      2 kept' in result.out
    assert f'note: 1 images have no mask in {data / "refined"}: {NAMES[0]} ...' in result.out
    assert [s.name for s in read_list(data / 'train.txt', data)] == NAMES[1:]
    refused(run('select_masks', data, *given, '--threshold', '0.8'), 'without --table there is no')
    refused(
        run('select_masks', data, *given, '--masks', data / 'scores'), 'no mask of any image of'
    )


# Candidates


def test_chosen_candidates_are_saved_with_their_quality(data):
    fill(data / 'empty', 255)
    result = run_choice(data, 'empty', 'refined')
    assert result.code == 0, result.error
    for name in NAMES:
        chosen, refined = (labels_of(data / f'{f}/{name}.png') for f in ('best', 'refined'))
        np.testing.assert_array_equal(chosen, refined)
    measured = read_measure(data / 'best/quality.csv', 'annotation_agreement', NAMES)
    of_refined = read_measure(data / 'refined/quality.csv', 'crf_agreement', NAMES)
    np.testing.assert_array_equal(measured, of_refined)
    refused(run_choice(data, 'empty', 'best'), 'overwrite')
    Image.new('L', (3, 3), 0).save(data / f'refined/{NAMES[0]}.png')
    refused(run_choice(data, 'empty', 'refined'), f'refined/{NAMES[0]}.png: the mask is 3x3')


# The report


def test_report_is_one_page_with_every_picture_in_it(data):
    arguments = ('--table', data / 'refined/quality.csv', '--masks', data / 'refined')
    arguments += ('--fraction', '0.3', '--class-minimum', '0', '--out', data / 'r.html')
    assert run('show_selection', data, *arguments, '--annotations', data / 'refined').code == 0
    page = (data / 'r.html').read_text()
    assert '1 of 3 masks are kept' in page
    assert 'gold_000002: 1.000, kept (no tags)' in page
    assert '<td><b style="background:#808000"></b>bird<td>1<td>0<td>1' in page
    assert page.count('<img') == page.count('src="data:image/') == 1 + 3 * 3
    assert 'http' not in page
    (data / f'refined/{NAMES[0]}.png').unlink()
    refused(run('show_selection', data, *arguments), 'no mask at')


def test_panel_dims_what_does_not_go_on():
    image, labels = np.full((2, 2, 3), 200, np.uint8), mask([0, 255], [0, 0])
    assert np.array(panel(image, labels, labels, True)).shape == (2, 4 * 6 - 4, 3)
    kept = np.array(panel(image, None, labels, True))[:, -2:, 0]
    assert kept.tolist() == [[100, 40], [100, 100]]
    assert (np.array(panel(image, None, labels, False))[:, -2:] == 40).all()


def test_panel_made_smaller_shows_no_colour_that_is_not_in_the_masks():
    labels = np.zeros((400, 500), np.uint8)
    labels[100:300, 200:333] = 15
    drawn = np.array(panel(np.zeros((400, 500, 3), np.uint8), None, labels, True))
    colours = np.unique(drawn[:, 244:484].reshape(-1, 3), axis=0)
    assert colours.tolist() == [[0, 0, 0], [192, 128, 128]]

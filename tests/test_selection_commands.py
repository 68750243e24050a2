import shutil

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import read_list
from deeplablib.data.score_maps import image_probabilities, write_score_map
from deeplablib.prediction.crf import crf_labels
from deeplablib.utils.files import locked
from selection.refine_masks import with_saliency
from selection.selection_page import panel
from selection.shared.mask_quality import agreement
from selection.shared.quality_table import read_column, read_table, write_table
from tests import golden
from tests.command import run_command

NAMES = ['gold_000001', 'gold_000002', 'gold_000003']
TAGS = {'gold_000001': (3,), 'gold_000002': (), 'gold_000003': (1, 2)}


def mask(*rows):
    return np.array(rows, np.uint8)


@pytest.fixture
def data(tmp_path):
    """Three images, their tags and score files, and a list of names."""
    shutil.copytree(golden.FOLDER / 'voc/JPEGImages', tmp_path / 'JPEGImages')
    (tmp_path / 'scores').mkdir()
    for name in NAMES:
        size = size_of(name)
        write_score_map(tmp_path / f'scores/{name}.npz', scores_of(name), size, 'logits')
    (tmp_path / 'list.txt').write_text(''.join(f'{name}\n' for name in NAMES))
    lines = [' '.join(map(str, (name, *ids))) for name, ids in TAGS.items()]
    (tmp_path / 'tags.txt').write_text('\n'.join(lines))
    return tmp_path


def image_of(name):
    path = golden.FOLDER / f'voc/JPEGImages/{name}.jpg'
    return np.array(Image.open(path).convert('RGB'))


def size_of(name):
    return image_of(name).shape[:2]


def scores_of(name):
    height, width = size_of(name)
    random = np.random.default_rng(int(name[-1]))
    coarse = random.normal(0, 3, (3, 3, 21)).repeat(7, 0).repeat(7, 1).astype(np.float16)
    return coarse[: -(-height // 8), : -(-width // 8)]


def labels_of(path):
    return np.array(Image.open(path))


def run(step, data, *options):
    return run_command(
        f'selection.{step}',
        *('--data-dir', data, '--data-list', data / 'list.txt', '--tags', data / 'tags.txt'),
        *options,
    )


def run_refine(data, *options):
    scores = ('--scores', data / 'scores')
    return run('refine_masks', data, *scores, '--out', data / 'refined', '--jobs', '1', *options)


def run_masks(data, *options):
    return run(
        *(
            'select_masks',
            data,
            '--table',
            data / 'refined/scores.csv',
            '--masks',
            data / 'refined',
        ),
        *('--out', data / 'train.txt', *options),
    )


def bad(result, message):
    assert result.code == 2
    assert message in result.error and 'Traceback' not in result.error


def test_refined_masks_are_the_crf_of_the_tags_probabilities(data):
    assert run_refine(data).code == 0
    for name in NAMES:
        tags = np.isin(np.arange(21), [0, *TAGS[name]])
        probabilities = image_probabilities(
            scores_of(name).astype(np.float32), size_of(name), 'logits', tags
        )
        expected = crf_labels(image_of(name), probabilities)
        labels = labels_of(data / f'refined/{name}.png')
        np.testing.assert_array_equal(labels, expected)
        assert set(np.unique(labels)) <= {0, *TAGS[name]}
        score = read_column(data / 'refined/scores.csv', 'crf_agreement', [name])[0]
        argmax = probabilities.argmax(-1).astype(np.uint8)
        assert score == pytest.approx(agreement(argmax, expected, tags), abs=1e-6)


def test_resumed_refinement_gives_the_same_masks_and_table(data):
    run_refine(data)
    table = (data / 'refined/scores.csv').read_bytes()
    kept = data / f'refined/{NAMES[0]}.png'
    before = kept.stat().st_mtime_ns
    (data / 'refined/scores.csv').unlink()
    (data / f'refined/{NAMES[1]}.png').unlink()
    assert run_refine(data, '--resume', '--jobs', '2').code == 0
    assert (data / 'refined/scores.csv').read_bytes() == table
    assert kept.stat().st_mtime_ns == before


def test_selected_samples_are_listed_with_their_masks(data):
    run_refine(data)
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
    arguments = ('--data-dir', data / 'link')
    assert run_refine(data, *arguments).code == 0
    assert run_masks(data, *arguments).code == 0
    for sample in read_list(data / 'train.txt', data / 'link'):
        assert sample.image.is_file() and sample.mask.is_file()


def test_masks_on_disk_are_scored_as_refine_scores_them(data):
    run_refine(data)
    arguments = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    assert run('measure_quality', data, *arguments, '--out', data / 'scored.csv').code == 0
    scored = read_column(data / 'scored.csv', 'annotation_agreement', NAMES)
    assert scored == read_column(data / 'refined/scores.csv', 'crf_agreement', NAMES)
    (data / f'refined/{NAMES[2]}.png').unlink()
    bad(run('measure_quality', data, *arguments, '--out', data / 'scored.csv'), 'no mask at')


def test_scoring_goes_on_with_the_scores_that_are_there(data, monkeypatch):
    run_refine(data)
    given = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    out = data / 'scored.csv'
    monkeypatch.setattr('selection.measure_quality.SAVE_EVERY', 2)
    good = (data / f'scores/{NAMES[2]}.npz').read_bytes()
    (data / f'scores/{NAMES[2]}.npz').write_bytes(b'PK')
    bad(run('measure_quality', data, *given, '--out', out), f'{NAMES[2]}.npz: not a score file')
    assert list(read_table(out)[1]) == NAMES[:2], 'what was scored until then is saved'
    (data / f'scores/{NAMES[2]}.npz').write_bytes(good)
    (data / f'scores/{NAMES[0]}.npz').write_bytes(b'PK')  # not read again
    assert run('measure_quality', data, *given, '--out', out, '--resume').code == 0
    assert list(read_table(out)[1]) == NAMES
    other = ('--out', data / 'refined/scores.csv', '--resume')
    bad(run('measure_quality', data, *given, *other), 'a table of other scores')


def test_pixel_selection_ignores_unsure_pixels(data):
    run_refine(data)
    arguments = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    out = ('--out', data / 'pixels')
    assert run('select_pixels', data, *arguments, *out, '--threshold', '0.9').code == 0
    before, after = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('refined', 'pixels'))
    assert (after == 255).any() and set(np.unique(after)) <= {0, 1, 2, 255}
    np.testing.assert_array_equal(after[after != 255], before[after != 255])
    options = ('--threshold', '1', '--class-threshold', '0=0')
    assert run('select_pixels', data, *arguments, *out, *options).code == 0
    after = labels_of(data / f'pixels/{NAMES[2]}.png')
    np.testing.assert_array_equal(after == 0, before == 0)
    bad(run('select_pixels', data, *arguments, *out, '--threshold', '1.1'), 'from 0 to 1')
    bad(
        run(
            'select_pixels', data, *arguments, *out, '--threshold', '1', '--class-threshold', '21=0'
        ),
        '21',
    )
    bad(
        run('select_pixels', data, *arguments, '--out', data / 'refined', '--threshold', '1'),
        'overwrite',
    )


def test_bad_selections_are_named(data):
    run_refine(data)
    (data / 'tags.txt').write_text('gold_000001 3\ngold_000002 5\ngold_000003 1 2\n')
    table = data / 'refined/scores.csv'
    bad(run_masks(data, '--threshold', '1.5'), 'threshold 1.5: must be from 0 to 1')
    bad(run_masks(data, '--measure', 'beauty'), 'no score beauty')
    write_table(table, ['crf_agreement'], {name: [0.5] for name in NAMES})
    bad(run_masks(data, '--threshold', '0.8'), 'no score reaches the threshold 0.8')
    table.write_bytes(table.read_bytes()[:-20])
    bad(run_masks(data), 'scores.csv')
    (data / f'refined/{NAMES[0]}.png').unlink()
    write_table(table, ['crf_agreement'], {name: [0.5] for name in NAMES})
    bad(run_masks(data), 'no mask at')
    bad(run_masks(data, '--fraction', '0', '--class-minimum', '0'), 'keep no mask')
    bad(run_masks(data, '--out', data / 'list.txt'), 'would overwrite what it is made from')
    assert not (data / 'train.txt').exists()


def test_without_a_table_the_masks_that_are_there_go_on(data):
    run_refine(data)
    (data / f'refined/{NAMES[0]}.png').unlink()
    given = ('--masks', data / 'refined', '--out', data / 'train.txt')
    result = run('select_masks', data, *given)
    assert result.code == 0 and 'all               3 images,      2 kept' in result.out
    assert [s.name for s in read_list(data / 'train.txt', data)] == NAMES[1:]
    bad(
        run('select_masks', data, *given, '--threshold', '0.8'),
        'without --table there are no scores',
    )
    bad(run('select_masks', data, *given, '--masks', data / 'scores'), 'no mask of any image of')


def test_bad_scores_are_named_and_leave_no_table(data):
    shutil.copy(data / f'scores/{NAMES[1]}.npz', data / f'scores/{NAMES[0]}.npz')
    bad(run_refine(data), f'{NAMES[0]}.npz: holds the scores of another image, {NAMES[1]}')
    assert not (data / 'refined/scores.csv').exists()
    (data / f'scores/{NAMES[0]}.npz').unlink()
    bad(run_refine(data), 'list.txt, line 1: no scores at')


@pytest.mark.parametrize('step', ['refine_masks', 'select_pixels', 'choose_candidates'])
def test_two_processes_do_not_write_to_one_folder(data, step):
    run_refine(data)
    masks = () if step == 'refine_masks' else ('--masks', data / 'refined')
    masks += ('--threshold', '0.5') if step == 'select_pixels' else ()
    (data / 'out').mkdir()
    with locked(data / 'out'):
        given = ('--scores', data / 'scores', '--out', data / 'out', '--jobs', '1')
        bad(run(step, data, *masks, *given), 'another process is writing to this folder')
    assert not list((data / 'out').glob('*.png'))


def test_scores_of_other_classes_and_masks_of_other_sizes_are_named(data):
    run_refine(data)
    given = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    Image.new('L', (3, 3)).save(data / f'refined/{NAMES[0]}.png')
    result = run('measure_quality', data, *given, '--out', data / 's.csv')
    bad(result, f'{NAMES[0]}.npz: scores of an image of')
    size = size_of(NAMES[0])
    write_score_map(
        data / f'scores/{NAMES[0]}.npz', np.zeros((*(-(-n // 8) for n in size), 5)), size, 'logits'
    )
    bad(run_refine(data), f'{NAMES[0]}.npz: scores of 5 classes, expected 21')


# The report


def test_report_is_one_page_with_every_picture_in_it(data):
    run_refine(data)
    arguments = ('--table', data / 'refined/scores.csv', '--masks', data / 'refined')
    arguments += ('--fraction', '0.3', '--class-minimum', '0')
    result = run(
        'show_selection',
        data,
        *arguments,
        '--annotations',
        data / 'refined',
        '--out',
        data / 'r.html',
    )
    assert result.code == 0
    page = (data / 'r.html').read_text()
    assert '1 of 3 masks are kept' in page
    assert 'gold_000002: 1.000, kept (no tags)' in page
    assert '<td><b style="background:#808000"></b>bird<td>1<td>0<td>1' in page
    assert page.count('<img') == page.count('src="data:image/') == 1 + 3 * 3
    assert 'http' not in page
    (data / f'refined/{NAMES[0]}.png').unlink()
    bad(run('show_selection', data, *arguments, '--out', data / 'r.html'), 'no mask at')


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


# Saliency, and candidates


def test_masks_refined_with_saliency_are_the_crf_of_both(data):
    (data / 'saliency').mkdir()
    maps = {}
    for name in NAMES:
        height, width = size_of(name)
        maps[name] = np.zeros((height, width), np.uint8)
        maps[name][:, width // 2 :] = 230
        Image.fromarray(maps[name]).save(data / f'saliency/{name}.png')
    run_refine(data)
    out = ('--out', data / 'salient', '--saliency', data / 'saliency')
    assert run_refine(data, *out).code == 0
    for name in NAMES:
        tags = np.isin(np.arange(21), [0, *TAGS[name]])
        probabilities = image_probabilities(
            scores_of(name).astype(np.float32), size_of(name), 'logits', tags
        )
        expected = crf_labels(image_of(name), with_saliency(probabilities, maps[name]))
        np.testing.assert_array_equal(labels_of(data / f'salient/{name}.png'), expected)
        score = read_column(data / 'salient/scores.csv', 'crf_agreement', [name])[0]
        argmax = probabilities.argmax(-1).astype(np.uint8)
        assert score == pytest.approx(agreement(argmax, expected, tags), abs=1e-6)
    assert (labels_of(data / f'salient/{NAMES[0]}.png') == 3).mean() > 0.1

    (data / 'proxies').mkdir()
    for name in NAMES:
        Image.new('L', size_of(name)[::-1], 255).save(data / f'proxies/{name}.png')
    three = [data / folder for folder in ('proxies', 'refined', 'salient')]
    given = ('--scores', data / 'scores', '--out', data / 'best', '--jobs', '1')
    assert run('choose_candidates', data, '--masks', *three, *given).code == 0
    columns = [read_column(f / 'scores.csv', 'crf_agreement', NAMES) for f in three[1:]]
    chosen = read_column(data / 'best/scores.csv', 'annotation_agreement', NAMES)
    assert chosen == [max(scores) for scores in zip(*columns, strict=True)]

    Image.new('L', (3, 3)).save(data / f'saliency/{NAMES[0]}.png')
    bad(run_refine(data, *out), f'{NAMES[0]}.png: the map is 3x3, its image')
    (data / f'saliency/{NAMES[0]}.png').unlink()
    bad(run_refine(data, *out), 'list.txt, line 1: no saliency map at')


def test_chosen_candidates_are_saved_with_their_scores(data):
    run_refine(data)
    (data / 'empty').mkdir()
    for name in NAMES:
        Image.new('L', size_of(name)[::-1], 255).save(data / f'empty/{name}.png')
    arguments = ('--masks', data / 'empty', data / 'refined', '--scores', data / 'scores')
    result = run('choose_candidates', data, *arguments, '--out', data / 'best', '--jobs', '1')
    assert result.code == 0
    assert f'{data / "refined"}: 3 of 3' in result.out
    for name in NAMES:
        chosen, refined = (labels_of(data / f'{f}/{name}.png') for f in ('best', 'refined'))
        np.testing.assert_array_equal(chosen, refined)
    scored = read_column(data / 'best/scores.csv', 'annotation_agreement', NAMES)
    assert scored == read_column(data / 'refined/scores.csv', 'crf_agreement', NAMES)
    table = (data / 'best/scores.csv').read_bytes()
    kept = data / f'best/{NAMES[0]}.png'
    before = kept.stat().st_mtime_ns
    (data / 'best/scores.csv').unlink()
    (data / f'best/{NAMES[1]}.png').unlink()
    Image.new('L', size_of(NAMES[2])[::-1], 0).save(data / f'best/{NAMES[2]}.png')
    resumed = run(
        'choose_candidates', data, *arguments, '--out', data / 'best', '--jobs', '1', '--resume'
    )
    assert resumed.out == result.out
    assert (data / 'best/scores.csv').read_bytes() == table
    assert kept.stat().st_mtime_ns == before
    chosen, refined = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('best', 'refined'))
    np.testing.assert_array_equal(chosen, refined, 'what is no candidate is not kept')
    bad(run('choose_candidates', data, *arguments, '--out', data / 'refined'), 'overwrite')
    Image.new('L', (3, 3), 0).save(data / f'refined/{NAMES[0]}.png')
    bad(
        run('choose_candidates', data, *arguments, '--out', data / 'best', '--jobs', '1'),
        'another size',
    )

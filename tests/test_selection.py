import shutil

import numpy as np
import pytest
from PIL import Image

from deeplablib.crf import crf_labels
from deeplablib.errors import InputError
from deeplablib.files import locked
from deeplablib.samples import read_list
from deeplablib.scores import image_probabilities, write_scores
from deeplablib.tags import read_tags
from selection.candidates import best_candidate
from selection.masks import select_masks
from selection.measures import agreement, all_tags, class_mean, measure
from selection.pixels import confident_pixels
from selection.refine import with_saliency
from selection.report import panel
from selection.table import read_column, read_table, write_table
from selection.tags import tags_of_mask
from tests import golden
from tests.command import run_command

NAMES = ['gold_000001', 'gold_000002', 'gold_000003']
TAGS = {'gold_000001': (3,), 'gold_000002': (), 'gold_000003': (1, 2)}


def allowed(*tags, classes=5):
    return np.isin(np.arange(classes), [0, *tags])


def mask(*rows):
    return np.array(rows, np.uint8)


# What the scores say


def test_agreement_is_the_mean_iou_over_tags_and_background():
    first, second = mask([0, 0, 0, 1, 1, 1]), mask([0, 0, 1, 1, 1, 2])
    # background 2/3, class 1: 2 of 4, class 2: not in the first, so 0
    assert agreement(first, second, allowed(1, 2)) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert agreement(first, first, allowed(1)) == 1


def test_a_crf_that_removes_a_class_gives_it_nothing():
    argmax, crf = mask([0, 0, 0, 1]), mask([0, 0, 0, 0])
    assert agreement(argmax, crf, allowed(1)) == pytest.approx((3 / 4 + 0) / 2)


def test_empty_intersections_and_tags_absent_from_both_count_nothing():
    assert agreement(mask([0, 1]), mask([1, 0]), allowed(1)) == 0
    assert agreement(mask([0, 0]), mask([0, 0]), allowed(4)) == 0.5


def test_background_may_be_absent():
    assert agreement(mask([1, 1]), mask([1, 1]), allowed(1)) == 1


def test_ignored_pixels_are_left_out_of_the_agreement():
    assert agreement(mask([0, 1, 255, 255]), mask([0, 1, 1, 0]), allowed(1)) == 1
    assert agreement(mask([0, 1, 1, 0]), mask([0, 1, 255, 255]), allowed(1)) == 1


def test_a_mask_that_is_all_ignored_scores_nothing():
    nothing = mask([255, 255])
    probabilities = np.full((1, 2, 5), 0.2, np.float32)
    assert agreement(nothing, mask([0, 1]), allowed(1)) == 0
    assert agreement(nothing, mask([0, 0]), allowed()) == 0
    scores = measure(nothing, probabilities, allowed(1))
    assert scores[0] == scores[2] == scores[3] == 0


def test_an_image_without_tags_is_judged_by_its_background():
    assert agreement(mask([0, 0]), mask([0, 0]), allowed()) == 1
    assert all_tags(mask([0, 0]), allowed()) == 1


def test_class_mean_counts_classes_alike_and_missed_tags_as_nothing():
    labels = mask([0, 0, 0, 1, 255])
    values = np.array([[0.9, 0.6, 0.6, 0.5, 0.1]])
    assert class_mean(values, labels, allowed(1)) == pytest.approx((0.7 + 0.5) / 2)
    assert class_mean(values, labels, allowed(1, 2)) == pytest.approx((0.7 + 0.5 + 0) / 3)


def test_all_tags_wants_every_one():
    assert all_tags(mask([0, 1, 2]), allowed(1, 2)) == 1
    assert all_tags(mask([0, 1, 1]), allowed(1, 2)) == 0
    assert all_tags(mask([1, 2, 2]), allowed(1, 2)) == 1


def test_measure_compares_the_mask_with_the_networks_argmax():
    probabilities = np.array([[[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]], np.float32)
    scores = measure(mask([0, 0, 1]), probabilities, allowed(1, classes=2))
    assert scores == pytest.approx((0.5, (0.7 + 0.75) / 2, ((0.7 + 0.4) / 2 + 0.9) / 2, 1))


# What is kept


def keep(scores, *tags, **options):
    return select_masks(scores, [allowed(*t) for t in tags], **options).tolist()


def test_the_best_fraction_is_kept_and_equal_scores_in_their_order():
    scores, tags = [0.5, 0.9, 0.5, 0.1], [(1,)] * 4
    assert keep(scores, *tags, fraction=0.5, class_minimum=0) == [True, True, False, False]
    assert keep(scores, *tags, fraction=0.6, class_minimum=0) == [True, True, True, False]
    assert keep(scores, *tags, fraction=1, class_minimum=0) == [True] * 4
    assert sum(keep([0.5] * 100, *[(1,)] * 100, fraction=0.07, class_minimum=0)) == 7


def test_a_threshold_keeps_every_score_from_there_on():
    scores, tags = [0.8, 0.79, 0.9], [(1,)] * 3
    assert keep(scores, *tags, threshold=0.8, class_minimum=0) == [True, False, True]


def test_every_class_keeps_its_minimum():
    scores = [0.9, 0.8, 0.3, 0.2, 0.1]
    tags = [(1,), (1,), (2,), (2,), (2, 3)]
    kept = keep(scores, *tags, fraction=0.4, class_minimum=0.4)
    assert kept == [True, True, True, True, True], 'ceil(0.4 * 3) of class 2, and class 3'
    kept = keep(scores, *tags[:4], (2,), fraction=0.4, class_minimum=0.4)
    assert kept == [True, True, True, True, False]


def test_no_score_above_the_threshold_is_an_error_that_shows_the_scores():
    with pytest.raises(InputError, match='threshold 0.9.*0.100, 0.200, 0.300, 0.400, 0.500'):
        keep([0.1, 0.2, 0.3, 0.4, 0.5], *[(1,)] * 5, threshold=0.9)


@pytest.mark.parametrize('name', ['fraction', 'threshold', 'class_minimum'])
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_a_value_outside_0_to_1_is_refused(name, value):
    with pytest.raises(InputError, match=f'{name.replace("_", " ")} .*must be from 0 to 1'):
        keep([0.5], (1,), **{name: value})


def test_pixels_stay_from_the_threshold_of_their_class_on():
    probabilities = np.array([[[0.7, 0.3], [0.5, 0.5], [0.1, 0.9], [0.5, 0.5]]], np.float32)
    labels = mask([0, 1, 1, 255])
    assert confident_pixels(labels, probabilities, [0.7, 0.5]).tolist() == [[0, 1, 1, 255]]
    assert confident_pixels(labels, probabilities, [0.71, 0.6]).tolist() == [[255, 255, 1, 255]]
    assert labels.tolist() == [[0, 1, 1, 255]], 'the mask itself is left as it is'


# Tables


def test_a_table_is_read_as_it_was_written(tmp_path):
    write_table(tmp_path / 't.csv', ['x', 'y'], {'a,1': (0, 0.5), 'b': (0.25, 1)})
    assert read_column(tmp_path / 't.csv', 'y', ['b', 'a,1']) == [1, 0.5]


@pytest.mark.parametrize(
    'text, message',
    [
        ('name,x\na,0.5\nb,0.', 'cut off in line 3'),
        ('name,x\na,0.5\nb\n', 'line 3: 1 fields, expected 2'),
        ('name,x\na,0.5\n\nb,1\n', 'line 3: 1 fields, expected 2'),
        ('name,x\na,0.5\n', 'no score for b'),
        ('name,x\na,0.5\nb,1.5\n', 'line 3: x is no number from 0 to 1'),
        ('name,x\na,0.5\nb,nan\n', 'line 3: x is no number from 0 to 1'),
        ('name,x\na,0.5\nb,good\n', 'line 3: x is no number from 0 to 1'),
        ('name,x\na,0.5\nb,1\na,0\n', 'line 4: a has a score already'),
        ('name,y\na,0.5\nb,1\n', 'no score x; there are: y'),
        ('a,0.5\n', 'no table of scores'),
        ('', 'no table of scores'),
        (None, 'cannot read the scores'),
    ],
)
def test_a_bad_table_is_named(tmp_path, text, message):
    path = tmp_path / 't.csv'
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf't.csv.*{message}'):
        read_column(path, 'x', ['a', 'b'])


# Commands


@pytest.fixture
def data(tmp_path):
    """Three images, their tags and score files, and a list of names."""
    shutil.copytree(golden.FOLDER / 'voc/JPEGImages', tmp_path / 'JPEGImages')
    (tmp_path / 'scores').mkdir()
    for name in NAMES:
        size = size_of(name)
        write_scores(tmp_path / f'scores/{name}.npz', scores_of(name), size, 'logits')
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
    return run('refine', data, *scores, '--out', data / 'refined', '--jobs', '1', *options)


def run_masks(data, *options):
    return run(
        *('masks', data, '--table', data / 'refined/scores.csv', '--masks', data / 'refined'),
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
    assert run('score', data, *arguments, '--out', data / 'scored.csv').code == 0
    scored = read_column(data / 'scored.csv', 'annotation_agreement', NAMES)
    assert scored == read_column(data / 'refined/scores.csv', 'crf_agreement', NAMES)
    (data / f'refined/{NAMES[2]}.png').unlink()
    bad(run('score', data, *arguments, '--out', data / 'scored.csv'), 'no mask at')


def test_scoring_goes_on_with_the_scores_that_are_there(data, monkeypatch):
    run_refine(data)
    given = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    out = data / 'scored.csv'
    monkeypatch.setattr('selection.score.SAVE_EVERY', 2)
    good = (data / f'scores/{NAMES[2]}.npz').read_bytes()
    (data / f'scores/{NAMES[2]}.npz').write_bytes(b'PK')
    bad(run('score', data, *given, '--out', out), f'{NAMES[2]}.npz: not a score file')
    assert list(read_table(out)[1]) == NAMES[:2], 'what was scored until then is saved'
    (data / f'scores/{NAMES[2]}.npz').write_bytes(good)
    (data / f'scores/{NAMES[0]}.npz').write_bytes(b'PK')  # not read again
    assert run('score', data, *given, '--out', out, '--resume').code == 0
    assert list(read_table(out)[1]) == NAMES
    other = ('--out', data / 'refined/scores.csv', '--resume')
    bad(run('score', data, *given, *other), 'a table of other scores')


def test_pixel_selection_ignores_unsure_pixels(data):
    run_refine(data)
    arguments = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    out = ('--out', data / 'pixels')
    assert run('pixels', data, *arguments, *out, '--threshold', '0.9').code == 0
    before, after = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('refined', 'pixels'))
    assert (after == 255).any() and set(np.unique(after)) <= {0, 1, 2, 255}
    np.testing.assert_array_equal(after[after != 255], before[after != 255])
    options = ('--threshold', '1', '--class-threshold', '0=0')
    assert run('pixels', data, *arguments, *out, *options).code == 0
    after = labels_of(data / f'pixels/{NAMES[2]}.png')
    np.testing.assert_array_equal(after == 0, before == 0)
    bad(run('pixels', data, *arguments, *out, '--threshold', '1.1'), 'from 0 to 1')
    bad(
        run('pixels', data, *arguments, *out, '--threshold', '1', '--class-threshold', '21=0'), '21'
    )
    bad(run('pixels', data, *arguments, '--out', data / 'refined', '--threshold', '1'), 'overwrite')


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
    result = run('masks', data, *given)
    assert result.code == 0 and 'all               3 images,      2 kept' in result.out
    assert [s.name for s in read_list(data / 'train.txt', data)] == NAMES[1:]
    bad(run('masks', data, *given, '--threshold', '0.8'), 'without --table there are no scores')
    bad(run('masks', data, *given, '--masks', data / 'scores'), 'no mask of any image of')


def test_bad_scores_are_named_and_leave_no_table(data):
    shutil.copy(data / f'scores/{NAMES[1]}.npz', data / f'scores/{NAMES[0]}.npz')
    bad(run_refine(data), f'{NAMES[0]}.npz: holds the scores of another image, {NAMES[1]}')
    assert not (data / 'refined/scores.csv').exists()
    (data / f'scores/{NAMES[0]}.npz').unlink()
    bad(run_refine(data), 'list.txt, line 1: no scores at')


@pytest.mark.parametrize('step', ['refine', 'pixels', 'candidates'])
def test_two_processes_do_not_write_to_one_folder(data, step):
    run_refine(data)
    masks = () if step == 'refine' else ('--masks', data / 'refined')
    masks += ('--threshold', '0.5') if step == 'pixels' else ()
    (data / 'out').mkdir()
    with locked(data / 'out'):
        given = ('--scores', data / 'scores', '--out', data / 'out', '--jobs', '1')
        bad(run(step, data, *masks, *given), 'another process is writing to this folder')
    assert not list((data / 'out').glob('*.png'))


def test_scores_of_other_classes_and_masks_of_other_sizes_are_named(data):
    run_refine(data)
    given = ('--masks', data / 'refined', '--scores', data / 'scores', '--jobs', '1')
    Image.new('L', (3, 3)).save(data / f'refined/{NAMES[0]}.png')
    result = run('score', data, *given, '--out', data / 's.csv')
    bad(result, f'{NAMES[0]}.npz: scores of an image of')
    size = size_of(NAMES[0])
    write_scores(
        data / f'scores/{NAMES[0]}.npz', np.zeros((*(-(-n // 8) for n in size), 5)), size, 'logits'
    )
    bad(run_refine(data), f'{NAMES[0]}.npz: scores of 5 classes, expected 21')


# Tags


XML = '<annotation><object><name>{}</name></object><object><name>cat</name></object></annotation>'


def test_tags_come_from_annotations_or_masks(tmp_path):
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations/a.xml').write_text(XML.format('aeroplane'))
    arguments = ('--annotations', tmp_path / 'Annotations', '--jobs', '1')
    assert run_command('selection.tags', *arguments, '--out', tmp_path / 'tags.txt').code == 0
    assert read_tags(tmp_path / 'tags.txt') == {'a': (1, 8)}
    (tmp_path / 'masks').mkdir()
    Image.fromarray(mask([0, 8, 1, 255])).save(tmp_path / 'masks/a.png')
    Image.fromarray(mask([0, 255])).save(tmp_path / 'masks/b.png')
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
    assert tags_of_mask(mask([255, 20])) == (20,)


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
    bad(result, message)


# The report


def test_report_is_one_page_with_every_picture_in_it(data):
    run_refine(data)
    arguments = ('--table', data / 'refined/scores.csv', '--masks', data / 'refined')
    arguments += ('--fraction', '0.3', '--class-minimum', '0')
    result = run(
        'report', data, *arguments, '--annotations', data / 'refined', '--out', data / 'r.html'
    )
    assert result.code == 0
    page = (data / 'r.html').read_text()
    assert '1 of 3 masks are kept' in page
    assert 'gold_000002: 1.000, kept (no tags)' in page
    assert '<td><b style="background:#808000"></b>bird<td>1<td>0<td>1' in page
    assert page.count('<img') == page.count('src="data:image/') == 1 + 3 * 3
    assert 'http' not in page
    (data / f'refined/{NAMES[0]}.png').unlink()
    bad(run('report', data, *arguments, '--out', data / 'r.html'), 'no mask at')


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


def test_saliency_speaks_for_objects_and_against_background():
    probabilities = np.array([[[0.5, 0.3, 0.2]] * 4], np.float32)
    result = with_saliency(probabilities, mask([51, 204, 0, 255]))
    # background 0.5 * 0.8, objects 0.3 * 0.2 and 0.2 * 0.2; their sum is 0.5
    np.testing.assert_allclose(result[0, 0], (0.8, 0.12, 0.08), rtol=1e-5)
    np.testing.assert_allclose(result[0, 1], (0.2, 0.48, 0.32), rtol=1e-5)
    np.testing.assert_allclose(result[0, 2], (0.95, 0.03, 0.02), rtol=1e-5)
    np.testing.assert_allclose(result[0, 3], (0.05, 0.57, 0.38), rtol=1e-5)


def test_saliency_brings_no_class_that_may_not_occur():
    probabilities = np.array([[[0, 0.4, 0], [1, 0, 0]]], np.float32)
    result = with_saliency(probabilities, mask([0, 255]))
    np.testing.assert_allclose(result[0], [[0, 1, 0], [1, 0, 0]])


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
    assert run('candidates', data, '--masks', *three, *given).code == 0
    columns = [read_column(f / 'scores.csv', 'crf_agreement', NAMES) for f in three[1:]]
    chosen = read_column(data / 'best/scores.csv', 'annotation_agreement', NAMES)
    assert chosen == [max(scores) for scores in zip(*columns, strict=True)]

    Image.new('L', (3, 3)).save(data / f'saliency/{NAMES[0]}.png')
    bad(run_refine(data, *out), f'{NAMES[0]}.png: the map is 3x3, its image')
    (data / f'saliency/{NAMES[0]}.png').unlink()
    bad(run_refine(data, *out), 'list.txt, line 1: no saliency map at')


def test_the_candidate_that_agrees_best_with_the_network_is_chosen():
    probabilities = np.array([[[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]], np.float32)
    candidates = [mask([0, 0, 0]), mask([0, 1, 1]), mask([0, 1, 1])]
    index, scores = best_candidate(candidates, probabilities, allowed(1, classes=2))
    assert index == 1 and scores[0] == 1


def test_chosen_candidates_are_saved_with_their_scores(data):
    run_refine(data)
    (data / 'empty').mkdir()
    for name in NAMES:
        Image.new('L', size_of(name)[::-1], 255).save(data / f'empty/{name}.png')
    arguments = ('--masks', data / 'empty', data / 'refined', '--scores', data / 'scores')
    result = run('candidates', data, *arguments, '--out', data / 'best', '--jobs', '1')
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
    resumed = run('candidates', data, *arguments, '--out', data / 'best', '--jobs', '1', '--resume')
    assert resumed.out == result.out
    assert (data / 'best/scores.csv').read_bytes() == table
    assert kept.stat().st_mtime_ns == before
    chosen, refined = (labels_of(data / f'{f}/{NAMES[2]}.png') for f in ('best', 'refined'))
    np.testing.assert_array_equal(chosen, refined, 'what is no candidate is not kept')
    bad(run('candidates', data, *arguments, '--out', data / 'refined'), 'overwrite')
    Image.new('L', (3, 3), 0).save(data / f'refined/{NAMES[0]}.png')
    bad(run('candidates', data, *arguments, '--out', data / 'best', '--jobs', '1'), 'another size')

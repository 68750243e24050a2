import sys

import numpy as np
import pytest
from PIL import Image

from deeplablib.prediction.crf import Parameters
from selection.make_proxies import crf_proxy, proxy_annotation
from tests.command import refused, run_command


def proxy(cues, saliency=None, **options):
    """Cues as rows of 0..255, with a last pixel of 0 and one of 255 so that they span the range."""
    arrays = {i: np.array([row], np.uint8) for i, row in cues.items()}
    size = next(iter(arrays.values())).shape
    saliency = None if saliency is None else np.array([saliency], np.uint8)
    return proxy_annotation(arrays, size, saliency, **options)[0].tolist()


def test_label_is_the_class_with_the_highest_score():
    #        background, class 3, class 7, (range)
    cues = {3: [20, 200, 90, 255, 0], 7: [20, 90, 200, 0, 255]}
    assert proxy(cues, late_fill_in=None) == [0, 3, 7, 3, 7]


def test_saliency_gives_the_background_score():
    # Background 1 - 153/255 = 0.4 loses to 0.5; 1 - 26/255 = 0.9 wins.
    assert proxy({3: [128, 127, 255, 0]}, [153, 26, 255, 0]) == [3, 0, 3, 0]


def test_a_score_below_a_fifth_counts_as_none():
    # 0.196 of the class beats nothing, though background is 0; it is ignored as it is salient.
    assert proxy({3: [50, 52, 255, 0]}, [255, 255, 255, 0], late_fill_in=None) == [255, 3, 3, 0]


def test_two_sure_scores_contradict_each_other():
    cues = {3: [255, 255, 0, 0], 7: [231, 229, 255, 0]}  # 0.906 and 0.898
    assert proxy(cues, late_fill_in=None) == [255, 3, 7, 0]


def test_a_sure_class_on_sure_background_contradicts_it_too():
    assert proxy({3: [255, 200, 0]}, [10, 200, 0], late_fill_in=None) == [255, 3, 0]


def test_background_that_is_salient_or_has_a_cue_is_unsure():
    cues = {3: [0, 0, 129, 127, 255, 0]}  # 129/255 > 0.5 >= 127/255
    saliency = [31, 32, 0, 0, 255, 0]
    assert proxy(cues, saliency, late_fill_in=None) == [0, 255, 255, 0, 3, 0]


def test_an_image_with_under_one_percent_of_foreground_is_ignored():
    cue = np.zeros((10, 20), np.uint8)
    cue[0, 0] = 255
    assert (proxy_annotation({3: cue}, cue.shape, late_fill_in=None) == 255).all()
    filled = proxy_annotation({3: cue}, cue.shape)
    assert filled[0, 0] == 3 and (filled == 255).sum() == 199
    cue[0, 1] = 255
    assert (proxy_annotation({3: cue}, cue.shape) == 0).sum() == 198


def test_late_fill_in_labels_ignored_pixels_only_and_the_lowest_class_first():
    cues = {3: [255, 0, 206, 0], 7: [255, 255, 0, 0]}
    assert proxy(cues) == [3, 7, 3, 0]
    assert proxy({3: [209, 203, 255, 0]}, [0, 0, 255, 0]) == [3, 255, 3, 0]


def test_a_cue_is_stretched_over_its_range():
    assert proxy({3: [110, 100, 140]}) == [0, 0, 3]
    assert proxy({3: [200, 200, 200]}) == [255, 255, 255], 'a flat cue says nothing'


def test_an_image_without_tags_is_ignored():
    assert (proxy_annotation({}, (2, 3)) == 255).all()


ALONE = Parameters(3, 0, 31, 15, 0)  # pixels do not look at each other: the CRF is an argmax


def test_crf_rule_ignores_what_is_surely_neither_object_nor_background():
    #             1.0  0.306 0.294 0.106 0.094 0 of class 7; background scores 0.3, then 0.1
    row = np.array([[255, 78, 75, 27, 24, 0]], np.uint8)
    image = np.zeros((*row.shape, 3), np.uint8)
    labels = crf_proxy(image, {7: row}, 0.3, 0.1, ALONE)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[7, 7, 255, 255, 0, 0]]
    two = {7: row, 3: np.array([[0, 100, 0, 0, 20, 255]], np.uint8)}
    assert crf_proxy(image, two, 0.3, 0.1, ALONE).tolist() == [[7, 3, 255, 255, 0, 3]]
    assert crf_proxy(image, {7: row}, 0.3, 0.3, ALONE).tolist() == [[7, 7, 0, 0, 0, 0]]
    assert (crf_proxy(image, {}) == 255).all()


def test_crf_rule_follows_the_edges_of_the_image():
    # The image has an edge at column 20; the cue of class 4 wanes from the left to the right.
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 20:] = 200
    cue = np.tile(np.linspace(255, 0, 40).astype(np.uint8), (30, 1))
    labels = crf_proxy(image, {4: cue}, 0.5, 0.4)
    assert (labels[:, :20] == 4).all() and (labels[:, 20:] == 0).all()
    above = np.where(cue / 255 > 0.5, 4, np.where(cue / 255 > 0.4, 255, 0))
    assert (labels != above).any(), 'thresholds alone would not find it'


@pytest.fixture
def data(tmp_path):
    """Two images, one with two tags, and their cues and saliency maps."""
    for folder in ('JPEGImages', 'cues', 'saliency'):
        (tmp_path / folder).mkdir()
    ramp = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (12, 1))
    for name in 'ab':
        Image.fromarray(np.dstack([ramp] * 3)).save(tmp_path / f'JPEGImages/{name}.jpg')
        Image.fromarray(ramp).save(tmp_path / f'saliency/{name}.png')
    Image.fromarray(ramp).save(tmp_path / 'cues/a_0.png')
    Image.fromarray(ramp[:, ::-1]).save(tmp_path / 'cues/a_14.png')
    Image.fromarray(ramp).save(tmp_path / 'cues/b_19.png')
    (tmp_path / 'list.txt').write_text('a\nb\n')
    (tmp_path / 'tags.txt').write_text('a 1 15\nb 20\n')
    return tmp_path


def run(data, *options):
    return run_command(
        'selection.make_proxies',
        *('--data-dir', data, '--data-list', data / 'list.txt', '--tags', data / 'tags.txt'),
        *('--cues', data / 'cues', '--out', data / 'out', '--jobs', '1', *options),
    )


def test_command_writes_what_the_function_gives(data):
    assert run(data, '--saliency', data / 'saliency').code == 0
    cue, saliency = (np.array(Image.open(data / p)) for p in ('cues/b_19.png', 'saliency/b.png'))
    written = Image.open(data / 'out/b.png')
    assert written.mode == 'P'
    expected = proxy_annotation({20: cue}, cue.shape, saliency)
    np.testing.assert_array_equal(np.array(written), expected)
    assert set(np.unique(np.array(Image.open(data / 'out/a.png')))) >= {1, 15}


def test_without_saliency_the_rule_is_that_of_the_crf_unless_another_is_asked_for(data):
    assert run(data).code == 0
    cue = np.array(Image.open(data / 'cues/b_19.png'))
    image = np.array(Image.open(data / 'JPEGImages/b.jpg'))
    by_crf = np.array(Image.open(data / 'out/b.png'))
    np.testing.assert_array_equal(by_crf, crf_proxy(image, {20: cue}))
    for options, late_fill_in in ((('--rule', 'thresholds'), 0.8), (('--no-late-fill-in',), None)):
        assert run(data, *options).code == 0
        expected = proxy_annotation({20: cue}, cue.shape, late_fill_in=late_fill_in)
        np.testing.assert_array_equal(np.array(Image.open(data / 'out/b.png')), expected)
    assert (expected != by_crf).any()


def test_cues_may_be_the_dictionaries_of_irn(data):
    assert run(data).code == 0
    expected = np.array(Image.open(data / 'out/a.png'))
    maps = [np.array(Image.open(data / f'cues/a_{i}.png')) / np.float32(255) for i in (0, 14)]
    for path in (data / 'cues').iterdir():
        path.unlink()
    np.save(data / 'cues/a.npy', {'keys': np.array([0, 14]), 'high_res': np.stack(maps)})
    np.save(data / 'cues/b.npy', {19: maps[0]})
    assert run(data).code == 0
    np.testing.assert_array_equal(np.array(Image.open(data / 'out/a.png')), expected)
    np.save(data / 'cues/b.npy', {18: maps[0]})
    assert 'cues/b.npy: no cue for tag 20' in run(data).error
    np.save(data / 'cues/b.npy', {20: maps[0]})
    assert 'cues/b.npy: no class has the number 20 (0 to 19' in run(data).error


@pytest.mark.parametrize(
    'options, message',
    [
        (('--rule', 'crf', '--saliency', 'saliency'), '--rule crf takes no saliency maps'),
        (('--rule', 'crf', '--no-late-fill-in'), '--rule crf takes no saliency maps and has no'),
        (('--foreground-threshold', '1.5'), '--foreground-threshold 1.5: more than 0, less than 1'),
        (('--foreground-threshold', '0.05'), 'the first at most the second'),
        (('--background-threshold', '0'), '--background-threshold 0.0 and'),
        (('--rule', 'thresholds', '--background-threshold', '0.1'), 'are of --rule crf'),
        (('--rule', 'thresholds', '--downscale', '2'), 'are of --rule crf'),
    ],
)
def test_rules_that_make_no_sense_are_named(data, options, message):
    refused(run(data, *options), message)


def test_the_rule_of_the_crf_asks_for_its_package_first(data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    result = run(data)
    assert result.code == 2 and 'pip install pydensecrf2' in result.error
    assert run(data, '--rule', 'thresholds').code == 0


def test_resume_makes_only_what_is_missing(data):
    run(data)
    before = (data / 'out/a.png').stat().st_mtime_ns
    (data / 'out/b.png').unlink()
    assert run(data, '--resume').code == 0
    assert (data / 'out/a.png').stat().st_mtime_ns == before and (data / 'out/b.png').is_file()
    assert run(data, '--resume').code == 0, 'nothing left to do'


@pytest.mark.parametrize(
    'damage, message',
    [
        ('cue size', 'a_14.png: the map is 5x4, its image 16x12'),
        ('cue missing', 'list.txt, line 1: no cue for tag 15 at'),
        ('cues counted from 1', 'cues: the cues seem to be numbered by the class id; the class'),
        ('cue kind', 'a_14.png: expected an 8-bit grey PNG, this is RGB'),
        ('saliency missing', 'list.txt, line 2: no saliency map at'),
        ('tag', 'tags.txt, line 2: 21 is no class (1 to 20: '),
    ],
)
def test_bad_input_is_named(data, damage, message):
    cue = data / 'cues/a_14.png'
    if damage == 'cue size':
        Image.new('L', (5, 4)).save(cue)
    elif damage == 'cue missing':
        cue.unlink()
    elif damage == 'cues counted from 1':
        for name, tag in (('a', 15), ('a', 1), ('b', 20)):
            (data / f'cues/{name}_{tag - 1}.png').rename(data / f'cues/{name}_{tag}.png')
        (data / 'cues/b_20.png').unlink()  # which is no number at all
    elif damage == 'cue kind':
        Image.new('RGB', (16, 12)).save(cue)
    elif damage == 'saliency missing':
        (data / 'saliency/b.png').unlink()
    elif damage == 'tag':
        (data / 'tags.txt').write_text('a 1 15\nb 21\n')
    refused(run(data, '--saliency', data / 'saliency'), message)
    assert not (data / 'out/a.png').exists()

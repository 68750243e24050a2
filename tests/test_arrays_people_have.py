"""Arrays that NumPy marks read-only, or that lie otherwise in memory, handed to public functions.

np.asarray of a Pillow image, a memory map, a broadcast and JAX's arrays are read-only.
"""

import numpy as np
import pytest
from PIL import Image

import predict
from deeplablib.data.images import write_image
from deeplablib.data.masks import write_mask
from deeplablib.data.score_maps import image_probabilities, write_score_map
from deeplablib.prediction import metrics, photographs
from deeplablib.prediction.crf import crf_labels
from selection import (
    choose_candidates,
    evaluate_masks,
    make_proxies,
    make_tags,
    mask_quality,
    refine_masks,
    select_masks,
    select_pixels,
    show_selection,
)

HEIGHT, WIDTH, CLASSES = 9, 12, 4
rng = np.random.default_rng(0)
ARRAYS = {
    'image': rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
    'mask': rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (HEIGHT, WIDTH)),
    'labels': rng.integers(0, CLASSES, (HEIGHT, WIDTH)).astype(np.uint8),
    'cue': rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8),
    'probabilities': rng.dirichlet(np.ones(CLASSES), (HEIGHT, WIDTH)).astype(np.float32),
    'allowed': np.array([True, True, False, True]),
    'quality': rng.random(10),
    'shown': rng.random((10, CLASSES)) > 0.5,
    'kept': rng.random(10) > 0.5,
    'confusion': rng.integers(0, 9, (CLASSES, CLASSES)),
}
SIZE = HEIGHT, WIDTH
CALLS = {
    'image_probabilities, logits': lambda a: image_probabilities(
        a['probabilities'], SIZE, 'logits', a['allowed']
    ),
    'image_probabilities': lambda a: image_probabilities(a['probabilities'], SIZE, 'probabilities'),
    'label_photograph': lambda a: photographs.label_photograph(
        a['probabilities'], SIZE, 'logits', a['allowed']
    ),
    'shrink': lambda a: photographs.shrink(a['image'], (5, 6)),
    'enlarge': lambda a: photographs.enlarge(a['labels'], (20, 30)),
    'overlay': lambda a: predict.overlay(
        Image.fromarray(a['image']), a['labels'], ('ground', 'cat', 'dog', 'cow')
    ),
    'crf_labels': lambda a: crf_labels(a['image'], a['probabilities']),
    'confusion_matrix': lambda a: metrics.confusion_matrix(a['mask'], a['labels'], CLASSES),
    'iou_per_class': lambda a: metrics.iou_per_class(a['confusion']),
    'average_precision': lambda a: metrics.average_precision(a['kept'], a['quality']),
    'agreement': lambda a: mask_quality.agreement(a['mask'], a['labels'], a['allowed']),
    'crf_proxy': lambda a: make_proxies.crf_proxy(a['image'], {1: a['cue'], 3: a['cue']}),
    'proxy_annotation': lambda a: make_proxies.proxy_annotation({2: a['cue']}, SIZE, a['cue']),
    'measure': lambda a: mask_quality.measure(a['mask'], a['probabilities'], a['allowed']),
    'best_candidate': lambda a: choose_candidates.best_candidate(
        [a['mask'], a['labels']], a['probabilities'], a['allowed']
    ),
    'select_masks': lambda a: select_masks.select_masks(a['quality'], a['shown']),
    'confident_pixels': lambda a: select_pixels.confident_pixels(
        a['mask'], a['probabilities'], a['quality'][:CLASSES]
    ),
    'seed_labels': lambda a: evaluate_masks.seed_labels({1: a['cue']}, SIZE, 0.3),
    'with_saliency': lambda a: refine_masks.with_saliency(a['probabilities'], a['cue']),
    'tags_of_mask': lambda a: make_tags.tags_of_mask(a['mask']),
    'panel': lambda a: np.array(
        show_selection.panel(a['image'], a['mask'], a['labels'], kept=True)
    ),
    'histogram': lambda a: np.frombuffer(
        show_selection.histogram(a['quality'], a['kept'], 0.5), np.uint8
    ),
}


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def reversed_in_memory(array):
    """The same values, every second of a larger array, its rows from the bottom up."""
    larger = np.repeat(array[::-1], 2, axis=-1)
    return larger[::-1, ..., ::2] if array.ndim > 1 else larger[::-2]


@pytest.mark.parametrize('form', [read_only, reversed_in_memory])
@pytest.mark.parametrize('call', CALLS.values(), ids=CALLS)
def test_a_function_gives_the_same_for_an_array_of_any_form_and_leaves_it_alone(call, form):
    given = {name: form(array) for name, array in ARRAYS.items()}
    for name, array in given.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    expected = call({name: array.copy() for name, array in ARRAYS.items()})
    for one, other in zip(as_tuple(call(given)), as_tuple(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, array in given.items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize('form', [read_only, reversed_in_memory])
def test_an_array_of_any_form_is_written(tmp_path, form):
    for folder, make in ((tmp_path / 'usual', np.copy), (tmp_path / 'other', form)):
        folder.mkdir()
        write_mask(folder / 'mask.png', make(ARRAYS['mask']))
        write_image(folder / 'image.png', make(ARRAYS['image']))
        score_map = make(ARRAYS['probabilities'])
        write_score_map(folder / 'scores.npz', score_map, SIZE, 'probabilities', SIZE)
    for name in ('mask.png', 'image.png', 'scores.npz'):
        written = [(tmp_path / folder / name).read_bytes() for folder in ('usual', 'other')]
        assert written[0] == written[1]

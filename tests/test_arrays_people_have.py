"""Arrays that NumPy marks read-only, or that lie otherwise in memory, handed to code in C.

np.asarray of a Pillow image, a memory map, a broadcast and JAX's arrays are read-only.
"""

import numpy as np
import pytest

from deeplablib.data.images import write_image
from deeplablib.data.masks import write_mask
from deeplablib.data.score_maps import write_score_map
from deeplablib.prediction.crf import crf_labels

SIZE = HEIGHT, WIDTH = 9, 12
rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASK = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (HEIGHT, WIDTH))
PROBABILITIES = rng.dirichlet(np.ones(4), (HEIGHT, WIDTH)).astype(np.float32)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def reversed_in_memory(array):
    """The same values, every second of a larger array, its rows from the bottom up."""
    larger = np.repeat(array[::-1], 2, axis=-1)
    return larger[::-1, ..., ::2] if array.ndim > 1 else larger[::-2]


@pytest.mark.parametrize('form', [read_only, reversed_in_memory])
def test_the_crf_takes_an_array_of_any_form_and_leaves_it_alone(form):
    image, probabilities = form(IMAGE), form(PROBABILITIES)
    expected = crf_labels(IMAGE.copy(), PROBABILITIES.copy())
    np.testing.assert_array_equal(crf_labels(image, probabilities), expected)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(probabilities, PROBABILITIES)


@pytest.mark.parametrize('form', [read_only, reversed_in_memory])
def test_an_array_of_any_form_is_written(tmp_path, form):
    for folder, make in ((tmp_path / 'usual', np.copy), (tmp_path / 'other', form)):
        folder.mkdir()
        write_mask(folder / 'mask.png', make(MASK))
        write_image(folder / 'image.png', make(IMAGE))
        score_map = make(PROBABILITIES)
        write_score_map(folder / 'scores.npz', score_map, SIZE, 'probabilities', SIZE)
    for name in ('mask.png', 'image.png', 'scores.npz'):
        written = [(tmp_path / folder / name).read_bytes() for folder in ('usual', 'other')]
        assert written[0] == written[1]

import numpy as np
import pytest

from deeplablib.network.resize import resize_bilinear, resize_nearest
from tests import golden


@pytest.mark.parametrize('size', [(5, 8), (8, 12), (23, 31), (41, 41)])
def test_resizing_equals_tensorflow_1(size):
    reference = golden.arrays('resize.npz')
    suffix = '{}x{}'.format(*size)
    np.testing.assert_allclose(
        resize_bilinear(reference['image'], size), reference[f'bilinear_{suffix}'], rtol=1e-6
    )
    np.testing.assert_array_equal(
        resize_nearest(reference['label'], size), reference[f'nearest_{suffix}']
    )

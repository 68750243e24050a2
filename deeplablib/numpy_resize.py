"""TensorFlow 1's bilinear resize in NumPy, for worker processes: TensorFlow takes 5 s to import."""

import numpy as np


def resize_bilinear(scores, size):
    """Resize scores as deeplablib.resize.resize_bilinear does, operation by operation.

    Target pixel i stands at source position i * (old / new), in float32; columns are interpolated
    first, then rows; beyond the last pixel, the last pixel goes on.

    scores: float32 [height, width, channels]. size: the new (height, width).
    Returns float32 [*size, channels].
    """
    (top, bottom, down), (left, right, across) = (
        _positions(old, new) for old, new in zip(scores.shape[:2], size, strict=True)
    )
    columns = scores[:, left]
    columns = columns + (scores[:, right] - columns) * across[:, None]
    rows = columns[top]
    return rows + (columns[bottom] - rows) * down[:, None, None]


def _positions(old, new):
    """Lower and upper source index of each target index, and the way from one to the other."""
    position = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, old - 1), position - lower.astype(np.float32)

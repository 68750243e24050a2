"""TensorFlow 1's bilinear resize in NumPy, for worker processes: TensorFlow takes 5 s to import."""

import numpy as np


def resize_bilinear(scores, size):
    """Resize scores as deeplablib.network.resize.resize_bilinear does, operation by operation.

    Target pixel i stands at source position i * (old / new), in float32; columns are interpolated
    first, then rows; beyond the last pixel, the last pixel goes on.

    scores: float32 [height, width, channels]. size: the new (height, width).
    Returns float32 [*size, channels], of which each channel lies by itself in memory: made one
    after the other, they stay in the processor's cache.
    """
    (top, bottom, down), (left, right, across) = (
        _positions(old, new) for old, new in zip(scores.shape[:2], size, strict=True)
    )
    planes = np.empty((scores.shape[2], *size), np.float32)
    for channel, plane in enumerate(planes):
        columns = scores[:, left, channel]
        columns = columns + (scores[:, right, channel] - columns) * across
        rows = columns[top]
        np.add(rows, (columns[bottom] - rows) * down[:, None], out=plane)
    return np.moveaxis(planes, 0, -1)


def _positions(old, new):
    """Lower and upper source index of each target index, and the way from one to the other."""
    position = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, old - 1), position - lower.astype(np.float32)

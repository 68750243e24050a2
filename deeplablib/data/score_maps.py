"""Score files: what a multi-scale test saves of an image for the CRF.

NAME.npz holds `scores`, float16 [height / 8, width / 8, classes]: the fused scores at network
resolution; `size`, the image's (height, width); `input_size`, that of the image which the network
saw, a smaller one where --max-size has made it so; `kind`, 'logits' or 'probabilities'; and `name`,
NAME: most photographs of VOC have one size, which does not tell one from another.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.images import size_text
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import replacing

_DAMAGE = (zipfile.BadZipFile, zlib.error)

OUTPUT_STRIDE = 8  # pixels of the image for one of the score map, rounded up
KINDS = ('logits', 'probabilities')


def write_score_map(
    path: Path,
    score_map: npt.NDArray[np.floating],
    size: tuple[int, int],
    kind: str,
    input_size: tuple[int, int] | None = None,
) -> None:
    """Write one score file, whole or not at all.

    path: NAME.npz. score_map: [height / 8, width / 8, classes]. size: (height, width) of
    the image. kind: one of KINDS. input_size: of the image that the network saw; None: the same.
    """
    limits = np.finfo(np.float16)
    score_map = np.clip(score_map, limits.min, limits.max).astype(np.float16)
    with replacing(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(
            file,
            scores=score_map,
            size=np.array(size, np.int32),
            input_size=np.array(input_size or size, np.int32),
            kind=np.array(kind),
            name=np.array(path.stem),
        )


def read_score_map(
    path: Path,
) -> tuple[npt.NDArray[np.float32], tuple[int, int], tuple[int, int], str]:
    """Read one score file.

    Returns (the score map, float32 [height / 8, width / 8, classes], size, input_size, kind).
    Raises InputError when it cannot be read, is no score file, or is that of another image.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            score_map, size, input_size = file['scores'], file['size'], file['input_size']
            kind, name = str(file['kind']), str(file['name'])
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f'{path}: cannot read the scores ({reason})') from None
    except (KeyError, ValueError, EOFError, NotImplementedError, *_DAMAGE) as error:
        # NumPy's advice for a pickle is to load it unsafely.
        reason = 'a pickle' if 'pickle' in str(error) else error
        raise InputError(f'{path}: not a score file ({reason})') from None
    sizes_fit = size.shape == input_size.shape == (2,)
    if score_map.ndim != 3 or not sizes_fit or kind not in KINDS:
        raise InputError(f'{path}: not a score file (shape {score_map.shape}, kind {kind})')
    if name != path.stem:
        raise InputError(f'{path}: holds the scores of another image, {name}')
    (height, width), (input_height, input_width) = size.tolist(), input_size.tolist()
    return score_map.astype(np.float32), (height, width), (input_height, input_width), kind


def read_probabilities(
    path: Path,
    size: tuple[int, int],
    allowed: npt.NDArray[np.bool_] | None = None,
    at_input_size: bool = False,
) -> npt.NDArray[np.float32]:
    """The probabilities of a score file, at the size of its image.

    path: the score file. size: (height, width) of the image or mask that they are for.
    allowed: as for image_probabilities. at_input_size: give them at the size that the network saw.
    Returns float32 [height, width, classes]. Raises InputError when the scores are of another image
    or of another number of classes.
    """
    score_map, map_size, input_size, kind = read_score_map(path)
    if map_size != tuple(size):
        raise InputError(
            f'{path}: scores of an image of {size_text(map_size)}, this one is {size_text(size)}'
        )
    expected = tuple(-(-n // OUTPUT_STRIDE) for n in input_size)
    if score_map.shape[:2] != expected:
        raise InputError(
            f'{path}: a score map of {size_text(score_map.shape)}, expected {size_text(expected)}'
        )
    if allowed is not None and len(allowed) != score_map.shape[-1]:
        raise InputError(
            f'{path}: scores of {score_map.shape[-1]} classes, expected {len(allowed)}'
        )
    if not np.isfinite(score_map).all():
        raise InputError(f'{path}: holds scores that are not finite')
    return image_probabilities(score_map, input_size if at_input_size else size, kind, allowed)


def resize_bilinear(
    score_map: npt.NDArray[np.float32], size: tuple[int, int], rows: slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Resize a score map in NumPy as network.resize does in TensorFlow, operation by operation.

    For worker processes: TensorFlow takes 5 s to import.

    Target pixel i stands at source position i * (old / new), in float32; columns are interpolated
    first, then rows; beyond the last pixel, the last pixel goes on.

    score_map: float32 [height, width, channels]. size: the new (height, width).
    rows: those of the new map that are wanted.
    Returns float32 [rows, width, channels], of which each channel lies by itself in memory: made
    one after the other, they stay in the processor's cache.
    """
    (top, bottom, down), (left, right, across) = (
        _positions(old, new) for old, new in zip(score_map.shape[:2], size, strict=True)
    )
    top, bottom, down = top[rows], bottom[rows], down[rows]
    planes = np.empty((score_map.shape[2], len(top), size[1]), np.float32)
    for channel, plane in enumerate(planes):
        columns = score_map[:, left, channel]
        columns = columns + (score_map[:, right, channel] - columns) * across
        upper = columns[top]
        np.add(upper, (columns[bottom] - upper) * down[:, None], out=plane)
    return np.moveaxis(planes, 0, -1)


def _positions(old, new):
    """Lower and upper source index of each target index, and the way from one to the other."""
    position = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, old - 1), position - lower.astype(np.float32)


def image_probabilities(
    score_map: npt.NDArray[np.float32],
    size: tuple[int, int],
    kind: str,
    allowed: npt.NDArray[np.bool_] | None = None,
    rows: slice = slice(None),
) -> npt.NDArray[np.float32]:
    """Bring a score map to the size of its image, as probabilities that sum to 1.

    score_map: float32 [height / 8, width / 8, classes]. size: (height, width) of the image.
    kind: 'logits', of which the softmax is taken, or 'probabilities', which are renormalised.
    allowed: bool [classes], the classes that may occur; the others get 0. None: all.
    rows: those of the image that are wanted.
    Returns float32 [rows, width, classes]; each class lies by itself in memory.
    """
    chosen = np.arange(score_map.shape[-1]) if allowed is None else np.flatnonzero(allowed)
    planes = np.moveaxis(resize_bilinear(score_map[..., chosen], size, rows), -1, 0)
    if kind == 'logits':
        planes -= planes.max(0)
        np.exp(planes, out=planes)
    else:
        np.maximum(planes, np.finfo(np.float32).tiny, out=planes)
    planes /= planes.sum(0)
    if allowed is not None:
        every = np.zeros((score_map.shape[-1], *planes.shape[1:]), np.float32)
        every[chosen] = planes
        planes = every
    return np.moveaxis(planes, 0, -1)

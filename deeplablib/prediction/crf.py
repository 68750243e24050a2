"""The fully connected CRF of Krähenbühl and Koltun (2011), which follows image edges."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_image
from deeplablib.data.masks import write_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.prediction.photographs import enlarge, shrink
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked
from deeplablib.utils.parallel import for_each


@dataclass(frozen=True)
class Parameters:
    """Parameters of the CRF, in the terms of pydensecrf; lengths in pixels, colours in levels.

    gaussian_sxy, gaussian_weight: the term that makes neighbours agree, whatever their colour.
    bilateral_sxy, bilateral_srgb, bilateral_weight: the term for pixels that are near and alike.
    unary_weight: what the unary is multiplied by. iterations: mean-field steps.
    """

    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float
    unary_weight: float = 1.0
    iterations: int = 10


# Gaussian sxy, weight; bilateral sxy, srgb, weight.
PRESETS = {
    'spsm': Parameters(3, 3, 80, 13, 10),  # the test setting of SPSM's authors
    'deeplab_vgg': Parameters(3, 3, 50, 10, 5),  # DeepLab v2's own, for its VGG16 ...
    'deeplab_resnet': Parameters(1, 3, 67, 3, 4),  # ... and for its ResNet-101
    'cue': Parameters(5, 8, 31, 15, 9, unary_weight=5),  # SPSM's authors, for making annotations
}
DEFAULT_PRESET = 'spsm'

_SMALLEST = np.finfo(np.float32).tiny  # so that no unary is infinite
_NEVER = 1e30  # a unary whose probability is 0, whatever the others are


def require_package() -> None:
    """Raise InputError where pydensecrf is not installed: building it takes a compiler."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise InputError(
            f'the CRF needs a package that is not installed ({error}): pip install pydensecrf2, '
            'which needs a C++ compiler'
        ) from None


def crf_labels(
    image: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    parameters: Parameters = PRESETS[DEFAULT_PRESET],
    prune: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Label an image by the most probable class after mean-field inference.

    The unary is -log(probability) * unary_weight.
    image: uint8 RGB [height, width, 3]. probabilities: float32 [height, width, classes].
    prune: leave out the classes whose probability reaches this value nowhere in the image. At 0
    only classes that have probability 0 everywhere are left out, which changes no label.
    Returns uint8 [height, width].
    """
    from pydensecrf.densecrf import DenseCRF2D  # not above: only the CRF needs a compiled package

    height, width = image.shape[:2]
    planes = np.moveaxis(probabilities, -1, 0)
    highest = planes.max((1, 2))
    kept = np.flatnonzero((highest > 0) & (highest >= min(prune, highest.max())))
    if len(kept) == 1:
        return np.full((height, width), kept[0], np.uint8)
    # pydensecrf takes more than two classes by fours, and is slower when some are left over: they
    # are made up with classes of probability 0, which change nothing.
    rows = len(kept) if len(kept) == 2 else -(-len(kept) // 4) * 4
    unary = np.full((rows, height * width), _NEVER, np.float32)
    of_kept = np.maximum(planes[kept].reshape(len(kept), -1), _SMALLEST)
    np.multiply(np.log(of_kept, out=of_kept), -parameters.unary_weight, out=unary[: len(kept)])
    crf = DenseCRF2D(width, height, rows)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(sxy=parameters.gaussian_sxy, compat=parameters.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_sxy,
        srgb=parameters.bilateral_srgb,
        rgbim=np.require(image, requirements=['C', 'W']),  # pydensecrf takes no read-only one
        compat=parameters.bilateral_weight,
    )
    marginals = np.asarray(crf.inference(parameters.iterations))[: len(kept)]
    return kept[marginals.argmax(0)].astype(np.uint8).reshape(height, width)


def crf_samples(
    samples: Sequence[Sample],
    score_map_dir: Path,
    save_dir: Path,
    parameters: Parameters = PRESETS[DEFAULT_PRESET],
    prune: float = 0.0,
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    jobs: int | str = -1,
) -> None:
    """Save the label map of each image after the CRF as SAVE_DIR/NAME.png.

    score_map_dir: folder of score files (deeplablib.data.score_maps). save_dir: an existing folder.
    parameters, prune: as for crf_labels. jobs: as for parallel.for_each.
    allowed_by_image: dict from image name to bool [classes], those that may occur; None: all.
    Raises InputError for a missing or unfitting score file, and when another process is at work in
    save_dir; what was done before is saved.
    """
    check_files_of(samples, score_map_dir, 'scores', '.npz')
    items = [(s, None if allowed_by_image is None else allowed_by_image[s.name]) for s in samples]
    work = partial(_crf_one, score_map_dir, save_dir, parameters, prune)
    with locked(save_dir):
        for _ in for_each(work, items, 'CRF', jobs):
            pass


def _crf_one(score_map_dir, save_dir, parameters, prune, item):
    sample, allowed = item
    image = read_image(sample.image)
    path = score_map_dir / f'{sample.name}.npz'
    # A photograph that the network saw smaller is too large for the CRF too.
    probabilities = read_probabilities(path, image.shape[:2], allowed, at_input_size=True)
    small = shrink(image, probabilities.shape[:2])
    labels = enlarge(crf_labels(small, probabilities, parameters, prune), image.shape[:2])
    write_mask(save_dir / f'{sample.name}.png', labels)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the CRF to a command line; parameters_from reads them back."""
    group = parser.add_argument_group('CRF')
    group.add_argument(
        '--preset',
        choices=PRESETS,
        default=DEFAULT_PRESET,
        help='parameters to start from (default: %(default)s)',
    )
    for field in fields(Parameters):
        flag = f'--{field.name.replace("_", "-")}'
        group.add_argument(flag, type=field.type, metavar='N', help="instead of the preset's")
    group.add_argument(
        '--prune',
        type=float,
        default=0.0,
        metavar='EPS',
        help='leave out classes whose probability reaches EPS nowhere in the image (default: 0, '
        'exact); at 0.01 more than 99.9 %% of pixels stay the same, in 0.4 of the time where two '
        'classes of 21 are left, in half of it where three or four are, in 0.6 where nine are',
    )


def parameters_from(args: argparse.Namespace) -> Parameters:
    """The Parameters that a command line asks for.

    args: what the parser of add_arguments returned.
    Raises InputError as require_package does, for a length or number of iterations that is not
    positive, a negative weight, and a `prune` outside [0, 1).
    """
    require_package()
    given = {field.name: getattr(args, field.name) for field in fields(Parameters)}
    if not 0 <= args.prune < 1:
        raise InputError(f'value {args.prune} of --prune is out of range: 0 to less than 1')
    for name, value in given.items():
        legal = value is None or value > 0 or value == 0 and name.endswith('_weight')
        if not legal:
            raise InputError(f'value {value} of --{name.replace("_", "-")} is out of range')
    given = {name: value for name, value in given.items() if value is not None}
    return replace(PRESETS[args.preset], **given)

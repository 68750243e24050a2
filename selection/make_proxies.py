"""Proxy annotations from localization cues: what the first round is trained on.

python -m selection.make_proxies --cues ./cues --saliency ./saliency --out ./result/proxies
python -m selection.make_proxies --cues ./cues --out ./result/proxies

With saliency maps, the rule `thresholds`. Known: its thresholds and their order, from the program
that the same group released for a later paper (`gen_gtwith_saliency maps.py` of MLPL).
Reconstructed: that SPSM did the same.

Without them, the rule `crf`, which is the field's: one CRF says what is surely an object, another
what is surely background, and the other pixels are ignored (irn, Ahn et al., 2019). The CRF has the
`cue` preset, with which SPSM's authors made annotations. The thresholds are our choice
(docs/selection.md).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_header, read_image
from deeplablib.data.masks import read_grey
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.prediction.crf import PRESETS, Parameters, crf_labels, require_package
from deeplablib.prediction.photographs import enlarge, shrink
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from selection.cues import check_numbering, cue_paths, find_cues, read_cues
from selection.step import make_masks, read_samples, step_parser

LEAST_SCORE = 0.2  # scores below it count as none
CONFLICT = 0.9  # two scores above it contradict each other
CUE_OBJECT = 0.5  # a cue above it, or ...
SALIENT = 32  # ... a saliency from it on, speaks against background
LEAST_FOREGROUND = 0.01  # an image with less is left out as a whole
LATE_FILL_IN = 0.8  # a cue above it labels what was ignored until then

RULES = ('thresholds', 'crf')
# The score of background for the CRF that finds what is surely an object, and for the other.
FOREGROUND_THRESHOLD, BACKGROUND_THRESHOLD = 0.35, 0.12


def normalised(cue: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Stretch a cue over [0, 1].

    cue: uint8 [height, width]. Returns float32; zeros for a cue that is the same everywhere.
    """
    cue = cue.astype(np.float32)
    return (cue - cue.min()) / (np.ptp(cue) + 1e-8)


def crf_proxy(
    image: npt.NDArray[np.uint8],
    cues: Mapping[int, npt.NDArray[np.uint8]],
    foreground_threshold: float = FOREGROUND_THRESHOLD,
    background_threshold: float = BACKGROUND_THRESHOLD,
    parameters: Parameters = PRESETS['cue'],
    downscale: int = 1,
) -> npt.NDArray[np.uint8]:
    """Make the proxy annotation of one image where there is no saliency map.

    The CRF labels the image twice, by the cues and a constant score of background, renormalised.
    What it calls an object although that score is high is that object. What it calls background
    although that score is low is background. The rest is ignored.

    image: uint8 RGB [height, width, 3]. cues: dict from class id to uint8 [height, width].
    foreground_threshold, background_threshold: the high and the low score, 0 to 1.
    parameters: of the CRF. downscale: it sees an image so many times smaller, and its lengths are
    so much shorter.
    Returns uint8 [height, width] of class ids and 255; all of it is 255 for an image without cues.
    """
    if not cues:
        return np.full(image.shape[:2], IGNORE_LABEL, np.uint8)
    classes = np.array([0, *sorted(cues)], np.uint8)
    size, small = image.shape[:2], tuple(-(-side // downscale) for side in image.shape[:2])
    image = shrink(image, small)
    scores = np.stack([normalised(shrink(cues[index], small)) for index in classes[1:]], -1)
    parameters = replace(
        parameters,
        gaussian_sxy=parameters.gaussian_sxy / downscale,
        bilateral_sxy=parameters.bilateral_sxy / downscale,
    )

    def labels_with(threshold):
        background = np.full((*small, 1), threshold, np.float32)
        with_background = np.concatenate([background, scores], -1)
        probabilities = with_background / with_background.sum(-1, keepdims=True)
        return classes[crf_labels(image, probabilities, parameters)]

    objects, anything = labels_with(foreground_threshold), labels_with(background_threshold)
    labels = np.where((objects == 0) & (anything > 0), np.uint8(IGNORE_LABEL), objects)
    return enlarge(labels, size)


def proxy_annotation(
    cues: Mapping[int, npt.NDArray[np.uint8]],
    size: tuple[int, int],
    saliency: npt.NDArray[np.uint8] | None = None,
    late_fill_in: float | None = LATE_FILL_IN,
) -> npt.NDArray[np.uint8]:
    """Make the proxy annotation of one image by thresholds.

    In this order: the class with the highest score, where scores below 0.2 count as 0; ignored
    where two scores exceed 0.9; ignored where background is salient or has a cue above 0.5; all
    ignored when less than 1 % is foreground; last, ignored pixels with a cue above 0.8 take its
    class (the lowest id, where several are).

    cues: dict from class id to uint8 [height, width]. size: (height, width). saliency: uint8
    [height, width]; without it the background score is 1 - the largest cue.
    late_fill_in: threshold of the last rule; None leaves that rule out.
    Returns uint8 [height, width] of class ids and 255.
    """
    classes = np.array([0, *sorted(cues)], np.uint8)
    scores = np.zeros((len(classes), *size), np.float32)
    for score, index in zip(scores[1:], classes[1:], strict=True):
        score[...] = normalised(cues[index])
    objects = scores[1:].copy()
    scores[0] = 1 - (objects.max(0, initial=0) if saliency is None else saliency / 255)

    scores[scores < LEAST_SCORE] = 0
    labels = classes[scores.argmax(0)]
    labels[(scores > CONFLICT).sum(0) > 1] = IGNORE_LABEL

    contradicted = (objects > CUE_OBJECT).any(0)
    if saliency is not None:
        contradicted |= saliency >= SALIENT
    labels[(labels == 0) & contradicted] = IGNORE_LABEL

    if np.mean((labels > 0) & (labels != IGNORE_LABEL)) < LEAST_FOREGROUND:
        labels[...] = IGNORE_LABEL
    if late_fill_in is not None:
        for cue, index in zip(objects, classes[1:], strict=True):
            labels[(labels == IGNORE_LABEL) & (cue > late_fill_in)] = index
    return labels


def proxy_of(
    args: argparse.Namespace, sample: Sample, allowed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """The proxy annotation of one image, uint8 [height, width].

    args: of get_arguments. allowed: bool [classes], tags and background.
    """
    size, _ = read_header(sample.image)
    cues = read_cues(args.cues, sample.name, allowed, size)
    missing = sorted({int(i) for i in np.flatnonzero(allowed[1:]) + 1} - set(cues))
    if missing:
        raise InputError(f'{args.cues}/{sample.name}.npy: no cue for tag {missing[0]}')
    if args.rule == 'crf':
        thresholds = args.foreground_threshold, args.background_threshold
        return crf_proxy(read_image(sample.image), cues, *thresholds, downscale=args.downscale)
    saliency = None
    if args.saliency:
        saliency = read_grey(Path(args.saliency) / f'{sample.name}.png', size)
    return proxy_annotation(cues, size, saliency, None if args.no_late_fill_in else LATE_FILL_IN)


def check_cues(
    folder: str | Path, samples: Sequence[Sample], allowed: npt.NDArray[np.bool_]
) -> None:
    """Check that each image has a cue of each of its tags.

    allowed: bool [images, classes]. Raises InputError for every cue that is missing.
    """
    found = find_cues(folder, allowed.shape[1])
    none = np.zeros(allowed.shape[1], bool)
    cues = [found.get(sample.name, none) for sample in samples]
    check_numbering(folder, zip(cues, allowed, strict=True))
    errors.raise_all(
        [
            f'{sample.origin}: no cue for tag {index} at {path}'
            for sample, row, known in zip(samples, allowed, cues, strict=True)
            for index, path in cue_paths(folder, sample.name, row & ~known).items()
        ]
    )


def choose_rule(args: argparse.Namespace) -> None:
    """Set the rule where a command line leaves it open.

    Raises InputError for flags that do not go together.
    """
    of_thresholds = args.saliency or args.no_late_fill_in
    args.rule = args.rule or ('thresholds' if of_thresholds else 'crf')
    low, high = args.background_threshold, args.foreground_threshold
    if args.rule == 'crf':
        require_package()
        if of_thresholds:
            raise InputError('--rule crf takes no saliency maps and has no late fill-in')
    elif (low, high, args.downscale) != (BACKGROUND_THRESHOLD, FOREGROUND_THRESHOLD, 1):
        raise InputError(
            '--foreground-threshold, --background-threshold and --downscale are of --rule crf'
        )
    if args.downscale < 1:
        raise InputError(f'--downscale {args.downscale}: at least 1')
    if not 0 < low <= high < 1:
        raise InputError(
            f'--background-threshold {low} and --foreground-threshold {high}: more than 0, less '
            'than 1, the first at most the second'
        )


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/proxies', 'where annotations go, NAME.png')
    parser.add_argument('--cues', required=True, help='folder of cues, NAME_<class id - 1>.png')
    parser.add_argument('--saliency', help='folder of saliency maps, NAME.png')
    parser.add_argument(
        '--rule',
        choices=RULES,
        help='how cues become annotations (default: crf without saliency, otherwise thresholds)',
    )
    for name, default, sure in (
        ('foreground', FOREGROUND_THRESHOLD, 'an object'),
        ('background', BACKGROUND_THRESHOLD, 'none'),
    ):
        parser.add_argument(
            f'--{name}-threshold',
            type=float,
            default=default,
            metavar='SCORE',
            help=f'score of background, for the rule crf to find what is surely {sure} (default: '
            '%(default)s)',
        )
    parser.add_argument(
        '--downscale',
        type=int,
        default=1,
        metavar='N',
        help='the CRF sees images N times smaller: as good at 4 for coarse cues, in a sixteenth of '
        'the time (default: %(default)s)',
    )
    parser.add_argument(
        '--no-late-fill-in',
        action='store_true',
        help='leave out the last of the thresholds (cues above 0.8)',
    )
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    return parser.parse_args()


def main() -> None:
    """Make the annotations."""
    args = get_arguments()
    choose_rule(args)
    samples, allowed = read_samples(args)
    check_cues(args.cues, samples, allowed)
    if args.saliency:
        check_files_of(samples, Path(args.saliency), 'saliency map')
    make_masks(args, partial(proxy_of, args), samples, allowed, 'proxies')


if __name__ == '__main__':
    errors.run_script(main)

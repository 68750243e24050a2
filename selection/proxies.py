"""Proxy annotations from localization cues: what the first round is trained on.

python -m selection.proxies --cues ./cues --saliency ./saliency --out ./result/proxies

Known: the thresholds and their order, from the program that the same group released for a later
paper (`gen_gtwith_saliency maps.py` of MLPL). Reconstructed: that SPSM did the same, and what is
done without saliency maps.
"""

from functools import partial
from pathlib import Path

import numpy as np

from deeplablib.data.image_headers import image_size
from deeplablib.data.image_lists import check_files_of
from deeplablib.data.images import read_grey, write_mask
from deeplablib.data.voc import IGNORE_LABEL
from deeplablib.run import errors, parallel
from deeplablib.run.files import locked, make_output_folder
from selection.shared.step_flags import add_work_flags, read_samples, step_parser

LEAST_SCORE = 0.2  # scores below it count as none
CONFLICT = 0.9  # two scores above it contradict each other
CUE_OBJECT = 0.5  # a cue above it, or ...
SALIENT = 32  # ... a saliency from it on, speaks against background
LEAST_FOREGROUND = 0.01  # an image with less is left out as a whole
LATE_FILL_IN = 0.8  # a cue above it labels what was ignored until then


def normalised(cue):
    """Stretch a cue over [0, 1].

    cue: uint8 [height, width]. Returns float32; zeros for a cue that is the same everywhere.
    """
    cue = cue.astype(np.float32)
    return (cue - cue.min()) / (np.ptp(cue) + 1e-8)


def proxy_annotation(cues, size, saliency=None, late_fill_in=LATE_FILL_IN):
    """Make the proxy annotation of one image.

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
        for object, index in zip(objects, classes[1:], strict=True):
            labels[(labels == IGNORE_LABEL) & (object > late_fill_in)] = index
    return labels


def make_proxies(samples, allowed, cues, out, saliency=None, late_fill_in=LATE_FILL_IN, jobs=-1):
    """Save the proxy annotation of each image as OUT/NAME.png.

    samples: list of Sample. allowed: dict from image name to bool [classes]. cues: folder of
    NAME_<class id - 1>.png. out: an existing folder. saliency: folder of NAME.png, or None.
    late_fill_in: as for proxy_annotation. jobs: as for parallel.for_each.
    Raises InputError for every missing file, and for a map of another size than its image.
    """
    items, faults = [], []
    for sample in samples:
        tags = np.flatnonzero(allowed[sample.name][1:]) + 1
        paths = {int(i): Path(cues) / f'{sample.name}_{i - 1}.png' for i in tags}
        salient = saliency and Path(saliency) / f'{sample.name}.png'
        for index, path in paths.items():
            if not path.is_file():
                faults.append(f'{sample.origin}: no cue for tag {index} at {path}')
        items.append((sample, paths, salient))
    errors.raise_all(faults)
    if saliency:
        check_files_of(samples, Path(saliency), 'saliency map')
    with locked(out):
        for _ in parallel.for_each(partial(_make_one, out, late_fill_in), items, 'proxies', jobs):
            pass


def _make_one(out, late_fill_in, item):
    sample, paths, salient = item
    size = image_size(sample.image)
    cues = {index: read_grey(path, size) for index, path in paths.items()}
    labels = proxy_annotation(cues, size, salient and read_grey(salient, size), late_fill_in)
    write_mask(Path(out) / f'{sample.name}.png', labels)


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/proxies', 'where annotations go, NAME.png')
    parser.add_argument('--cues', required=True, help='folder of cues, NAME_<class id - 1>.png')
    parser.add_argument('--saliency', help='folder of saliency maps, NAME.png')
    parser.add_argument(
        '--no-late-fill-in', action='store_true', help='leave out the last rule (cues above 0.8)'
    )
    add_work_flags(parser)
    return parser.parse_args()


def main():
    """Make the annotations."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    out = make_output_folder(args.out)
    if not args.saliency:
        print('note: without --saliency nearly every pixel gets a label, right or wrong')
    if args.resume:
        samples = [s for s in samples if not (out / f'{s.name}.png').is_file()]
    late_fill_in = None if args.no_late_fill_in else LATE_FILL_IN
    make_proxies(samples, allowed, args.cues, out, args.saliency, late_fill_in, args.jobs)
    print(f'The proxy annotations have been saved to {out}')


if __name__ == '__main__':
    errors.run(main)

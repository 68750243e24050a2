"""Check every sample of a list before anything is computed from it."""

from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np

from deeplablib.data.image_lists import Sample, check_files, masks_of
from deeplablib.data.images import read_header
from deeplablib.data.masks import read_mask
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.progress import progress


def check_samples(
    samples: Sequence[Sample],
    data_dir: str | Path,
    num_classes: int = NUM_CLASSES,
    need_masks: bool = False,
    ignore_label: int = IGNORE_LABEL,
    say_turned: bool = True,
) -> None:
    """Check that each sample's files are there, can be read and fit each other, on all cores.

    Images are read as far as their headers, and must have an end; masks are read whole.
    Prints a note where EXIF turns images that have no mask (say_turned), and where the labelled
    pixels of a training list are all of one class.

    data_dir: the folder they are in, named when it is missing itself.
    num_classes, ignore_label: masks hold 0 .. num_classes - 1 and ignore_label. need_masks: for
    training, where every sample needs a mask and some pixel of the list must be labelled.
    Raises InputError with every fault (the first twenty), each with its list, line and file.
    """
    if not Path(data_dir).is_dir():
        raise InputError(f'{data_dir}: no such data directory; set DATA_DIRECTORY or its flag')
    if need_masks:
        masks_of(samples)
    files = [(s, 'image', s.image) for s in samples]
    check_files(files + [(s, 'mask', s.mask) for s in samples if s.mask is not None])
    # Threads: decoding, where the time goes, runs outside Python's lock.
    parallel = joblib.Parallel(n_jobs=-1, prefer='threads', return_as='generator')
    checks = parallel(
        joblib.delayed(_check_contents)(s, num_classes, ignore_label) for s in samples
    )
    faults, turned, pixels = [], [], np.zeros(256, np.int64)
    for fault, turn, counts in progress(checks, len(samples), 'checking', 'sample'):
        faults += fault
        turned += turn
        pixels += counts
    raise_all(faults)
    if turned and say_turned:
        print(
            f'note: EXIF would turn {len(turned)} images, such as {turned[0]}; they are taken as '
            'they are stored'
        )
    if need_masks:
        _check_classes(samples, pixels, ignore_label)


def check_outputs(
    samples: Sequence[Sample], folder: str | Path, endings: Sequence[str] = ('.png',)
) -> None:
    """Check that results, FOLDER/NAME.png, overwrite neither each other nor the data.

    folder: where results go. endings: of the files of each image, in place of the extension.
    Raises InputError naming the files, or the folder when it is one of VOC's masks beside that of
    the images: a list need not name the masks.
    """
    folder = Path(folder).resolve()
    faults: list[str] = []
    images: dict[str, Path] = {}
    for sample in samples:
        for name in (f'{sample.name}{ending}' for ending in endings):
            other = images.setdefault(name, sample.image)
            if other != sample.image:
                faults.append(
                    f'{sample.origin}: {sample.image} and {other} would be saved under one name, '
                    f'{name}'
                )
                break
    outputs = {(folder / name).resolve() for name in images}
    for path in (path for sample in samples for path in (sample.image, sample.mask) if path):
        if path.resolve() in outputs:
            faults.append(f'{path}: would be overwritten; choose another folder for the results')
    above = {place.resolve() for sample in samples for place in sample.image.parents}
    if folder.name.startswith('SegmentationClass') and folder.parent in above:
        faults.append(f'{folder}: data would be overwritten; choose another folder for the results')
    raise_all(faults)


def _check_contents(sample, num_classes, ignore_label):
    """Check one sample.

    Returns a list of its fault, one of what EXIF says where that is only to be noted (either may be
    empty), and the pixels of its mask by value, int64 [256] or 0.
    """
    try:
        size, turn = read_header(sample.image)
        if sample.mask is None:
            return [], [f'{sample.image} ({turn})'] if turn else [], 0
        if turn:
            raise InputError(
                f'{sample.image} is stored {turn}, by its EXIF, which is ignored here; its mask '
                f'{sample.mask} may be drawn upright. Turn the image (mogrify -auto-orient), or, '
                'if the mask is as the image is stored, remove the tag (exiftool -Orientation=)'
            )
        mask = read_mask(sample.mask, num_classes, size, ignore_label)
        return [], [], np.bincount(mask.reshape(-1), minlength=256)
    except InputError as error:
        return [f'{sample.origin}: {error}'], [], 0


def _check_classes(samples, pixels, ignore_label):
    """Say so when masks of a training list, by their pixels of each value, can teach nothing."""
    labelled = np.flatnonzero(pixels[:IGNORE_LABEL])
    if not len(labelled):
        raise InputError(f'{samples[0].origin} and on: no mask has a labelled pixel')
    if len(labelled) == 1:
        ignored = 100 * pixels[IGNORE_LABEL] / pixels.sum()
        print(
            f'note: the labelled pixels of all masks have one class only, {labelled[0]}, so there '
            f'is nothing to learn; {ignored:.0f} % of the pixels are {ignore_label}, which belongs '
            'to no class (--ignore_label)'
        )

"""Make the lists and tags of PASCAL VOC 2012 from the user's own copy, and check that copy.

    python -m deeplablib.data.prepare_voc /data/VOCdevkit

The command finds VOC2012 in the folder given and reports what is there, what is missing and where
to get it. Then it writes dataset/train.txt (every mask of SegmentationClassAug that is not in VOC's
val.txt), val.txt, test.txt and tags.txt. Run it again when something has been added.
"""

import argparse
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, masks_of, write_list
from deeplablib.data.images import open_image, read_image
from deeplablib.data.masks import read_mask, write_mask
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import tags_of_annotation, write_tags
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES, colour_map
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import files_by_name, list_files, make_output_folder, read_lines
from deeplablib.utils.progress import progress

COUNTS = {'train': 10582, 'val': 1449, 'test': 1456}
SOURCES = {
    'images': 'VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/',
    'test': 'the VOC2012 test images, which are optional, from http://host.robots.ox.ac.uk:8080 '
    '(free registration)',
    'masks': 'SegmentationClassAug.zip, made from the SBD annotations of Hariharan et al. '
    '(http://home.bharathh.info/pubs/codes/SBD/download.html)',
}
ARCHIVES = {'images': 'VOCtrainval*2012*', 'test': 'VOC2012test*', 'masks': 'SegmentationClass*'}
MASK_FOLDERS = ('SegmentationClassAug', 'SegmentationClass')


def find_voc(root: str | Path) -> Path:
    """Find the folder of VOC2012 in what a user calls it.

    root: the folder itself, or one that holds it, up to three levels down; of several, the first
    that has VOC's lists is taken.
    Returns its path. Raises InputError when it is not there, or VOC2007 or an archive is.
    """
    root = Path(root)
    if root.is_file():
        raise InputError(f'{root}: a file; unpack it and give the folder')
    if not root.is_dir():
        raise InputError(f'{root}: no such folder')
    found = (sorted(root.glob(f'{"*/" * depth}JPEGImages')) for depth in range(4))
    folders = [images.parent for images in itertools.chain(*found)]
    folders = [folder for folder in folders if (folder / 'ImageSets').is_dir()]
    folders.sort(key=lambda folder: (_is_2007(folder), not _official(folder, 'val')))
    if folders and _is_2007(folders[0]):
        raise InputError(f'{folders[0]}: this is VOC2007; SPSM uses VOC2012')
    if folders:
        return folders[0]
    archive = _archive([root, root / 'VOC2012', root / 'VOCdevkit', root / 'VOCdevkit/VOC2012'])
    if archive:
        raise InputError(f'{root}: not unpacked yet; unpack {archive}')
    raise InputError(
        f'{root}: no VOC2012 here, or in folders of it (JPEGImages and ImageSets); '
        f'get {SOURCES["images"]}'
    )


def find_masks(voc: Path, masks: str | Path | None = None) -> dict[str, Path]:
    """Find the folders of the masks: the augmented ones, or else VOC's own.

    voc: from find_voc. masks: where the user says they are, or None.
    Folders in theirs are searched too: an archive may unpack to SegmentationClassAug twice over.
    Returns a dict from 'train', 'val' to a folder. It is the same one, unless it lacks masks of val
    that VOC's own folder has. Where there are no masks, it is the folder that should have them.
    """
    roots = [Path(masks)] if masks else [voc, voc.parent, voc.parent.parent]
    folders = [root / name for name in MASK_FOLDERS for root in roots]
    given = [Path(masks)] if masks else []
    found = filter(None, map(_with_masks, [*given, *folders]))
    train = next(found, folders[0])
    own = _with_masks(voc / 'SegmentationClass') or voc / 'SegmentationClass'
    val = set(_official(voc, 'val'))
    return {'train': train, 'val': max(train, own, key=lambda f: len(val & {*files_by_name(f)}))}


def _with_masks(folder):
    """The folder, or the first in it, that holds PNGs; None when none does."""
    inner = sorted(path for path in folder.rglob('*') if path.is_dir())
    return next((path for path in [folder, *inner] if list_files(path, '.png')), None)


def find_samples(voc: Path, masks: Mapping[str, Path], out: Path) -> dict[str, list[Sample]]:
    """Find what each list is to name; the files may be missing.

    voc: folder. masks: from find_masks. out: folder of the lists. Returns a dict from 'train',
    'val', 'test' to samples, sorted by name: val and test are VOC's own lists, train is what has a
    mask beyond val.
    """
    names = {'train': [], 'val': _official(voc, 'val'), 'test': _official(voc, 'test')}
    names['train'] = sorted({*files_by_name(masks['train'])}.difference(names['val']))

    def paths(folder, ending, of_split):
        files = files_by_name(folder, ending)
        return [files.get(name, folder / f'{name}{ending}') for name in of_split]

    samples = {}
    for split, of_split in names.items():
        images = paths(voc / 'JPEGImages', '.jpg', of_split)
        of_masks = paths(masks[split], '.png', of_split) if split in masks else [None] * len(images)
        origin = f'{out / split}.txt'
        samples[split] = [Sample(*s, origin) for s in zip(images, of_masks, strict=True)]
    return samples


def read_colours(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a mask saved in the VOC colours as labels.

    path: an RGB PNG. Returns uint8 [height, width].
    Raises InputError when it cannot be read, or has a colour that is not in the VOC map of classes
    and ignored pixels.
    """
    picture = read_image(path)
    legal = np.append(np.arange(NUM_CLASSES), IGNORE_LABEL)
    codes = (1 << 16, 1 << 8, 1)  # of red, green and blue in one number
    label_of = np.full(1 << 24, -1, np.int16)
    label_of[colour_map()[legal].astype(np.int32) @ codes] = legal
    labels = label_of[picture.astype(np.int32) @ codes]
    if (labels < 0).any():
        wrong = tuple(map(int, picture[labels < 0][0]))
        raise InputError(f'{path}: colour {wrong} is not in the VOC colour map')
    return labels.astype(np.uint8)


def convert_colours(paths: Sequence[Path], out: Path) -> bool:
    """Convert the masks of the lists to indices, unless none of them is saved in colours.

    out: folder for all the masks, which is replaced, whole or not at all.
    Returns whether they have been converted.
    Raises InputError for every mask that cannot be read or has other colours or labels.
    """
    if not any(map(_has_colours, paths)):
        return False

    def convert(path):
        try:
            labels = read_colours(path) if _has_colours(path) else read_mask(path)
        except InputError as error:
            return str(error)
        write_mask(fresh / f'{path.stem}.png', labels)
        return None

    with tempfile.TemporaryDirectory(prefix=f'.{out.name}.', dir=out.parent) as folder:
        fresh = Path(folder) / 'fresh'
        fresh.mkdir()
        parallel = joblib.Parallel(n_jobs=-1, prefer='threads', return_as='generator')
        faults = parallel(joblib.delayed(convert)(path) for path in paths)
        raise_all([f for f in progress(faults, len(paths), 'converting colours', 'mask') if f])
        if out.exists():
            out.rename(Path(folder) / 'old')
        fresh.rename(out)
    return True


def take_stock(
    voc: Path, masks: Mapping[str, Path], samples: Mapping[str, Sequence[Sample]], out: Path
) -> tuple[str, bool]:
    """Report what is there, what is missing and where to get it.

    voc: folder. masks: from find_masks. samples: from find_samples. out: folder of the lists.
    Returns the report, a text, and whether everything is there but the test images.
    """
    near = [voc, voc.parent, voc.parent.parent, masks['train'].parent]
    counts = {split: f'{len(of_split)} images' for split, of_split in samples.items()}
    faults: dict[str, list[str]] = {split: [] for split in [*counts, 'tags']}
    for split, of_split in samples.items():
        voc_part = 'test' if split == 'test' else 'images'
        if len(of_split) != COUNTS[split]:
            # Without val.txt, train counts the masks of val too.
            needs_masks = split == 'train' and (samples['val'] or len(of_split) < COUNTS[split])
            source = 'masks' if needs_masks else voc_part
            faults[split].append(f'expected {COUNTS[split]}; {_remedy(source, near)}')
        if split == 'train' and not of_split:
            places = ', '.join(map(str, dict.fromkeys(near)))
            faults[split].append(
                f'no masks in {" or ".join(MASK_FOLDERS)}, or folders of these, in {places} '
                '(--masks names another place)'
            )
        absent = sum(not sample.image.is_file() for sample in of_split)
        if absent:
            faults[split].append(f'{absent} are not in JPEGImages; {_remedy(voc_part, near)}')
    absent = sum(not sample.mask.is_file() for sample in samples['val'] if sample.mask)
    if absent:
        folders = ' or '.join(MASK_FOLDERS)
        faults['val'].append(f'{absent} have no mask in {folders}; {_remedy("masks", near)}')
    annotated = files_by_name(voc / 'Annotations', '.xml')
    absent = sum(sample.name not in annotated for sample in samples['train'])
    counts['tags'] = f'tags of {len(samples["train"]) - absent} images'
    if absent or not annotated:
        faults['tags'].append(
            f'{absent or "all"} are not in Annotations, and the selection needs them; '
            + _remedy('images', near)
        )
    elif not samples['train']:
        faults['tags'].append('train.txt names no image yet')

    lines = [f'images and annotations: {voc}']
    lines += [f'masks of {split}.txt: {folder}' for split, folder in masks.items()] + ['']
    for file, count in counts.items():
        lines.append(f'{out / file}.txt: {count}, {"; ".join(faults[file]) or "complete"}')
    return '\n'.join(lines), not any(faults[file] for file in ('train', 'val', 'tags'))


def main() -> None:
    """Find, report, write and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', help='VOC2012, VOCdevkit, or the folder that holds VOCdevkit')
    parser.add_argument('--masks', help='where SegmentationClassAug is, when it is not beside VOC')
    parser.add_argument('--out', default='./dataset', help='where lists go (default: %(default)s)')
    parser.add_argument(
        '--skip-check', action='store_true', help='do not look into the images and masks'
    )
    args = parser.parse_args()

    voc = find_voc(args.root)
    out = make_output_folder(args.out)
    masks = find_masks(voc, args.masks)
    samples = find_samples(voc, masks, out)
    report, complete = take_stock(voc, masks, samples, out)
    print(report)
    if not samples['val']:
        raise InputError('this copy is not complete, see above; there are no lists without val.txt')
    if not args.skip_check:
        paths = masks_of([*samples['train'], *samples['val']])
        if convert_colours(paths, out / 'converted_masks'):
            masks = dict.fromkeys(masks, out / 'converted_masks')
            samples = find_samples(voc, masks, out)
        check_samples([*samples['train'], *samples['val']], voc, need_masks=True)
        test = [sample for sample in samples['test'] if sample.image.is_file()]
        if test:
            check_samples(test, voc)
    for split, of_split in samples.items():
        if of_split:
            files = [[file for file in (s.image, s.mask) if file] for s in of_split]
            write_list(out / f'{split}.txt', files, voc)
    annotated = files_by_name(voc / 'Annotations', '.xml')
    train = [sample.name for sample in samples['train'] if sample.name in annotated]
    tags = {name: tags_of_annotation(annotated[name]) for name in train}
    if tags:
        write_tags(out / 'tags.txt', tags)
    if not args.skip_check:
        print('Every image and mask of train.txt and val.txt is there and fits.')
    if not complete:
        raise InputError('this copy is not complete, see above; the lists hold what is there')
    print(f'Now set DATA_DIRECTORY (or --data-dir, --data_dir) to {voc}')


def _is_2007(folder):
    """VOC2007 counts its images, 000033.jpg; VOC2012 puts the year before, 2007_000033.jpg."""
    names = _official(folder, 'val') or [folder.name]
    return folder.name == 'VOC2007' or names[0].isdecimal()


def _remedy(what, folders):
    archive = _archive(folders, ARCHIVES[what])
    return f'unpack {archive}' if archive else f'get {SOURCES[what]}'


def _archive(folders, pattern='*'):
    """The first archive in the folders whose name fits, or None."""
    paths = (path for folder in folders for path in sorted(folder.glob(pattern)))
    archives = (path for path in paths if {'.tar', '.tgz', '.zip'}.intersection(path.suffixes))
    return next(archives, None)


def _has_colours(path):
    try:
        with open_image(path) as image:
            return image.mode in ('RGB', 'RGBA')
    except InputError:
        return False  # whoever reads it says why


def _official(voc, split):
    path = voc / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    return sorted(' '.join(read_lines(path)).split()) if path.is_file() else []


if __name__ == '__main__':
    errors.run_script(main)

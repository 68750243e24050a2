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
from PIL import Image

from deeplablib.data.image_lists import read_list, write_list
from deeplablib.data.images import read_image
from deeplablib.data.masks import read_mask, write_mask
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import tags_of_annotation, write_tags
from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES, colour_map
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import list_files, make_output_folder
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

    root: the folder itself, VOCdevkit, or a folder that holds either, up to three levels down.
    Returns its path. Raises InputError when it is not there, or VOC2007 or an archive is.
    """
    root = Path(root)
    if root.is_file():
        raise InputError(f'{root}: a file; unpack it and give the folder')
    if not root.is_dir():
        raise InputError(f'{root}: no such folder')
    folders = [root / name for name in ('.', 'VOC2012', 'VOCdevkit', 'VOCdevkit/VOC2012')]
    found = (sorted(root.glob(f'{"*/" * depth}JPEGImages')) for depth in (1, 2, 3))
    deeper = [images.parent for images in itertools.chain(*found)]
    for folder in [*folders, *(folder for folder in deeper if not _is_2007(folder))]:
        if (folder / 'JPEGImages').is_dir() and (folder / 'ImageSets').is_dir():
            if _is_2007(folder):
                raise InputError(f'{folder}: this is VOC2007; SPSM uses VOC2012')
            return folder
    if any(_is_2007(folder) for folder in deeper):
        raise InputError(f'{root}: only VOC2007 is here; SPSM uses VOC2012')
    archive = _archive(folders, '*')
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
    val = _official(voc, 'val')
    own = _with_masks(voc / 'SegmentationClass') or voc / 'SegmentationClass'
    lacking = {folder: _count_absent(folder, val, '.png') for folder in (train, own)}
    return {'train': train, 'val': min(lacking, key=lambda folder: lacking[folder])}


def _with_masks(folder):
    """The folder, or the first in it, that holds PNGs; None when none does."""
    inner = sorted(path for path in folder.rglob('*') if path.is_dir())
    return next((path for path in [folder, *inner] if list_files(path, '.png')), None)


def find_names(voc: Path, masks: Path) -> dict[str, list[str]]:
    """Find which images each list is to name.

    voc, masks: folders. Returns a dict from 'train', 'val', 'test' to names, sorted: the lists of
    val and test are VOC's own, train is what has a mask beyond val.
    """
    official = {split: _official(voc, split) for split in ('val', 'test')}
    masked = {path.stem for path in list_files(masks, '.png')}
    return {'train': sorted(masked.difference(official['val'])), **official}


def read_colours(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a mask saved in the VOC colours as labels.

    path: an RGB PNG. Returns uint8 [height, width].
    Raises InputError when it cannot be read, or has a colour that is not in the VOC map of classes
    and ignored pixels.
    """
    picture = read_image(path)
    codes = picture.astype(np.int32) @ (1 << 16, 1 << 8, 1)
    labels = np.append(np.arange(NUM_CLASSES), IGNORE_LABEL)
    known = colour_map()[labels].astype(np.int32) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(known)
    places = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    found = order[places]
    if (known[found] != codes).any():
        wrong = tuple(map(int, picture[known[found] != codes][0]))
        raise InputError(f'{path}: colour {wrong} is not in the VOC colour map')
    return labels[found].astype(np.uint8)


def convert_colours(
    masks: Mapping[str, Path], names: Mapping[str, Sequence[str]], out: Path
) -> Mapping[str, Path]:
    """Convert the masks of the lists to indices; where all are grey or palette masks, they stay.

    masks: from find_masks. names: from find_names. out: folder for converted masks, which is
    replaced, whole or not at all. Returns masks with the folders whose masks hold indices.
    Raises InputError for every mask that cannot be read or has other colours or labels.
    """
    paths = [folder / f'{name}.png' for split, folder in masks.items() for name in names[split]]
    if not any(map(_has_colours, paths)):
        return masks

    def convert(path):
        try:
            labels = read_colours(path) if _has_colours(path) else read_mask(path)
        except InputError as error:
            return str(error)
        write_mask(fresh / path.name, labels)
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
    return dict.fromkeys(masks, out)


def write_lists(
    voc: Path, masks: Mapping[str, Path], names: Mapping[str, Sequence[str]], out: Path
) -> None:
    """Write train.txt, val.txt and test.txt, those that have a name. Their paths start from voc.

    voc: folder. masks: from find_masks. names: from find_names. out: folder for the lists.
    """
    for split, of_split in names.items():
        columns = [(voc / 'JPEGImages', '.jpg')]
        if split in masks:
            columns.append((masks[split], '.png'))
        lines = [[folder / f'{name}{end}' for folder, end in columns] for name in of_split]
        if lines:
            write_list(out / f'{split}.txt', lines, voc)


def write_voc_tags(voc: Path, names: Sequence[str], out: Path) -> None:
    """Write the tags of images from VOC's annotations.

    voc: folder. names: images. out: the text file. Images without an annotation are left out.
    """
    paths = [voc / 'Annotations' / f'{name}.xml' for name in names]
    tags = {path.stem: tags_of_annotation(path) for path in paths if path.is_file()}
    if tags:
        write_tags(out, tags)


def take_stock(
    voc: Path, masks: Mapping[str, Path], names: Mapping[str, Sequence[str]], out: Path
) -> tuple[str, bool]:
    """Report what is there, what is missing and where to get it.

    voc: folder. masks: from find_masks. names: from find_names. out: folder of the lists.
    Returns the report, a text, and whether everything is there but the test images.
    """
    counts: dict[str, str] = {}
    faults: dict[str, list[str]] = {}
    near = [voc, voc.parent, voc.parent.parent, masks['train'].parent]
    for split, expected in COUNTS.items():
        of_split, voc_part = names[split], 'test' if split == 'test' else 'images'
        counts[split], faults[split] = f'{len(of_split)} images', []
        if len(of_split) != expected:
            # Without val.txt, train counts the masks of val too.
            needs_masks = split == 'train' and (names['val'] or len(of_split) < expected)
            source = 'masks' if needs_masks else voc_part
            faults[split].append(f'expected {expected}; {_remedy(source, near)}')
        if split == 'train' and not of_split:
            places = ', '.join(map(str, dict.fromkeys(near)))
            faults[split].append(
                f'no masks in {" or ".join(MASK_FOLDERS)}, or folders of these, in {places} '
                '(--masks names another place)'
            )
        absent = _count_absent(voc / 'JPEGImages', of_split, '.jpg')
        if absent:
            faults[split].append(f'{absent} are not in JPEGImages; {_remedy(voc_part, near)}')
    absent = _count_absent(masks['val'], names['val'], '.png')
    if absent:
        folders = ' or '.join(MASK_FOLDERS)
        faults['val'].append(f'{absent} have no mask in {folders}; {_remedy("masks", near)}')
    absent = _count_absent(voc / 'Annotations', names['train'], '.xml')
    counts['tags'], faults['tags'] = f'tags of {len(names["train"]) - absent} images', []
    if absent or not list_files(voc / 'Annotations', '.xml'):
        faults['tags'].append(
            f'{absent or "all"} are not in Annotations, and the selection needs them; '
            + _remedy('images', near)
        )
    elif not names['train']:
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
    names = find_names(voc, masks['train'])
    report, complete = take_stock(voc, masks, names, out)
    print(report)
    if not names['val']:
        raise InputError('this copy is not complete, see above; there are no lists without val.txt')
    if not args.skip_check:
        masks = convert_colours(masks, names, out / 'converted_masks')
    write_lists(voc, masks, names, out)
    write_voc_tags(voc, names['train'], out / 'tags.txt')
    if not args.skip_check:
        lists = [read_list(out / f'{split}.txt', voc) for split in names if names[split]]
        samples = list(itertools.chain(*lists))
        check_samples([s for s in samples if s.mask], voc, need_masks=True)
        test = [s for s in samples if not s.mask and s.image.is_file()]
        if test:
            check_samples(test, voc)
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


def _archive(folders, pattern):
    """The first archive in the folders whose name fits, or None."""
    paths = (path for folder in folders for path in sorted(folder.glob(pattern)))
    archives = (path for path in paths if {'.tar', '.tgz', '.zip'}.intersection(path.suffixes))
    return next(archives, None)


def _has_colours(path):
    try:
        with Image.open(path) as image:
            return image.mode not in ('L', 'P')
    except (OSError, Image.DecompressionBombError):
        return False  # whoever reads it says why


def _official(voc, split):
    path = voc / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    return sorted(path.read_text().split()) if path.is_file() else []


def _count_absent(folder, names, ending):
    return sum(not (folder / f'{name}{ending}').is_file() for name in names)


if __name__ == '__main__':
    errors.run_script(main)

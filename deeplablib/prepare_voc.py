"""Make the lists and tags of PASCAL VOC 2012 from the user's own copy, and check that copy.

    python -m deeplablib.prepare_voc /data/VOCdevkit

finds VOC2012 in the folder given and writes dataset/train.txt (every mask of SegmentationClassAug
that is not in VOC's val.txt), val.txt, test.txt and tags.txt. Ends with one report: what is there,
what is missing and where that is to be had. Run it again when something has been added.
"""

import argparse
import tempfile
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from deeplablib import errors
from deeplablib.errors import InputError, raise_all
from deeplablib.files import make_output_folder
from deeplablib.images import read_image, read_mask, write_mask
from deeplablib.progress import progress
from deeplablib.sample_check import check_samples
from deeplablib.samples import read_list, write_list
from deeplablib.tags import tags_of_annotation, write_tags
from deeplablib.voc import IGNORE_LABEL, NUM_CLASSES, colour_map

COUNTS = {'train': 10582, 'val': 1449, 'test': 1456}
SOURCES = {
    'images': 'VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/',
    'test': 'the VOC2012 test images, from http://host.robots.ox.ac.uk:8080 (free registration)',
    'masks': 'SegmentationClassAug.zip, made from the SBD annotations of Hariharan et al. '
    '(http://home.bharathh.info/pubs/codes/SBD/download.html)',
}
MASK_FOLDERS = ('SegmentationClassAug', 'SegmentationClass')


def find_voc(root):
    """Find the folder of VOC2012 in what a user calls it.

    root: the folder itself, VOCdevkit, or the folder that holds VOCdevkit.
    Returns its path. Raises InputError when it is not there, or VOC2007 or a tarball is.
    """
    root = Path(root)
    if root.is_file():
        raise InputError(f'{root}: a file; unpack it (tar xf {root.name}) and give the folder')
    if not root.is_dir():
        raise InputError(f'{root}: no such folder')
    for folder in (root, root / 'VOC2012', root / 'VOCdevkit' / 'VOC2012'):
        if (folder / 'JPEGImages').is_dir() and (folder / 'ImageSets').is_dir():
            if _is_2007(folder):
                raise InputError(f'{folder}: this is VOC2007; SPSM uses VOC2012')
            return folder
    if any((root / name).is_dir() for name in ('VOC2007', 'VOCdevkit/VOC2007')):
        raise InputError(f'{root}: only VOC2007 is here; SPSM uses VOC2012')
    tarballs = sorted(path.name for path in root.glob('*.tar*'))
    if tarballs:
        raise InputError(f'{root}: not unpacked yet; run: tar xf {root / tarballs[0]} -C {root}')
    raise InputError(f'{root}: no VOC2012 here (JPEGImages and ImageSets); get {SOURCES["images"]}')


def find_masks(voc, masks=None):
    """Find the folder of the masks: the augmented ones, or else VOC's own.

    voc: from find_voc. masks: where the user says they are, or None.
    Returns the path of the folder. Raises InputError when there is none.
    """
    roots = [Path(masks)] if masks else [voc, voc.parent, voc.parent.parent]
    folders = [root / name for name in MASK_FOLDERS for root in roots]
    for folder in [Path(masks), *folders] if masks else folders:
        if any(folder.glob('*.png')):
            return folder
    raise InputError(
        f'{roots[0]}: no masks here ({" or ".join(MASK_FOLDERS)}); get {SOURCES["masks"]}'
    )


def read_colours(path):
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


def convert_colours(masks, out):
    """Convert a folder with RGB masks to indices; one of grey or palette masks stays where it is.

    masks: folder. out: folder for the converted ones, which is replaced, whole or not at all.
    Returns the folder whose masks hold indices.
    Raises InputError for every mask that cannot be read or has other colours or labels.
    """
    paths = sorted(masks.glob('*.png'))
    if not any(map(_has_colours, paths)):
        return masks

    def convert(path):
        try:
            labels = read_colours(path) if _has_colours(path) else read_mask(path)
        except InputError as error:
            return str(error)
        write_mask(fresh / path.name, labels)

    with tempfile.TemporaryDirectory(prefix=f'.{out.name}.', dir=out.parent) as folder:
        fresh = Path(folder) / 'fresh'
        fresh.mkdir()
        parallel = joblib.Parallel(n_jobs=-1, prefer='threads', return_as='generator')
        faults = parallel(joblib.delayed(convert)(path) for path in paths)
        raise_all([f for f in progress(faults, len(paths), 'converting colours', 'mask') if f])
        if out.exists():
            out.rename(Path(folder) / 'old')
        fresh.rename(out)
    return out


def write_lists(voc, masks, out):
    """Write train.txt, val.txt and, where VOC's own test list is there, test.txt, all sorted.

    voc, masks: folders. out: folder for the lists. Their paths start from voc.
    Returns a dict from 'train', 'val', 'test' to the number of lines.
    """
    named = sorted(path.stem for path in masks.glob('*.png'))
    official = {split: _official(voc, split) for split in ('val', 'test')}
    if not official['val']:
        raise InputError(f'{voc}/ImageSets/Segmentation/val.txt: missing; get {SOURCES["images"]}')
    names = {'train': sorted(set(named) - set(official['val'])), **official}
    for split, of_split in names.items():
        images = [voc / 'JPEGImages' / f'{name}.jpg' for name in of_split]
        with_masks = [] if split == 'test' else [[masks / f'{name}.png' for name in of_split]]
        if of_split:
            write_list(out / f'{split}.txt', list(zip(images, *with_masks, strict=True)), voc)
    return {split: len(of_split) for split, of_split in names.items()}


def write_voc_tags(voc, names, out):
    """Write the tags of images from VOC's annotations.

    voc: folder. names: images. out: the text file. Images without an annotation are left out.
    Returns how many have tags.
    """
    paths = [voc / 'Annotations' / f'{name}.xml' for name in names]
    tags = {path.stem: tags_of_annotation(path) for path in paths if path.is_file()}
    if tags:
        write_tags(out, tags)
    return len(tags)


def report(counts, tagged, voc, masks, out):
    """What is there and what is missing, as lines of text."""
    lines = [f'images and annotations: {voc}', f'masks: {masks}', '']
    for split, expected in COUNTS.items():
        count = counts[split]
        verdict = 'complete' if count == expected else f'expected {expected}'
        if count != expected:
            # The lists of val and test are VOC's own; train is what has a mask beyond val.
            verdict += f'; get {SOURCES[{"train": "masks", "val": "images"}.get(split, split)]}'
        samples = read_list(out / f'{split}.txt', voc) if count else []
        gone = sum(not sample.image.is_file() for sample in samples)
        if gone:
            source = SOURCES['test' if split == 'test' else 'images']
            verdict += f', but {gone} are not in JPEGImages; get {source}'
        lines.append(f'{out / split}.txt: {count} images, {verdict}')
    verdict = 'complete' if tagged >= counts['train'] else f'of {counts["train"]}'
    lines.append(f'{out / "tags.txt"}: tags of {tagged} images, {verdict}')
    return '\n'.join(lines)


def main():
    """Find, write, check and report."""
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
    if not args.skip_check:
        masks = convert_colours(masks, out / f'{masks.name}_labels')
    counts = write_lists(voc, masks, out)
    train = [sample.name for sample in read_list(out / 'train.txt', voc)]
    tagged = write_voc_tags(voc, train, out / 'tags.txt')
    print(report(counts, tagged, voc, masks, out))
    if not args.skip_check:
        for split in (split for split, count in counts.items() if count):
            check_samples(read_list(out / f'{split}.txt', voc), voc, need_masks=split != 'test')
        print('Every image and mask of these lists is there and fits.')
    if any(counts[split] != COUNTS[split] for split in ('train', 'val')):
        raise InputError('this copy is not complete, see above; the lists hold what is there')
    print(f'Now set DATA_DIRECTORY (or --data-dir, --data_dir) to {voc}')


def _is_2007(folder):
    """VOC2007 counts its images, 000033.jpg; VOC2012 puts the year before, 2007_000033.jpg."""
    names = _official(folder, 'val') or [folder.name]
    return folder.name == 'VOC2007' or names[0].isdecimal()


def _has_colours(path):
    try:
        with Image.open(path) as image:
            return image.mode not in ('L', 'P')
    except (OSError, Image.DecompressionBombError):
        return False  # whoever reads it says why


def _official(voc, split):
    path = voc / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    return sorted(path.read_text().split()) if path.is_file() else []


if __name__ == '__main__':
    errors.run(main)

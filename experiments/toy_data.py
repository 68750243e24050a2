"""Generated data in the shape of PASCAL VOC, to run the whole method without the real data.

python -m experiments.toy_data --out ./dataset/toy

Textured shapes of 20 classes over clutter of the same colours. There are seven tones: a class is
known by the pair of them that its texture is made of, by that texture and by its shape; the clutter
has all of them in plain patches and shapes, so that no pixel's colour tells object from background.
Each class has a companion that often stands beside it. The cues are as bad as real ones: blurred,
partial, spilled over, some on the wrong thing. Where its companion stands beside an object, most
cues of the object show both: a network that has seen them together makes such cues, too.
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from deeplablib.data.image_lists import write_list
from deeplablib.data.images import read_image
from deeplablib.data.masks import read_indices, write_mask
from deeplablib.data.voc import CLASSES, NUM_CLASSES, colour_map
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder, replacing
from selection.rounds import Flags, Run

SIZE = 96  # pixels, height and width
IMAGES = {'initial': 1000, 'train': 600, 'val': 200}
OBJECTS = (0.35, 0.5, 0.15)  # probability of one, two and three objects
COMPANION = 0.9  # probability that the next object is the companion of the last
SHARED_CUES = 0.8  # fraction of cues that show the companion too, where there is one
WRONG_CUES = 0.25  # fraction of the others that point to the wrong place
LIGHT = 12  # standard deviation of the light of an image, in levels, for each colour channel

TONES = np.array(
    [
        (190, 110, 100),
        (110, 180, 110),
        (100, 115, 190),
        (185, 175, 100),
        (175, 110, 180),
        (100, 175, 180),
        (130, 130, 125),
    ],
    float,
)
PAIRS = list(itertools.combinations(range(len(TONES)), 2))  # of class i: PAIRS[i], from 1 on


def make_image(
    random: np.random.Generator, size: int = SIZE
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.floating]]:
    """Draw one image.

    random: numpy.random.Generator; the image depends on it alone. size: height and width.
    Returns (image uint8 [size, size, 3], mask uint8 [size, size], clutter float [size, size]: where
    a thing stands that is of no class).
    """
    tones = TONES + random.normal(0, LIGHT, 3)
    image = _ground(random, tones, size)
    clutter = np.zeros((size, size))
    for _ in range(random.integers(1, 4)):
        shape = _shape(random, random.integers(5), random.uniform(0.2, 0.8, 2) * size, size)
        image[shape] = _mixed(random, tones)
        clutter = np.maximum(clutter, shape)
    mask = np.zeros((size, size), np.uint8)
    for index, centre in _arrangement(random, size):
        shape = _shape(random, index % 5, centre, size)
        first, second = tones[list(PAIRS[index])]
        wave = _texture(random, index % 4, size)[..., None]
        textured = first * wave + second * (1 - wave) + random.normal(0, 6, 3)
        image[shape] = textured[shape]
        mask[shape] = index
    clutter[mask > 0] = 0
    light = gaussian_filter(random.normal(0, 1, (size, size)), size / 6) * size / 6
    image = image * (1 + 0.1 * light[..., None]) + random.normal(0, 5, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask, clutter


def make_cue(
    random: np.random.Generator, mask: npt.NDArray[np.uint8], index: int, clutter: Any
) -> npt.NDArray[np.uint8]:
    """Draw the localization cue of one class.

    Where the companion of the class is in the image, most cues (SHARED_CUES) show both. Most of the
    others show a part of the object, blurred and a little beside it; some (WRONG_CUES) show another
    object or clutter, or spill far over what surrounds the object.
    random: numpy.random.Generator. mask, clutter: from make_image. index: a class of the mask.
    Returns uint8 [size, size].
    """
    size = len(mask)
    shown = mask == index
    others = ((mask > 0) & ~shown) | (clutter > 0)
    heat = _part(random, shown, 0.5)
    companion = mask == companion_of(index)
    if companion.any() and random.random() < SHARED_CUES:
        heat = heat + 1.1 * _part(random, companion, 0.8)
    elif random.random() < WRONG_CUES:
        if others.any() and random.random() < 0.6:
            heat = _part(random, others, 0.8) + 0.4 * heat
        else:
            around = gaussian_filter(shown.astype(float), size / 12)
            around = (around > 0.02 * around.max()) & ~shown
            heat = 0.8 * heat + _part(random, around, 0.9)
    else:
        heat = heat + 0.3 * gaussian_filter(shown.astype(float), size / 16)
    heat = gaussian_filter(heat, size / 40) / heat.max()
    heat += 0.12 * _smooth_noise(random, size)
    return _as_grey(heat)


def companion_of(index: int) -> int:
    """The class that often stands beside a class."""
    return (index + 2) % 20 + 1


def make_saliency(
    random: np.random.Generator, mask: npt.NDArray[np.uint8], clutter: Any
) -> npt.NDArray[np.uint8]:
    """Draw the saliency map: the objects, blurred; one in eight missed, some clutter with them.

    random, mask, clutter: as for make_cue. Returns uint8 [size, size].
    """
    salient = np.zeros(mask.shape)
    for index in np.unique(mask[mask > 0]):
        if random.random() > 1 / 8:
            salient[mask == index] = random.uniform(0.7, 1)
    if random.random() < 0.3:
        salient = np.maximum(salient, random.uniform(0.3, 0.8) * (clutter > 0))
    salient = gaussian_filter(salient, len(mask) / 50) + 0.05 * _smooth_noise(random, len(mask))
    return (255 * salient.clip(0, 1)).astype(np.uint8)


def make_data(
    out: str | Path,
    seed: int = 1234,
    images: Mapping[str, int] | None = None,
    size: int = SIZE,
    jobs: int | str = -1,
) -> None:
    """Write a data set: JPEGImages, SegmentationClassAug, Annotations, cues, saliency, ImageSets,
    and a list SPLIT.txt with image and mask for each split.

    out: an existing folder. seed: of everything drawn. images: dict from split to number of images.
    size: of the images. jobs: as for parallel.for_each. Files that are there are written again, as
    they were: each image depends on the seed, its split and its number alone.
    """
    out, images = Path(out), images or IMAGES
    for folder in FOLDERS:
        make_output_folder(out / folder)
    items = [(s, n, split) for s, split in enumerate(images) for n in range(images[split])]
    with locked(out):
        for _ in parallel.for_each(partial(_make_one, out, seed, size), items, 'drawing', jobs):
            pass
        for split in images:
            names = [_name(split, number) for number in range(images[split])]
            with replacing(out / f'ImageSets/Segmentation/{split}.txt') as temporary:
                temporary.write_text(''.join(f'{name}\n' for name in names))
            pairs = [
                (out / f'JPEGImages/{name}.jpg', out / f'SegmentationClassAug/{name}.png')
                for name in names
            ]
            write_list(out / f'{split}.txt', pairs, out)


FOLDERS = (
    'JPEGImages',
    'SegmentationClassAug',
    'ImageSets/Segmentation',
    'Annotations',
    'cues',
    'saliency',
)


def _name(split, number):
    return f'{split}_{number:06d}'


def _make_one(out, seed, size, item):
    stream, number, split = item
    random = np.random.default_rng((seed, stream, number))
    name = _name(split, number)
    image, mask, clutter = make_image(random, size)
    with replacing(out / f'JPEGImages/{name}.jpg') as temporary:
        Image.fromarray(image).save(temporary, 'JPEG', quality=95, subsampling=0)
    write_mask(out / f'SegmentationClassAug/{name}.png', mask)
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = f'{name}.jpg'
    for index in np.unique(mask[mask > 0]):
        shown = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(shown, 'name').text = CLASSES[index]
        _write_grey(out / f'cues/{name}_{index - 1}.png', make_cue(random, mask, index, clutter))
    with replacing(out / f'Annotations/{name}.xml') as temporary:
        ElementTree.ElementTree(root).write(temporary)
    _write_grey(out / f'saliency/{name}.png', make_saliency(random, mask, clutter))


def _write_grey(path, grey):
    with replacing(path) as temporary:
        Image.fromarray(grey).save(temporary, 'PNG')


def _arrangement(random, size):
    """Classes and centres of an image's objects; a companion stands close to its partner."""
    count = 1 + random.choice(len(OBJECTS), p=OBJECTS)
    index = int(random.integers(1, NUM_CLASSES))
    placed = [(index, random.uniform(0.3, 0.7, 2) * size)]
    while len(placed) < count:
        index, centre = placed[-1]
        angle = random.uniform(0, 2 * np.pi)
        if random.random() < COMPANION:
            index, distance = companion_of(index), 0.36
        else:
            index, distance = int(random.integers(1, NUM_CLASSES)), 0.45
        centre = centre + distance * size * np.array([np.sin(angle), np.cos(angle)])
        if (abs(centre - size / 2) < 0.36 * size).all():
            placed.append((index, centre))
    return placed


def _grid(size):
    return np.mgrid[:size, :size].astype(float)


def _shape(random, kind, centre, size):
    """A filled shape: disc, square, triangle, cross or ring; bool [size, size]."""
    turn = random.uniform(-0.3, 0.3)
    radius = random.uniform(0.19, 0.28) * size
    stretch = random.uniform(0.8, 1.25)
    down, right = (axis - c for axis, c in zip(_grid(size), centre, strict=True))
    y = (down * np.cos(turn) - right * np.sin(turn)) / radius * stretch
    x = (down * np.sin(turn) + right * np.cos(turn)) / radius / stretch
    distance = np.hypot(x, y)
    disc = distance < 1
    square = np.maximum(abs(x), abs(y)) < 0.85
    triangle = (y < 0.75) & (y > 2.2 * abs(x) - 1.1)
    cross = (np.minimum(abs(x), abs(y)) < 0.42) & (np.maximum(abs(x), abs(y)) < 1.05)
    ring = (distance < 1.05) & (distance > 0.4)
    return (disc, square, triangle, cross, ring)[kind]


def _texture(random, kind, size):
    """Rows, columns, checks or dots; float [size, size], 0 to 1."""
    period = random.uniform(8, 11)
    y, x = _grid(size) * 2 * np.pi / period + random.uniform(0, 2 * np.pi, (2, 1, 1))
    rows, columns = np.sin(y), np.sin(x)
    checks, dots = 1.6 * columns * rows, columns + rows
    return (1 + np.tanh(2 * (rows, columns, checks, dots)[kind])) / 2


def _ground(random, tones, size):
    """A patchwork of the tones with soft waves; float [size, size, 3]."""
    seeds = random.uniform(0, size, (9, 2))
    bends = np.stack([_smooth_noise(random, size) for _ in range(2)]) * size / 12
    distance = [np.hypot(*(_grid(size) + bends - seed[:, None, None])) for seed in seeds]
    colours = np.stack([_mixed(random, tones) for _ in seeds])
    return colours[np.argmin(distance, 0)] + 12 * _smooth_noise(random, size, 2)[..., None]


def _mixed(random, tones):
    return tones[random.integers(len(tones))] + random.normal(0, 8, 3)


def _part(random, shown, reach):
    """A blob around a random pixel of a region, most of it within the region; 0 to 1."""
    size = len(shown)
    pixels = np.argwhere(shown)
    centre = pixels[random.integers(len(pixels))]
    width = reach * np.sqrt(len(pixels)) * random.uniform(0.7, 1.1)
    y, x = _grid(size) - centre[:, None, None]
    blob = np.exp(-(x**2 + y**2) / (2 * width**2))
    within = gaussian_filter(shown.astype(float), size / 32)
    return blob * (0.15 + 0.85 * within)


def _smooth_noise(random, size, scale=None):
    noise = gaussian_filter(random.normal(0, 1, (size, size)), scale or size / 12)
    return noise / abs(noise).max()


def _as_grey(heat):
    heat = heat - heat.min()
    return (255 * heat / heat.max()).astype(np.uint8)


# The rounds on this data: a narrow ResNet-50, trained and tested at one scale (at half of it the
# textures are gone), on crops as large as the images.
TRAINING: Flags = {
    'encoder_name': 'res50',
    'num_steps': 400,
    'width': 0.125,
    'batch_size': 8,
    'input_height': SIZE,
    'input_width': SIZE,
    'random_scale': False,
    'skip_check': True,
    'save_interval': 100,
    'max_to_keep': 2,
    'learning_rate': 1e-2,
}
INITIAL_STEPS = 1600
# Lengths for images a fifth as large as photographs; chosen on the data of seed 1.
CRF_WORDS = (
    *('--gaussian-sxy', '1', '--gaussian-weight', '1'),
    *('--bilateral-sxy', '8', '--bilateral-weight', '3'),
)


def toy_run(work_dir: Path, seed: int, changes: Flags | None = None) -> Run:
    """A run whose commands make the data set, WORK/data, and its initial checkpoint.

    work_dir: absolute folder for everything. seed: of the data and of every training.
    changes: flags of the trainings of the rounds, instead of TRAINING.
    """
    data, initial = work_dir / 'data', work_dir / 'initial'
    training = TRAINING | {'random_seed': seed, 'data_dir': str(data)}
    run = Run(
        images={
            'data_dir': str(data),
            'data_list': data / 'train.txt',
            'tags': work_dir / 'tags.txt',
        },
        training={'pretrain_file': initial / f'model.ckpt-{INITIAL_STEPS}', **training}
        | (changes or {}),
        prediction_script='test_vocspsm_resnet.py',
        val_list=data / 'val.txt',
        val_masks=data / 'SegmentationClassAug',
        single_scale=True,
        crf_words=CRF_WORDS,
    )
    run.add('experiments.toy_data', {'out': data, 'seed': seed})
    tags = {'annotations': data / 'Annotations', 'data_list': data / 'train.txt'}
    run.add('selection.make_tags', tags | {'out': work_dir / 'tags.txt'})
    # As deeplab_resnet_init.ckpt was trained on COCO: on other images, with their true masks.
    of_initial: Flags = {
        'option': 'train',
        'data_list': data / 'initial.txt',
        'modeldir': initial,
        'pretrain_file': '',
        'num_steps': INITIAL_STEPS,
        'learning_rate': 0.03,
        'train_batch_norm': True,
    }
    run.add('main.py', training | of_initial, 'modeldir')
    return run


def save_panel(path: Path, images: Sequence[Path], columns: Mapping[str, Path]) -> None:
    """Save a picture with a row for each image: the image, then its label map in each folder.

    path: of the PNG. images: of one size. columns: dict from title to the folder of label maps,
    NAME.png; where a map is missing the place stays white.
    """
    height, width = read_image(images[0]).shape[:2]
    header = 18  # pixels
    picture = Image.new('RGB', (width * (1 + len(columns)), header + height * len(images)), 'white')
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for column, title in enumerate(('image', *columns)):
        draw.text((width * column + 3, 2), title, 'black', font)
    for row, image in enumerate(images):
        top = header + height * row
        picture.paste(Image.fromarray(read_image(image)), (0, top))
        for column, folder in enumerate(columns.values(), 1):
            mask = folder / f'{image.stem}.png'
            if mask.is_file():
                labels, _ = read_indices(mask)
                picture.paste(Image.fromarray(colour_map()[labels]), (width * column, top))
    with replacing(path) as temporary:
        picture.save(temporary, format='PNG')


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(flag, default, help, **options):
        parser.add_argument(flag, default=default, help=f'{help} (default: %(default)s)', **options)

    add('--out', './dataset/toy', 'where the data set goes')
    add('--seed', 1234, 'of everything that is drawn', type=int)
    add('--size', SIZE, 'height and width of the images, at least 32', type=int)
    for split, count in IMAGES.items():
        add(f'--{split}', count, f'images of the split {split}', type=int)
    parallel.add_jobs(parser)
    return parser.parse_args()


def main() -> None:
    """Write the data set."""
    args = get_arguments()
    parallel.check_workers(args.jobs)
    images = {split: getattr(args, split) for split in IMAGES}
    if min(images.values()) < 1 or args.size < 32 or args.seed < 0:
        raise InputError('a split needs an image, an image 32 pixels, and the seed must not be < 0')
    make_data(make_output_folder(args.out), args.seed, images, args.size, args.jobs)
    print(f'The data set has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

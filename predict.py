"""Segment photographs: python predict.py photo.jpg, a folder, or a pattern such as 'photos/*.png'.

Without --restore-from, the network that comes with the project labels them: EfficientNet-Lite0,
which learnt VOC's 20 classes from tags alone.
Writes, for each, NAME.png (label map), NAME_colour.png (in the VOC colours) and NAME_overlay.png
(over the photograph, with a legend of the classes found).
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from deeplab_efficientnet import efficientnet, from_tags
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.classes import class_ids
from deeplablib.data.image_lists import Sample, find_images
from deeplablib.data.images import write_image
from deeplablib.data.masks import write_mask
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.score_maps import image_probabilities
from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.network.convolution import require_precision
from deeplablib.prediction.crf import crf_labels, require_package
from deeplablib.prediction.multi_scale_script import make_parser, restore
from deeplablib.prediction.photographs import enlarge, label_photograph, upright
from deeplablib.prediction.predict_list import run_network
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder

RESTORE_FROM = from_tags.CHECKPOINT  # the network that comes with the project
SAVE_DIR = './result/labels/'
MAX_SIZE = 1024  # pixels of the longer side that the network sees
IMG_MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
OPACITY = 0.55  # of the colours over the photograph
LINE = 20  # height of a line of the legend, pixels


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(
        __doc__,
        restore_from=RESTORE_FROM,
        save_dir=SAVE_DIR,
        img_mean=IMG_MEAN,
        max_size=MAX_SIZE,
    )
    parser.add_argument('images', nargs='+', help='image files, folders or patterns')
    parser.add_argument(
        '--tags', nargs='+', metavar='CLASS', help='the classes that may occur, names or ids'
    )
    parser.add_argument('--crf', action='store_true', help='label by the dense CRF')
    parser.add_argument(
        '--confidence',
        action='store_true',
        help='also NAME_confidence.png, the largest probability, grey: white is certain',
    )
    return parser.parse_args()


def read_samples(places: Sequence[str]) -> list[Sample]:
    """The images that files, folders and patterns name, each once, as samples without masks."""
    found = [
        path
        for place in places
        for path in ([Path(place)] if Path(place).is_file() else find_images(place))
    ]
    return [Sample(path, None, str(path)) for path in dict.fromkeys(found)]


def overlay(
    image: Image.Image, labels: npt.NDArray[np.uint8], classes: Sequence[str] = CLASSES
) -> npt.NDArray[np.uint8]:
    """Lay the colours of a label map over its photograph, with a legend below.

    image: RGB, of the size of the labels. labels: uint8 [height, width]. classes: their names.
    Returns uint8 RGB, higher by the legend, and as wide as the legend needs.
    """
    colours = colour_map()
    counts = np.array(Image.fromarray(labels).histogram())
    found = np.flatnonzero(counts)
    height, width = labels.shape
    picture = Image.new('RGB', (max(width, 180), height + LINE * len(found)), 'white')
    picture.paste(image)
    mixed = Image.blend(image, Image.fromarray(colours[labels]), OPACITY)
    picture.paste(mixed, mask=Image.fromarray(np.where(labels > 0, np.uint8(255), np.uint8(0))))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, label in enumerate(found):
        top = height + LINE * row
        draw.rectangle((4, top + 4, 16, top + 16), fill=tuple(colours[label]), outline='black')
        percent = 100 * counts[label] / labels.size
        text = f'{classes[int(label)]}, '
        text += f'{percent:.1f} %' if percent >= 0.05 else 'less than 0.1 %'
        draw.text((24, top + 2), text, 'black', font)
    return np.array(picture)


def allowed_classes(tags: Sequence[str] | None, classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """The classes that may occur: bool [classes]. Raises InputError for a tag that is no class."""
    ids, wrong = class_ids(list(tags or ()), tuple(classes))
    if wrong:
        raise InputError(f'--tags {wrong[0]}: no class; there are {", ".join(classes[1:])}')
    return np.isin(np.arange(len(classes)), (0, *ids)) if tags else np.ones(len(classes), bool)


def main() -> None:
    """Predict and save the pictures of each image."""
    args = get_arguments()
    require_precision(args.precision)
    if args.crf:
        require_package()
    samples = read_samples(args.images)
    check_samples(samples, '.', say_turned=False)
    endings = ('.png', '_colour.png', '_overlay.png', '_confidence.png')
    check_outputs(samples, args.save_dir, endings)
    if args.restore_from == from_tags.CHECKPOINT:
        print('The network that comes with the project, learnt from tags alone (--restore-from)')
        from_tags.write_checkpoint()
    network, predict, classes = restore(args, NETWORKS)
    allowed = allowed_classes(args.tags, classes)
    save_dir, kind = make_output_folder(args.save_dir), network.score_map_kind

    def label(sample, image, size):
        labels, score_map = predict(image, allowed)
        return partial(save, sample, image.numpy(), size, labels.numpy(), score_map.numpy())

    def save(sample, image, size, labels, score_map):
        name, confidence = sample.name, None
        if args.confidence or labels.shape != size and not args.crf:
            at_size, confidence = label_photograph(score_map, size, kind, allowed)
            labels = labels if labels.shape == size else at_size
        if args.crf:
            probabilities = image_probabilities(score_map, image.shape[:2], kind, allowed)
            labels = enlarge(crf_labels(image, probabilities), size)
        write_mask(save_dir / f'{name}.png', labels)
        write_image(save_dir / f'{name}_colour.png', colour_map()[labels])
        picture = overlay(upright(sample.image), labels, classes)
        write_image(save_dir / f'{name}_overlay.png', picture)
        if args.confidence:
            write_image(save_dir / f'{name}_confidence.png', confidence)

    run_network(label, samples, 'predicting', max_size=args.max_size, turn=True)
    print(f'The label maps, colour maps and overlays have been saved to {save_dir}')


if __name__ == '__main__':
    errors.run_script(main)

"""Segment photographs: python predict.py photo.jpg, a folder, or a pattern such as 'photos/*.png'.

Writes, for each, NAME.png (label map), NAME_colour.png (in the VOC colours) and NAME_overlay.png
(over the photograph, with a legend of the classes found).
"""

import argparse
import glob
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

import deeplab_resnet
import deeplab_vgg
from deeplablib.data.image_headers import exif_turn
from deeplablib.data.image_lists import IMAGE_ENDINGS, Sample
from deeplablib.data.images import read_image, to_rgb, write_image, write_mask
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.voc import CLASSES, colour_map
from deeplablib.network.convolution import require_precision
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.run import errors
from deeplablib.run.errors import InputError
from deeplablib.run.files import list_files, make_output_folder
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_model
from deeplablib.weights.run_settings import classes_of

RESTORE_FROM = './model/resnet/model.resnet'
SAVE_DIR = './result/photos/'
IMG_MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red

NETWORKS = deeplab_resnet.NETWORKS | deeplab_vgg.NETWORKS
OPACITY = 0.55  # of the colours over the photograph
LINE = 20  # height of a line of the legend, pixels


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', nargs='+', help='image files, folders or patterns')
    parser.add_argument(
        '--restore-from',
        default=RESTORE_FROM,
        help='checkpoint of any of the networks, recognised by itself (default: %(default)s)',
    )
    parser.add_argument('--save-dir', default=SAVE_DIR, help='default: %(default)s')
    parser.add_argument(
        '--precision', choices=('float32', 'bfloat16'), default='float32', help='default: float32'
    )
    return parser.parse_args()


def find_images(patterns: Sequence[str]) -> list[Sample]:
    """The images that files, folders and patterns name, as samples without masks."""
    samples = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            found = [path]
        else:
            # Neither gives hidden files.
            named = list_files(path) if path.is_dir() else glob.glob(pattern, recursive=True)
            found = sorted(p for p in map(Path, named) if p.name.lower().endswith(IMAGE_ENDINGS))
        if not found:
            raise InputError(f'{pattern}: no image of this name')
        samples += [Sample(file, None, str(file)) for file in found]
    return samples


def upright(sample: Sample, folder: Path) -> Sample:
    """Turn a photograph as its camera says it was held (EXIF): the networks know upright things.

    sample: Sample. folder: where a turned copy goes. Returns the Sample of the copy, or the one
    given when nothing is to be turned.
    """
    with Image.open(sample.image) as image:
        if exif_turn(image) is None:
            return sample
        turned = to_rgb(ImageOps.exif_transpose(image))
    turned.save(folder / f'{sample.name}.png')
    return Sample(folder / f'{sample.name}.png', None, sample.origin)


def overlay(
    image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], classes: Sequence[str] = CLASSES
) -> npt.NDArray[np.uint8]:
    """Lay the colours of a label map over its photograph, with a legend below.

    image: uint8 RGB [height, width, 3]. labels: uint8 [height, width].
    classes: their names.
    Returns uint8 RGB, higher by the legend, and as wide as the legend needs.
    """
    colours = colour_map()
    mixed = np.where(
        labels[..., None] > 0, (1 - OPACITY) * image + OPACITY * colours[labels], image
    )
    found, counts = np.unique(labels, return_counts=True)
    height, width = labels.shape
    picture = Image.new('RGB', (max(width, 180), height + LINE * len(found)), 'white')
    picture.paste(Image.fromarray(np.uint8(mixed)))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, (label, count) in enumerate(zip(found, counts, strict=True)):
        top = height + LINE * row
        draw.rectangle((4, top + 4, 16, top + 16), fill=tuple(colours[label]), outline='black')
        percent = 100 * count / labels.size
        text = f'{classes[label]}, '
        text += f'{percent:.1f} %' if percent >= 0.05 else 'less than 0.1 %'
        draw.text((24, top + 2), text, 'black', font)
    return np.array(picture)


def main() -> None:
    """Predict and save the three pictures of each image."""
    args = get_arguments()
    require_precision(args.precision)
    samples = find_images(args.images)
    check_samples(samples, '.')
    check_outputs(samples, args.save_dir, ('.png', '_colour.png', '_overlay.png'))
    prefix = checkpoints.find(args.restore_from)
    name, model = load_model(NETWORKS, prefix)
    print(f'Restored {name} from {prefix}')
    save_dir = make_output_folder(args.save_dir)
    predict = make_predictor(
        model, NETWORKS[name].to_score_map, img_mean=IMG_MEAN, precision=args.precision
    )
    classes = classes_of(prefix, model.output.shape[-1])

    def write(name, labels):
        write_mask(save_dir / f'{name}.png', labels)
        write_image(save_dir / f'{name}_colour.png', colour_map()[labels])
        picture = overlay(read_image(paths[name]), labels, classes)
        write_image(save_dir / f'{name}_overlay.png', picture)

    with tempfile.TemporaryDirectory() as folder:
        samples = [upright(sample, Path(folder)) for sample in samples]
        paths = {sample.name: sample.image for sample in samples}
        predict_samples(predict, samples, save_dir, write=write)
    print(f'The label maps, colour maps and overlays have been saved to {save_dir}')


if __name__ == '__main__':
    errors.run(main)

r"""Localization cues from a classifier of tags: its class activation maps.

python -m selection.make_cams --restore-from ./model/classifier --out ./cues

The map of a tag is what the last layer of the classifier responds with in each place, before
pooling, where it is positive (Zhou et al., 2016), summed over several scales of the image and their
mirror images, and divided by its maximum. OUT/NAME_<class id - 1>.png holds it, 8-bit grey, at the
size of the image, for each of the image's tags.

The field's; scales and mirror images are those of irn (Ahn et al., 2019).

More is made of the features of an encoder for which that was measured, EfficientNet-Lite0, at one
scale: maps are propagated among places that are alike (selection.propagation), and a classifier of
places is learnt from what they are sure of (selection.place_classifier). --no-propagation does
without. docs/photographs.md says what each is worth.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.image_lists import Sample
from deeplablib.data.images import write_image
from deeplablib.data.network_input import preprocess
from deeplablib.network.convolution import require_precision
from deeplablib.network.folding import fold_for_prediction
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.predict_list import run_network
from deeplablib.utils import errors
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.utils.parallel import add_resume, left_to_do
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_tag_classifier
from selection.cues import cue_paths
from selection.place_classifier import learnt_cams
from selection.step import read_samples, step_parser

# Change this to your own path; it is the default of a flag.
RESTORE_FROM = './model/classifier'
SCALES = (0.5, 1.0, 1.5, 2.0)

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS


def make_cam_function(
    model: keras.Model, scales: Sequence[float] = SCALES, precision: str = 'float32'
) -> Any:
    """Build the function that makes the class activation maps of an image.

    model: from NetworkSpec.build_classifier, with its weights. scales: of the image; a scaled size
    is truncated. precision: 'float32' or 'bfloat16'.
    Returns a tf.function of (image, tags): uint8 RGB [height, width, 3] and bool [tags]. It gives
    float32 [height, width, number of tags that are true], in the order of the tags, from 0 to 1; a
    map that is nowhere positive is 0 everywhere.
    """
    fast = fold_for_prediction(model, precision)
    num_tags = model.output.shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([num_tags], tf.bool),
        ]
    )
    def cams(image, tags):
        size = tf.shape(image)[:2]
        single = preprocess(image)
        batch = tf.stack([single, tf.reverse(single, [1])])
        total = 0.0
        for scale in scales:
            scaled = tf.cast(tf.cast(size, tf.float32) * scale, tf.int32)
            responses = fast(resize_bilinear(batch, tf.maximum(scaled, 1)), training=False)
            positive = tf.nn.relu(tf.boolean_mask(responses, tags, axis=3))
            # With half-pixel centres, as irn, unlike the label maps of this project: a cell of the
            # map then lies over the middle of the 16 pixels that it is for, in the mirror image
            # too, and nothing is trained on the result that could learn an offset.
            total += tf.image.resize(positive, size)
        total = total[0] + tf.reverse(total[1], [1])
        return tf.math.divide_no_nan(total, tf.reduce_max(total, [0, 1]))

    return cams


def save_cams(
    cams: Callable, samples: Sequence[Sample], allowed: Sequence[npt.NDArray[np.bool_]], out: Path
) -> None:
    """Save the class activation maps of each image's tags as OUT/NAME_<class id - 1>.png.

    cams: from make_cam_function or learnt_cams. samples: each with a tag. allowed: bool [classes]
    of each.
    out: an existing folder.
    Raises InputError for an image that cannot be decoded; what came before it is saved.
    """
    by_name = {sample.name: row for sample, row in zip(samples, allowed, strict=True)}

    def save(name, maps):
        levels = np.rint(255 * np.asarray(maps)).astype(np.uint8)
        paths = cue_paths(out, name, by_name[name]).values()
        for path, cue in zip(paths, np.moveaxis(levels, -1, 0), strict=True):
            write_image(path, cue)

    def work(sample, image, _):
        return partial(save, sample.name, cams(image, by_name[sample.name][1:]))

    run_network(work, samples, 'making CAMs')


def get_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; None: that of this process."""
    parser = step_parser(__doc__, './cues', 'where cues go, NAME_<class id - 1>.png')
    parser.add_argument(
        '--restore-from',
        default=RESTORE_FROM,
        help='checkpoint of a classifier: its prefix, or its folder (default: %(default)s)',
    )
    parser.add_argument(
        '--scales',
        type=float,
        nargs='+',
        default=SCALES,
        metavar='S',
        help='of the image (default: %(default)s)',
    )
    parser.add_argument(
        '--precision',
        choices=('float32', 'bfloat16'),
        default='float32',
        help='bfloat16: faster, on a GPU or a CPU with AVX512-BF16 or AMX only',
    )
    parser.add_argument(
        '--no-propagation',
        action='store_true',
        help='plain class activation maps, with every encoder',
    )
    add_resume(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Make the cues of the list."""
    args = get_arguments()
    require_precision(args.precision)
    if min(args.scales) <= 0:
        raise InputError(f'value {min(args.scales):g} of --scales: must be positive')
    prefix = checkpoints.find(args.restore_from)
    name, model = load_tag_classifier(NETWORKS, prefix)
    print(f'Restored model parameters from {prefix}')
    if len(args.classes) != model.output.shape[-1] + 1:
        raise InputError(
            f'{prefix}: a classifier of {model.output.shape[-1]} tags; --classes must name these '
            'and background'
        )
    layers = () if args.no_propagation else NETWORKS[name].affinity_layers
    if layers and (tuple(args.scales) != SCALES or args.precision != 'float32'):
        raise InputError('--scales and --precision are of plain maps: give --no-propagation too')
    samples, allowed = read_samples(args)
    out = make_output_folder(args.out)
    tagged = np.flatnonzero(allowed[:, 1:].any(1))
    if len(tagged) < len(samples):
        print(f'note: {len(samples) - len(tagged)} images have no tags, and get no cue')
    samples, allowed = [samples[i] for i in tagged], allowed[tagged]
    waiting = list(zip(samples, allowed, strict=True))
    if args.resume:
        waiting = left_to_do(
            waiting, lambda i: all(p.is_file() for p in cue_paths(out, i[0].name, i[1]).values())
        )
    if waiting:
        with locked(out):
            if layers:
                cams = learnt_cams(model, layers, samples, allowed, out, args.resume)
            else:
                cams = make_cam_function(model, args.scales, args.precision)
            to_do, of_each = zip(*waiting, strict=True)
            save_cams(cams, to_do, of_each, out)
    print(f'The cues have been saved to {out}')


if __name__ == '__main__':
    errors.run_script(main)

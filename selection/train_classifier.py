r"""A classifier of tags, which has to look at what it names: localization cues are made from it.

python -m selection.train_classifier --encoder-name vgg --pretrain-file ./model/vgg/init \
    --out ./model/classifier
python -m selection.make_cams --restore-from ./model/classifier --out ./cues

It is the encoder of a network of this project, from ImageNet weights, with the strides of its
ImageNet original except the last (output stride 16), global average pooling, and a 1x1 convolution
without bias into the tags. It learns the sigmoid cross entropy of the tags and reads no mask. With
--valid-list, images whose tags are known too, their mean average precision is printed and logged
whenever a checkpoint is saved. A run that was stopped goes on with the same command.

On an encoder that is frozen as a whole, EfficientNet-Lite0's by default, this is logistic
regression on the mean of the features of each image: it is solved to its end, without steps.

The field's: the authors' cues came from elsewhere. The settings are those of irn (Ahn et al.,
2019), which also leaves the first layers of the encoder as ImageNet made them.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import deeplab_efficientnet.settings
import deeplab_resnet.settings
import deeplab_vgg.settings
from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.image_lists import Sample, read_list
from deeplablib.data.network_input import load_image, preprocess
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import read_allowed
from deeplablib.network.convolution import require_precision
from deeplablib.network.folding import fold_for_training
from deeplablib.network.layers import TAG_LAYER
from deeplablib.network.network_spec import ENCODER_LEVELS, Recipe
from deeplablib.prediction.metrics import mean_average_precision
from deeplablib.training import devices, training_run
from deeplablib.training.augment import scale_to_crop
from deeplablib.training.trainer import Trainer
from deeplablib.utils import errors
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.utils.progress import progress
from deeplablib.weights import settings_file
from selection.regression import fit, tag_loss
from selection.step import step_parser

# Change these to your own; each is the default of a flag (--help). What suits a network stands in
# settings.py of its package, CLASSIFIER.
ENCODER_NAME = 'vgg'
RESTORE_FROM = './model/vgg/init'

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
SUITABLE = {
    **dict.fromkeys(resnet.NETWORKS, deeplab_resnet.settings.CLASSIFIER),
    **dict.fromkeys(vgg.NETWORKS, deeplab_vgg.settings.CLASSIFIER),
    **dict.fromkeys(efficientnet.NETWORKS, deeplab_efficientnet.settings.CLASSIFIER),
}
RECIPE = Recipe(classifier=TAG_LAYER)
TAG_L2 = 0.3  # of the regression; chosen by the cues of 150 photographs (docs/photographs.md)
# What main.py has flags for, and a classifier has always so.
ALWAYS = {
    'power': 0.9,
    'momentum': 0.9,
    'weight_decay': 1e-4,
    'warmup_steps': 0,
    'grad_update_every': 1,
    'shuffle': True,
    'random_scale': True,
    'random_mirror': True,
    'msc': False,
    'restore_last': False,
    'recompute': False,
    'max_to_keep': 2,
    'logfile': None,
    'logdir': None,
}
# What changes nothing in the result, or as the content of a file.
NOT_OF_RESULT = (
    *('out', 'data_dir', 'data_list', 'tags', 'classes', 'pretrain_file', 'save_interval'),
    *('valid_list', 'valid_tags', 'valid_every', 'resume_changed', 'recompute', 'max_to_keep'),
    *('logfile', 'logdir'),
)


def labels_of_tags(
    allowed_by_image: Mapping[str, npt.NDArray[np.bool_]], samples: Sequence[Sample]
) -> npt.NDArray[np.uint8]:
    """The labels of a list: uint8 [samples, tags], 1 where an image has the tag.

    allowed_by_image: dict from image name to bool [classes], background first.
    """
    return np.array([allowed_by_image[sample.name][1:] for sample in samples], np.uint8)


def check_labels(labels: npt.NDArray[np.uint8], classes: Sequence[str]) -> None:
    """See that there is something to learn, and name the tags that no image has.

    labels: from labels_of_tags. classes: their names, background first.
    Raises InputError when no two images differ in their tags.
    """
    missing = [classes[int(i) + 1] for i in np.flatnonzero(labels.sum(0) == 0)]
    if (labels == labels[0]).all():
        raise InputError(
            'all images have the same tags; a classifier needs images with a tag and without it'
        )
    if missing:
        print(f'note: no image has these tags, and they are not learnt: {", ".join(missing)}')


def pooled(
    model: keras.Model, samples: Sequence[Sample], crop_size: int, label: str
) -> npt.NDArray[np.float32]:
    """What a model gives for each whole image, the mean over its map: float32 [samples, channels].

    model: from NetworkSpec.build_classifier, for the logits of the tags, or a part of it.
    crop_size: the longer side that an image is resized to. label: for the progress.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def mean(image):
        image = scale_to_crop(preprocess(image), (crop_size, crop_size), 1.0)
        return tf.reduce_mean(tf.cast(model(image[None], training=False), tf.float32), [1, 2])[0]

    images = (load_image(sample.image) for sample in samples)
    return np.array([mean(image) for image in progress(images, len(samples), label)])


def solve(
    trainer: Trainer, samples: Sequence[Sample], labels: npt.NDArray[np.uint8], crop_size: int
) -> None:
    """Learn the last layer on a frozen encoder, by logistic regression to its end.

    Its bias is left out, as everywhere: it moves all images alike. Arguments as for pooled.
    """
    encoder = keras.Model(trainer.model.input, trainer.model.get_layer(TAG_LAYER).input)
    features = pooled(encoder, samples, crop_size, 'reading features')
    kernel, _ = fit(features, labels.astype(np.float32), tag_loss, l2=TAG_L2)
    trainer.variables[trainer.network.tag_kernel].assign(kernel[None, None])


def train(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    labels: npt.NDArray[np.uint8],
    valid_samples: Sequence[Sample],
    valid_labels: npt.NDArray[np.uint8],
) -> None:
    """Train, or go on where an earlier run with the same folder stopped.

    args: of get_arguments. samples, labels: to learn from. valid_samples, valid_labels: to measure
    with; none: nothing is measured.
    """
    network = NETWORKS[args.encoder_name]
    flags = vars(args)
    record = settings_file.make_settings(
        flags,
        flags.keys() - NOT_OF_RESULT,
        samples,
        args.classes,
        tags=hashlib.sha256(labels.tobytes()).hexdigest(),
    )
    devices.make_repeatable(args.random_seed)
    classifier = network.build_classifier(
        num_tags=labels.shape[1], width=args.width, frozen=args.frozen
    )
    model = fold_for_training(classifier, args.precision)
    trainer = Trainer(model, network, RECIPE, args, tag_labels=labels)

    def measure():
        scores = pooled(model, valid_samples, args.crop_size, 'validating')
        return mean_average_precision(valid_labels, scores)

    out = make_output_folder(args.out)
    if args.frozen == ENCODER_LEVELS and args.pretrain_file:
        with locked(out):
            training_run.restore_pretrained(trainer, args.pretrain_file, restore_last=False)
            solve(trainer, samples, labels, args.crop_size)
            settings_file.write_settings(out, record)
            training_run.save(trainer, out, step=0, max_to_keep=0)
        if valid_samples:
            print(f'mean average precision {100 * measure():.1f}')
        return
    training_run.train(trainer, samples, out, record, measure if valid_samples else None)


def get_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; None: that of this process."""
    parser = step_parser(__doc__, './model/classifier', 'folder of the checkpoints and the log')

    def add(flag, default, help, type=int, **options):
        help = f'{help} (default: %(default)s)'
        parser.add_argument(flag, default=default, help=help, type=type, **options)

    def add_suitable(flag, help, type=int):
        help = f'{help} (default: what suits the network)'
        parser.add_argument(flag, help=help, type=type)

    add('--encoder-name', ENCODER_NAME, 'network whose encoder it is', str, choices=NETWORKS)
    add('--pretrain-file', RESTORE_FROM, "checkpoint to start from; '': from scratch", str)
    add_suitable('--num-steps', 'steps of the training')
    add_suitable('--batch-size', 'images of a step')
    add_suitable('--crop-size', 'height and width of the crops, pixels')
    add_suitable('--frozen', 'levels of the encoder, from the first of five, that do not learn')
    add_suitable('--learning-rate', 'of the encoder; ten times that for the last layer', float)
    add('--precision', 'float32', 'type to compute in', str, choices=('float32', 'bfloat16'))
    add('--save-interval', 500, 'steps between checkpoints')
    add('--random-seed', 1234, 'seed of order, augmentation and initial weights')
    add('--width', 1.0, "multiplies the channels; 1 is the paper's network", float)
    parser.add_argument(
        *('--resume-changed', '--resume_changed'),
        action='store_true',
        help='go on with other settings than before',
    )
    parser.add_argument('--valid-list', help='list of images to measure the classifier with')
    parser.add_argument('--valid-tags', help='their tags: file or folder (default: --tags)')
    parser.set_defaults(**ALWAYS)
    parser.set_defaults(**SUITABLE[parser.parse_args(arguments).encoder_name])
    args = parser.parse_args(arguments)
    args.input_height = args.input_width = args.crop_size
    args.valid_every = args.save_interval
    return args


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError for a number that makes no sense."""
    limits = dict.fromkeys(('num_steps', 'batch_size', 'crop_size', 'save_interval'), (1, np.inf))
    limits |= {'frozen': (0, ENCODER_LEVELS), 'random_seed': (0, 2**32 - 1)}
    limits |= {'learning_rate': (0, np.inf)}
    for name, (low, high) in limits.items():
        value = getattr(args, name)
        if not low <= value <= high:
            flag = name.replace('_', '-')
            raise InputError(f'value {value} of --{flag}: expected {low} to {high}')


def read_tagged(
    data_list: str | Path, data_dir: str | Path, tags: str | Path, classes: tuple[str, ...]
) -> tuple[list[Sample], npt.NDArray[np.uint8]]:
    """The samples of a list, without their masks, and their labels; all of them checked.

    classes: their names. Returns a list of Sample and uint8 [samples, tags].
    """
    # A mask that the list names stays unread: what is trained here has seen no mask.
    samples = [replace(sample, mask=None) for sample in read_list(data_list, data_dir)]
    allowed_by_image = read_allowed(tags, classes, samples)
    labels = labels_of_tags(allowed_by_image, samples)
    check_samples(samples, data_dir, len(classes))
    return samples, labels


def main() -> None:
    """Train the classifier."""
    args = get_arguments()
    check_arguments(args)
    require_precision(args.precision)
    samples, labels = read_tagged(args.data_list, args.data_dir, args.tags, args.classes)
    check_labels(labels, args.classes)
    valid_samples: list[Sample] = []
    valid_labels = labels[:0]
    if args.valid_list:
        valid_tags = args.valid_tags or args.tags
        valid_samples, valid_labels = read_tagged(
            args.valid_list, args.data_dir, valid_tags, args.classes
        )
    train(args, samples, labels, valid_samples, valid_labels)
    print(f'The classifier has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

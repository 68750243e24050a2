r"""A classifier of tags, which has to look at what it names: localization cues are made from it.

python -m selection.train_classifier --encoder-name vgg --pretrain-file ./model/vgg/init \
    --out ./model/classifier
python -m selection.make_cams --restore-from ./model/classifier --out ./cues

It is the encoder of a network of this project, from ImageNet weights, with the strides of its
ImageNet original except the last (output stride 16), global average pooling, and a 1x1 convolution
without bias into the tags. It learns the sigmoid cross entropy of the tags and reads no mask. With
--valid-list, images whose tags are known too, their mean average precision is printed and logged
whenever a checkpoint is saved. A run that was stopped goes on with the same command.

The field's: the authors' cues came from elsewhere. The settings are those of irn (Ahn et al.,
2019), which also leaves the first layers of the encoder as ImageNet made them.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data.image_lists import Sample, read_list
from deeplablib.data.network_input import load_image, preprocess
from deeplablib.data.sample_check import check_samples
from deeplablib.data.tags import allowed_classes, read_tags
from deeplablib.network.convolution import require_precision
from deeplablib.network.layers import TAG_LAYER
from deeplablib.network.network_spec import Recipe
from deeplablib.network.training_form import training_model
from deeplablib.prediction.metrics import mean_average_precision
from deeplablib.training import devices, training_log, training_run
from deeplablib.training.augment import scale_to_crop
from deeplablib.training.batches import batch_settings
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_settings import ENCODER_LEVELS, TrainingSettings
from deeplablib.utils import errors
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.utils.progress import progress
from deeplablib.weights import checkpoints, run_settings
from selection.step import step_parser

# Change these to your own; each is the default of a flag (--help).
ENCODER_NAME = 'vgg'
RESTORE_FROM = './model/vgg/init'
NUM_STEPS = 3300  # five epochs of VOC's 10,582 images
BATCH_SIZE = 16
CROP_SIZE = 512
RESNET_RATE = 0.1  # irn's
VGG_RATE = 0.0003  # no batch norm keeps its features small: at 0.01 it diverges, 0.001 learns less
LITE0_RATE = 0.03  # with the whole encoder frozen; in 300 steps at 0.0003 it learns nothing
POWER, MOMENTUM, WEIGHT_DECAY = 0.9, 0.9, 1e-4
FROZEN, LITE0_FROZEN = 3, 5
CHECKPOINTS_KEPT = 2

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
RECIPE = Recipe(classifier=TAG_LAYER, bias_rate=1.0, outputs=tf.identity)


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


def tag_scores(
    model: keras.Model, samples: Sequence[Sample], crop_size: int
) -> npt.NDArray[np.float32]:
    """What a classifier makes of whole images: a logit for each tag.

    model: from NetworkSpec.build_classifier. crop_size: the longer side
    that an image is resized to. Returns float32 [samples, tags].
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def scores(image):
        image = scale_to_crop(preprocess(image), (crop_size, crop_size), 1.0)
        return tf.reduce_mean(tf.cast(model(image[None], training=False), tf.float32), [1, 2])[0]

    images = (load_image(sample.image) for sample in samples)
    return np.array([scores(image) for image in progress(images, len(samples), 'validating')])


def train(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    labels: npt.NDArray[np.uint8],
    valid_samples: Sequence[Sample],
    valid_labels: npt.NDArray[np.uint8] | None,
) -> None:
    """Train, or go on where an earlier run with the same folder stopped.

    args: of get_arguments. samples, labels: to learn from. valid_samples, valid_labels: to measure
    with; empty: nothing is measured.
    """
    out = make_output_folder(args.out)
    network = NETWORKS[args.encoder_name]
    devices.make_repeatable(args.random_seed)
    classifier = network.build_classifier(
        num_tags=labels.shape[1], width=args.width, frozen=args.frozen
    )
    model = training_model(classifier, args.precision)
    settings = TrainingSettings(
        num_steps=args.num_steps,
        learning_rate=learning_rate(args),
        power=POWER,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        random_seed=args.random_seed,
        batch_size=args.batch_size,
        input_height=args.crop_size,
        input_width=args.crop_size,
    )
    trainer = Trainer(model, network, RECIPE, settings, batch_settings(settings), tag_labels=labels)
    record = run_record(args, samples, labels)

    def validate(log, step):
        if step == 0 or not valid_samples:
            return
        scores = tag_scores(model, valid_samples, args.crop_size)
        precision = mean_average_precision(valid_labels, scores)
        print(f'step {step}: mean average precision {100 * precision:.1f}', flush=True)
        log.add_value(step, 'mean_average_precision', precision)

    with locked(out):
        if training_run.saved_steps(out):
            flags = '--out', '--resume-changed'
            record = run_settings.check_resume(out, record, args.resume_changed, flags)
        checkpoints.remove_leftovers(out, f'{training_run.CHECKPOINT}-*')
        first_step = training_run.resume(trainer, out)
        if first_step == 0 and args.pretrain_file:
            training_run.restore_pretrained(network, model, args.pretrain_file, TAG_LAYER, False)
            print(f'Restored model parameters from {args.pretrain_file}')
        if first_step > args.num_steps:
            print(f'{out}: step {first_step - 1} is there already, nothing is left to do')
            return
        run_settings.write_settings(out, record)
        log = training_log.RunLog(out / 'log.txt', out / 'log', first_step)
        training_run.train(
            trainer,
            samples,
            first_step,
            modeldir=out,
            log=log,
            save_interval=args.save_interval,
            max_to_keep=CHECKPOINTS_KEPT,
            after_save=partial(validate, log),
        )


def run_record(
    args: argparse.Namespace, samples: Sequence[Sample], labels: npt.NDArray[np.uint8]
) -> dict:
    """What settings.json is to hold of this run."""
    names = ('encoder_name', 'num_steps', 'batch_size', 'crop_size', 'frozen', 'precision')
    result = {name: getattr(args, name) for name in (*names, 'random_seed', 'width')}
    pretrained = args.pretrain_file
    result |= {
        'learning_rate': learning_rate(args),
        'pretrain_file': run_settings.checkpoint_fingerprint(pretrained) if pretrained else '',
        'data_list': run_settings.list_fingerprint(samples, args.data_dir),
        'tags': hashlib.sha256(labels.tobytes()).hexdigest(),
    }
    left_out = ('resume_changed', 'classes')  # the names of the classes stand by themselves
    flags = {
        name: value
        for name, value in vars(args).items()
        if value is not None and name not in left_out
    }
    return run_settings.make_settings(result, args.classes, flags)


def learning_rate(args: argparse.Namespace) -> float:
    """The rate of the encoder: --learning-rate, or what suits the network."""
    if args.learning_rate is not None:
        return args.learning_rate
    rates = dict.fromkeys(vgg.NETWORKS, VGG_RATE) | {'lite0': LITE0_RATE}
    return rates.get(args.encoder_name, RESNET_RATE)


def get_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; None: that of this process."""
    parser = step_parser(__doc__, './model/classifier', 'folder of the checkpoints and the log')

    def add(flag, default, help, type=int, **options):
        help = f'{help} (default: %(default)s)'
        parser.add_argument(flag, default=default, help=help, type=type, **options)

    add('--encoder-name', ENCODER_NAME, 'network whose encoder it is', str, choices=NETWORKS)
    add('--pretrain-file', RESTORE_FROM, "checkpoint to start from; '': from scratch", str)
    add('--num-steps', NUM_STEPS, 'steps of the training')
    add('--batch-size', BATCH_SIZE, 'images of a step')
    add('--crop-size', CROP_SIZE, 'height and width of the crops, pixels')
    parser.add_argument(
        '--frozen',
        type=int,
        help='levels of the encoder, from the first of five, that do not learn (default: '
        f'{FROZEN}, of lite0 {LITE0_FROZEN})',
    )
    add('--precision', 'float32', 'type to compute in', str, choices=('float32', 'bfloat16'))
    add('--save-interval', 500, 'steps between checkpoints')
    add('--random-seed', 1234, 'seed of order, augmentation and initial weights')
    add('--width', 1.0, "multiplies the channels; 1 is the paper's network", float)
    parser.add_argument(
        '--learning-rate',
        type=float,
        help='of the encoder, ten times that for the layer of the tags (default: '
        f'{VGG_RATE} for VGG16, {LITE0_RATE} for lite0, {RESNET_RATE} for ResNets)',
    )
    parser.add_argument(
        '--resume-changed', action='store_true', help='go on with other settings than before'
    )
    parser.add_argument('--valid-list', help='list of images to measure the classifier with')
    parser.add_argument('--valid-tags', help='their tags: file or folder (default: --tags)')
    args = parser.parse_args(arguments)
    if args.frozen is None:
        args.frozen = LITE0_FROZEN if args.encoder_name == 'lite0' else FROZEN
    return args


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError for a number that makes no sense."""
    for name in ('num_steps', 'batch_size', 'crop_size', 'save_interval'):
        if getattr(args, name) < 1:
            flag = name.replace('_', '-')
            raise InputError(f'value {getattr(args, name)} of --{flag}: at least 1 is needed')
    if not 0 <= args.frozen <= ENCODER_LEVELS:
        raise InputError(f'value {args.frozen} of --frozen: there are five levels, 0 to 5')
    if learning_rate(args) < 0:
        raise InputError('--learning-rate must not be negative')
    if not 0 <= args.random_seed < 2**32:
        raise InputError(f'value {args.random_seed} of --random-seed: expected 0 to {2**32 - 1}')


def read_tagged(
    data_list: str | Path, data_dir: str | Path, tags: str | Path, classes: tuple[str, ...]
) -> tuple[list[Sample], npt.NDArray[np.uint8]]:
    """The samples of a list, without their masks, and their labels; all of them checked.

    classes: their names. Returns a list of Sample and uint8 [samples, tags].
    """
    # A mask that the list names stays unread: what is trained here has seen no mask.
    samples = [replace(sample, mask=None) for sample in read_list(data_list, data_dir)]
    allowed_by_image = allowed_classes(read_tags(tags, classes), samples, len(classes), tags)
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
    valid_labels = None
    if args.valid_list:
        valid_tags = args.valid_tags or args.tags
        valid_samples, valid_labels = read_tagged(
            args.valid_list, args.data_dir, valid_tags, args.classes
        )
    train(args, samples, labels, valid_samples, valid_labels)
    print(f'The classifier has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

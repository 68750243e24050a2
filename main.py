"""Train a network, test it, or predict with it.

python main.py --option train
python main.py --option test --valid_step 18000
python main.py --option predict --test_step 18000
"""

import contextlib
import functools
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from absl import flags

import deeplab_resnet
import deeplab_vgg
from deeplablib.data import image_lists, images, voc
from deeplablib.data.classes import default_classes, read_classes
from deeplablib.data.image_lists import Sample
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.network.convolution import require_precision
from deeplablib.network.layers import STEM_FILTERS
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.training_form import training_model
from deeplablib.prediction.metrics import evaluate, iou_table
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.run import errors
from deeplablib.run.backend import keras, tf
from deeplablib.run.errors import InputError
from deeplablib.run.files import locked, make_output_folder
from deeplablib.training import training_log, training_run
from deeplablib.training.batches import batch_settings
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_settings import (
    TrainingSettings,
    define_flags,
    parse,
    read_settings,
)
from deeplablib.training.validation import Validation, crf_agreement_on, mean_iou_on
from deeplablib.weights import checkpoints, run_settings
from deeplablib.weights.load_model import load_model

# Change these to your own; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012'
DATA_LIST_PATH = './dataset/train.txt'
VALID_LIST_PATH = './dataset/val.txt'
ENCODER_NAME = 'deeplab'
RESTORE_FROM = './model/deeplab_resnet_init.ckpt'
LEARNING_RATE = 4e-5  # ResNet-101; VGG16: 1e-4
NUM_STEPS = 18000
BATCH_SIZE = 10
INPUT_SIZE = (321, 321)  # height, width
MODEL_DIRECTORY = './model/train'
CRF_IMAGES = 50  # of the training list, for --valid_by crf_agreement
IMG_MEAN = images.IMG_MEAN  # blue, green, red

# The flags that change the weights in the end, beside data_list and pretrain_file.
RESULT_FLAGS = (
    'encoder_name',
    'num_classes',
    'width',
    'restore_last',
    'precision',
    'msc',
    'num_steps',
    'learning_rate',
    'power',
    'momentum',
    'weight_decay',
    'random_seed',
    'batch_size',
    'grad_update_every',
    'input_height',
    'input_width',
    'ignore_label',
    'shuffle',
    'random_scale',
    'random_mirror',
)
RESNET_FLAGS, VGG_FLAGS = ('train_batch_norm',), ('recipe', 'dropout_rate')

NETWORKS = deeplab_resnet.NETWORKS | deeplab_vgg.NETWORKS
FLAGS = flags.FLAGS

flags.DEFINE_enum('option', 'train', ['train', 'test', 'predict'], 'what to do')

DEFAULTS = TrainingSettings(
    encoder_name=ENCODER_NAME,
    pretrain_file=RESTORE_FROM,
    learning_rate=LEARNING_RATE,
    num_steps=NUM_STEPS,
    batch_size=BATCH_SIZE,
    input_height=INPUT_SIZE[0],
    input_width=INPUT_SIZE[1],
    data_dir=DATA_DIRECTORY,
    data_list=DATA_LIST_PATH,
    modeldir=MODEL_DIRECTORY,
)
define_flags(DEFAULTS, FLAGS, encoder_names=NETWORKS)
flags.register_validator(
    'width',
    lambda width: width > 0 and STEM_FILTERS * width % 1 == 0,
    f'must be a positive multiple of 1/{STEM_FILTERS}',
)

# validation
flags.DEFINE_integer('valid_step', NUM_STEPS, 'checkpoint number for validation')
flags.DEFINE_integer(
    'valid_num_steps',
    None,
    'number of validation samples; default: all (of crf_agreement: 50)',
    lower_bound=1,
)
flags.DEFINE_integer(
    'valid_every', 0, 'steps between two validations while training, 0: none', lower_bound=0
)
flags.DEFINE_enum(
    'valid_by',
    'mean_iou',
    ['mean_iou', 'crf_agreement'],
    'how to validate: by the masks of valid_data_list, or, without true masks, by the agreement '
    'with the CRF on images of data_list',
)
flags.DEFINE_string('valid_data_list', VALID_LIST_PATH, 'validation data list filename')

# prediction / saving outputs for testing or validation
flags.DEFINE_string('out_dir', 'output', 'directory for saving outputs')
flags.DEFINE_integer('test_step', NUM_STEPS, 'checkpoint number for prediction')
flags.DEFINE_integer(
    'test_num_steps', None, 'number of samples to predict; default: all', lower_bound=1
)
flags.DEFINE_string('test_data_list', VALID_LIST_PATH, 'list of samples to predict')
flags.DEFINE_boolean('visual', True, 'whether to save predictions for visualization')


def train(network: NetworkSpec) -> None:
    """Train from pretrain_file, or go on where an earlier run with this modeldir stopped."""
    strategy = make_strategy()
    wanted = read_settings(FLAGS)
    require_precision(FLAGS.precision)
    modeldir = make_output_folder(FLAGS.modeldir)
    if not FLAGS.resume and training_run.saved_steps(modeldir):
        raise InputError(f'{modeldir}: holds checkpoints already; empty it, or resume from them')
    train_list = read_train_list(wanted)
    valid_list = validation_list(train_list) if FLAGS.valid_every else []
    if not FLAGS.pretrain_file and network_options().get('train_batch_norm') is False:
        print('note: a ResNet from scratch hardly learns without --train_batch_norm')
    if FLAGS.recompute and FLAGS.train_batch_norm:
        raise InputError('--recompute needs a frozen batch norm: not with --train_batch_norm')
    leads = training_run.is_leader(strategy.cluster_resolver)
    record = run_record(wanted, train_list, strategy.num_replicas_in_sync)
    if training_run.saved_steps(modeldir):
        record = run_settings.check_resume(modeldir, record, FLAGS.resume_changed)
    devices = len(tf.config.list_physical_devices('GPU'))
    print(f'Training on {devices} GPU' if devices else 'No GPU was found: training on the CPU')
    keras.utils.set_random_seed(FLAGS.random_seed)
    if not devices:
        tf.config.experimental.enable_op_determinism()  # costs nothing on a CPU
    trainer = make_trainer(network, wanted, strategy)
    with locked(modeldir) if leads else contextlib.nullcontext():
        if leads:
            checkpoints.remove_leftovers(modeldir, f'{training_run.CHECKPOINT}-*')
        first_step = training_run.resume(trainer, modeldir)
        if first_step == 0 and FLAGS.pretrain_file:
            load_pretrained(network, trainer)
        several = FLAGS.strategy == 'multiworker'
        if several:
            check_same_start(strategy, trainer, first_step)
        if first_step > FLAGS.num_steps:
            print(f'{modeldir}: step {first_step - 1} is there already, nothing is left to do')
            return
        if leads:
            run_settings.write_settings(modeldir, record, flagfile())
        logfile, logdir = FLAGS.logfile or modeldir / 'log.txt', FLAGS.logdir or modeldir / 'log'
        log = training_log.RunLog(logfile, logdir, first_step) if leads else None
        validate = None
        if log is not None:
            log.add_classes(record['result']['classes'])
        if log is not None and FLAGS.valid_every:
            validate = Validation(
                trainer,
                network,
                validation_measure(network, valid_list),
                every=FLAGS.valid_every,
                modeldir=modeldir,
                log=log,
                first_step=first_step,
            )
        try:
            training_run.train(
                trainer,
                train_list,
                first_step=first_step,
                modeldir=modeldir,
                log=log,
                save_interval=FLAGS.save_interval,
                max_to_keep=FLAGS.max_to_keep,
                validate=validate,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                'interrupted; the same command goes on from the newest checkpoint in '
                f'{modeldir} (--save_interval {FLAGS.save_interval})'
            ) from None
        if several:  # one that leaves while another still saves would be reported as failed
            gather(strategy, first_step)


def read_train_list(wanted: TrainingSettings) -> list[Sample]:
    """The samples to train on, each with a mask, checked unless skip_check says otherwise."""
    train_list = image_lists.read_list(wanted.data_list, wanted.data_dir)
    without_mask = [sample for sample in train_list if sample.mask is None]
    if without_mask:
        raise InputError(f'{without_mask[0].origin}: no mask is named; training needs one')
    if not wanted.skip_check:
        check_samples(
            train_list,
            wanted.data_dir,
            num_classes=wanted.num_classes,
            need_masks=True,
            ignore_label=wanted.ignore_label,
        )
    return train_list


def make_trainer(
    network: NetworkSpec, wanted: TrainingSettings, strategy: tf.distribute.Strategy
) -> Trainer:
    """Build the network in its training form, and what trains it, on the devices of a strategy."""
    with strategy.scope():
        return Trainer(
            model=training_model(network.build(**network_options()), wanted.precision),
            network=network,
            recipe=network.recipes[wanted.recipe],
            settings=wanted,
            batches=batch_settings(wanted, IMG_MEAN),
            recompute=wanted.recompute,
        )


def load_pretrained(network: NetworkSpec, trainer: Trainer) -> None:
    """Load pretrain_file, and say what it lacks."""
    wanted = trainer.settings
    fresh = training_run.restore_pretrained(
        network,
        trainer.model,
        path=wanted.pretrain_file,
        classifier=trainer.recipe.classifier,
        restore_last=wanted.restore_last,
    )
    print(f'Restored model parameters from {wanted.pretrain_file}')
    if fresh:
        print(f'note: a tag classifier; what it has not starts anew: {", ".join(fresh)}')


def validation_list(train_list: list[Sample]) -> list[Sample]:
    """The samples of the validations while training, checked."""
    if FLAGS.valid_by == 'crf_agreement':
        return train_list[: FLAGS.valid_num_steps or CRF_IMAGES]
    return read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)


def validation_measure(network: NetworkSpec, valid_list: list[Sample]) -> functools.partial:
    """How these are measured: a function of what labels an image."""
    shared = (valid_list, FLAGS.num_classes, FLAGS.ignore_label)
    if FLAGS.valid_by == 'crf_agreement':
        return functools.partial(crf_agreement_on, *shared, network.score_map_kind)
    return functools.partial(mean_iou_on, *shared)


def test(network: NetworkSpec) -> None:
    """Print IoU per class, mean IoU and pixel accuracy of the checkpoint of valid_step."""
    require_precision(FLAGS.precision)
    valid_list = read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)
    save_dir = make_output_folder(Path(FLAGS.out_dir) / 'validation')
    check_outputs(valid_list, save_dir)
    predict_samples(make_predict(network, 'valid_step'), valid_list, save_dir)
    pairs = [(s.mask, save_dir / f'{s.name}.png') for s in valid_list if s.mask]
    confusion = evaluate(pairs, FLAGS.num_classes, FLAGS.ignore_label)
    print(iou_table(confusion, class_names()))


def predict(network: NetworkSpec) -> None:
    """Save the predictions of the checkpoint of test_step under out_dir."""
    require_precision(FLAGS.precision)
    test_list = read_list(FLAGS.test_data_list, FLAGS.test_num_steps)
    indices = make_output_folder(Path(FLAGS.out_dir) / 'prediction')
    check_outputs(test_list, indices, ('_mask.png',))
    if FLAGS.visual:
        colours = make_output_folder(Path(FLAGS.out_dir) / 'visual_prediction')
        check_outputs(test_list, colours, ('_mask_visual.png',))

    def write(name, labels):
        images.write_image(indices / f'{name}_mask.png', labels)
        if FLAGS.visual:
            visual = voc.colour_map()[labels]
            images.write_image(colours / f'{name}_mask_visual.png', visual)

    predict_samples(make_predict(network, 'test_step'), test_list, indices, write=write)
    print(f'The output files have been saved to {FLAGS.out_dir}')


def read_list(
    data_list: str | Path, num_steps: int | None, need_masks: bool = False
) -> list[Sample]:
    """The first samples of a list, checked."""
    found = image_lists.read_list(data_list, FLAGS.data_dir)[:num_steps]
    check_samples(found, FLAGS.data_dir, FLAGS.num_classes, need_masks, FLAGS.ignore_label)
    return found


def make_predict(network: NetworkSpec, flag: str) -> Callable:
    """The function that labels an image with the checkpoint of the step that a flag names."""
    step = FLAGS[flag].value
    prefix = os.path.join(FLAGS.modeldir, f'{training_run.CHECKPOINT}-{step}')
    steps = training_run.saved_steps(FLAGS.modeldir)
    if steps and step not in steps:
        there = ', '.join(map(str, steps))
        raise InputError(f'{prefix}: not there; steps to name (--{flag}) are {there}')
    _, model = load_model({FLAGS.encoder_name: network}, prefix)
    num_classes = model.output.shape[-1]
    if num_classes != FLAGS.num_classes:
        raise InputError(
            f'--num_classes {FLAGS.num_classes}, but the network in {prefix} has {num_classes}'
        )
    print(f'Restored model parameters from {prefix}')
    scales = SCALES if FLAGS.msc else SINGLE_SCALE
    return make_predictor(
        model,
        network.to_score_map,
        scales=scales,
        img_mean=IMG_MEAN,
        precision=FLAGS.precision,
    )


def make_strategy() -> tf.distribute.Strategy:
    """The tf.distribute strategy of --strategy."""
    if FLAGS.strategy == 'one':
        return tf.distribute.get_strategy()
    if FLAGS.strategy == 'multiworker':
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        kind = 'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'
        devices = tf.config.list_logical_devices(kind)
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    if FLAGS.train_batch_norm and strategy.num_replicas_in_sync > 1:
        raise InputError('--train_batch_norm gathers statistics on one device only: --strategy one')
    if FLAGS.batch_size % strategy.num_replicas_in_sync:
        raise InputError(
            f'--batch_size {FLAGS.batch_size} cannot be shared evenly by '
            f'{strategy.num_replicas_in_sync} devices'
        )
    return strategy


def gather(strategy: tf.distribute.Strategy, *values) -> npt.NDArray[np.int64]:
    """Wait for all devices that train together, and gather their values, int64 [devices, n]."""

    @tf.function
    def own():
        return strategy.run(tf.constant, ([values], tf.int64))

    return strategy.gather(own(), axis=0).numpy()


def check_same_start(strategy: tf.distribute.Strategy, trainer: Trainer, first_step: int) -> None:
    """Raise InputError when machines that train together do not begin alike."""
    checksum = 0
    for variable in trainer.variables.values():
        checksum = zlib.crc32(variable.numpy(), checksum)
    starts = gather(strategy, first_step, checksum)
    if (starts != starts[0]).any():
        raise InputError(
            f'the machines of TF_CONFIG begin at steps {starts[:, 0].tolist()} with different '
            'weights; --modeldir and --pretrain_file must be the same files for all of them'
        )


def network_options() -> dict[str, Any]:
    """What the flags say of the network itself."""
    options = {'num_classes': FLAGS.num_classes, 'width': FLAGS.width}
    if FLAGS.encoder_name in deeplab_vgg.NETWORKS:
        return options | {'dropout_rate': FLAGS.dropout_rate}
    return options | {'train_batch_norm': FLAGS.train_batch_norm}


def class_names() -> Sequence[str]:
    """The names of the classes: of --classes, of the run in modeldir, or by default."""
    if FLAGS.classes:
        return read_classes(FLAGS.classes)
    return run_settings.classes_of(FLAGS.modeldir, FLAGS.num_classes)


def count_classes() -> None:
    """Let --classes, or else the run that is tested, say how many classes there are."""
    if FLAGS.classes:
        count = len(class_names())
        if FLAGS['num_classes'].present and FLAGS.num_classes != count:
            raise InputError(f'--num_classes {FLAGS.num_classes}: {FLAGS.classes} names {count}')
        FLAGS['num_classes'].value = count
    elif FLAGS.option != 'train' and not FLAGS['num_classes'].present:
        known = run_settings.read_settings(FLAGS.modeldir)
        if known:
            FLAGS['num_classes'].value = len(known['result']['classes'])


def run_record(
    wanted: TrainingSettings, train_list: Sequence[Sample], devices: int
) -> dict[str, Any]:
    """What settings.json is to hold of this run."""
    names = RESULT_FLAGS
    names += VGG_FLAGS if FLAGS.encoder_name in deeplab_vgg.NETWORKS else RESNET_FLAGS
    result = {name: getattr(wanted, name) for name in names}
    result |= {'devices': devices, 'IMG_MEAN': list(IMG_MEAN)}
    result['data_list'] = run_settings.list_fingerprint(train_list, FLAGS.data_dir)
    pretrained = FLAGS.pretrain_file
    result['pretrain_file'] = run_settings.checkpoint_fingerprint(pretrained) if pretrained else ''
    classes = read_classes(FLAGS.classes) if FLAGS.classes else default_classes(FLAGS.num_classes)
    every = {flag.name: flag.value for flag in own_flags()}
    return run_settings.make_settings(result, classes, every)


def own_flags() -> list:
    """The flags that are defined here."""
    return FLAGS.flags_by_module_dict()[str(FLAGS.find_module_defining_flag('option'))]


def flagfile() -> str:
    """All flags in the form that --flagfile takes."""
    lines = (flag.serialize() for flag in own_flags() if flag.value is not None)
    return ''.join(f'{line}\n' for line in lines)


def main() -> None:
    """Read the flags and do what --option says."""
    if '--help' in sys.argv[1:] or '-h' in sys.argv[1:]:
        print(f'{__doc__}\n{FLAGS.module_help(FLAGS.find_module_defining_flag("option"))}')
        return
    parse(FLAGS, sys.argv)
    count_classes()
    network = NETWORKS[FLAGS.encoder_name]
    {'train': train, 'test': test, 'predict': predict}[FLAGS.option](network)


if __name__ == '__main__':
    errors.run(main)

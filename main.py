"""Train a network, test it, or predict with it.

python main.py --option train
python main.py --option test --valid_step 18000
python main.py --option predict --test_step 18000
"""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data import image_lists, images, voc
from deeplablib.data.classes import read_classes
from deeplablib.data.image_lists import Sample, masks_of
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.network.convolution import require_precision
from deeplablib.network.layers import STEM_FILTERS
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.network.prediction_form import prediction_model
from deeplablib.network.training_form import training_model
from deeplablib.prediction.crf import require_package
from deeplablib.prediction.metrics import iou_table_of
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.training import devices, training_run
from deeplablib.training.batches import batch_settings
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import RunLog
from deeplablib.training.training_record import training_record
from deeplablib.training.training_settings import (
    TrainingSettings,
    check_settings,
    define_flags,
    settings_from_flags,
)
from deeplablib.training.validation import MEASURES, VALIDATIONS, Validation, measure_of
from deeplablib.utils import absl_flags, errors
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import locked, make_output_folder
from deeplablib.weights import checkpoints, run_settings
from deeplablib.weights.load_model import load_model

# Change these to your own; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012'
DATA_LIST_PATH = './dataset/train.txt'
VALID_LIST_PATH = './dataset/val.txt'
ENCODER_NAME = 'deeplab'
RESTORE_FROM = './model/deeplab_resnet_init.ckpt'
LEARNING_RATE = 4e-5  # ResNet-101; VGG16: 1e-4; lite0: 3e-4
NUM_STEPS = 18000
BATCH_SIZE = 10
INPUT_SIZE = (321, 321)  # height, width
MODEL_DIRECTORY = './model/train'
CRF_IMAGES = 50  # of the training list, for --valid_by crf_agreement
IMG_MEAN = images.IMG_MEAN  # blue, green, red

# The settings that only one kind of network has.
BATCH_NORM_SETTINGS, VGG_SETTINGS = ('train_batch_norm',), ('recipe', 'dropout_rate')

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
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
    'valid_every',
    0,
    'steps between two validations while training, at one scale; 0: none',
    lower_bound=0,
)
flags.DEFINE_enum(
    'valid_by',
    'mean_iou',
    MEASURES,
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


def main() -> None:
    """Read the flags and do what --option says."""
    if '--help' in sys.argv[1:] or '-h' in sys.argv[1:]:
        print(f'{__doc__}\n{absl_flags.help_text(FLAGS, "option")}')
        return
    absl_flags.parse(FLAGS, sys.argv)
    count_classes()
    network = NETWORKS[FLAGS.encoder_name]
    if FLAGS.option == 'train':
        train(network)
    elif FLAGS.option == 'test':
        test(network)
    else:
        predict(network)


def train(network: NetworkSpec) -> None:
    """Train from pretrain_file, or go on where an earlier run with this modeldir stopped."""
    settings = settings_from_flags(FLAGS)
    check_settings(settings)
    strategy = devices.make_strategy(settings)
    require_precision(settings.precision)
    modeldir = make_output_folder(settings.modeldir)
    if not settings.resume and training_run.saved_steps(modeldir):
        raise InputError(f'{modeldir}: holds checkpoints already; empty it, or give --resume')
    train_list = read_list(settings.data_list, need_masks=True, skip_check=settings.skip_check)
    valid_list = validation_list(train_list) if FLAGS.valid_every else []
    record = make_record(settings, train_list, strategy)
    if training_run.saved_steps(modeldir):
        record = run_settings.check_resume(modeldir, record, settings.resume_changed)

    trainer = make_trainer(network, settings, strategy)
    leads = training_run.is_leader(strategy.cluster_resolver)
    with locked(modeldir) if leads else contextlib.nullcontext():
        first_step = first_step_of(trainer, network, modeldir, leads)
        if settings.strategy == 'multiworker':
            devices.check_same_start(strategy, trainer, first_step)
        if first_step > settings.num_steps:
            print(f'{modeldir}: step {first_step - 1} is there already, nothing is left to do')
            return
        log, validate, first_valid_step = None, None, first_step
        if leads:
            if FLAGS.valid_every and not validates_as_before(modeldir):
                print('note: validation is not what it was: the best checkpoint is chosen anew')
                first_valid_step = 0
            flagfile = absl_flags.flagfile(own_flags())
            run_settings.write_settings(modeldir, record, flagfile)
            log = open_log(settings, first_step, record['result']['classes'])
        if log is not None and FLAGS.valid_every:
            validate = make_validation(trainer, network, valid_list, log, first_valid_step)
        training_run.train(
            trainer,
            train_list,
            first_step=first_step,
            modeldir=modeldir,
            log=log,
            save_interval=settings.save_interval,
            max_to_keep=settings.max_to_keep,
            validate=validate,
        )
        if settings.strategy == 'multiworker':
            # One that leaves while another still saves would be reported as failed.
            devices.gather(strategy, first_step)


def test(network: NetworkSpec) -> None:
    """Print IoU per class, mean IoU and pixel accuracy of the checkpoint of valid_step."""
    require_precision(FLAGS.precision)
    valid_list = read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)
    save_dir = make_output_folder(Path(FLAGS.out_dir) / 'validation')
    check_outputs(valid_list, save_dir)
    predict_samples(make_predict(network, 'valid_step'), valid_list, save_dir)
    print(iou_table_of(valid_list, save_dir, class_names(), FLAGS.ignore_label))


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


def validation_list(train_list: list[Sample]) -> list[Sample]:
    """The samples of the validations while training, checked."""
    if FLAGS.valid_by == 'crf_agreement':
        require_package()
        return train_list[: FLAGS.valid_num_steps or CRF_IMAGES]
    return read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)


def read_list(
    data_list: str | Path,
    num_steps: int | None = None,
    need_masks: bool = False,
    skip_check: bool = False,
) -> list[Sample]:
    """The first samples of a list, checked; num_steps: how many, None for all."""
    samples = image_lists.read_list(data_list, FLAGS.data_dir)[:num_steps]
    if need_masks:
        masks_of(samples)
    if not skip_check:
        check_samples(samples, FLAGS.data_dir, FLAGS.num_classes, need_masks, FLAGS.ignore_label)
    return samples


def make_record(
    settings: TrainingSettings, train_list: Sequence[Sample], strategy: tf.distribute.Strategy
) -> dict[str, Any]:
    """What settings.json is to hold of this run."""
    is_vgg = settings.encoder_name in vgg.NETWORKS
    return training_record(
        settings,
        train_list,
        of_network=VGG_SETTINGS if is_vgg else BATCH_NORM_SETTINGS,
        devices=strategy.num_replicas_in_sync,
        img_mean=IMG_MEAN,
        all_flags={flag.name: flag.value for flag in own_flags()},
    )


def make_trainer(
    network: NetworkSpec, settings: TrainingSettings, strategy: tf.distribute.Strategy
) -> Trainer:
    """Build the network in its training form, and what trains it, on the devices of a strategy."""
    devices.make_repeatable(settings.random_seed)
    with strategy.scope():
        return Trainer(
            model=training_model(network.build(**network_options(settings)), settings.precision),
            network=network,
            recipe=network.recipes[settings.recipe],
            settings=settings,
            batches=batch_settings(settings, IMG_MEAN),
        )


def network_options(settings: TrainingSettings) -> dict[str, Any]:
    """What the settings say of the network itself."""
    options = {
        'num_classes': settings.num_classes,
        'width': settings.width,
        'frozen': settings.frozen,
    }
    if settings.encoder_name in vgg.NETWORKS:
        return options | {'dropout_rate': settings.dropout_rate}
    return options | {'train_batch_norm': settings.train_batch_norm}


def first_step_of(trainer: Trainer, network: NetworkSpec, modeldir: Path, leads: bool) -> int:
    """Load the newest checkpoint of a run, or else pretrain_file. Returns the step to go on with.

    leads: whether this process is the one that writes.
    """
    settings = trainer.settings
    if leads:
        checkpoints.remove_leftovers(modeldir, f'{training_run.CHECKPOINT}-*')
    first_step = training_run.resume(trainer, modeldir)
    if first_step == 0 and settings.pretrain_file:
        fresh = training_run.restore_pretrained(
            network,
            trainer.model,
            path=settings.pretrain_file,
            classifier=trainer.recipe.classifier,
            restore_last=settings.restore_last,
        )
        print(f'Restored model parameters from {settings.pretrain_file}')
        if fresh:
            print(f'note: this is a tag classifier; what it lacks starts anew: {", ".join(fresh)}')
    elif first_step == 0 and network_options(settings).get('train_batch_norm') is False:
        print('note: from scratch, this network hardly learns without --train_batch_norm')
    return first_step


def open_log(settings: TrainingSettings, first_step: int, classes: Sequence[str]) -> RunLog:
    """The log of this run, from first_step on."""
    modeldir = Path(settings.modeldir)
    logfile, logdir = settings.logfile or modeldir / 'log.txt', settings.logdir or modeldir / 'log'
    log = RunLog(logfile, logdir, first_step)
    log.add_classes(classes)
    return log


def make_validation(
    trainer: Trainer, network: NetworkSpec, samples: list[Sample], log: RunLog, first_step: int
) -> Validation:
    """What validates the network on some samples while it trains."""
    measure = measure_of(
        FLAGS.valid_by,
        samples,
        num_classes=FLAGS.num_classes,
        ignore_label=FLAGS.ignore_label,
        score_map_kind=network.score_map_kind,
    )
    return Validation(
        trainer,
        network,
        measure,
        every=FLAGS.valid_every,
        modeldir=FLAGS.modeldir,
        log=log,
        first_step=first_step,
    )


def validates_as_before(modeldir: Path) -> bool:
    """Whether the validations of a run, if it had any, were of the same measure and images."""
    known = run_settings.read_settings(modeldir) if (modeldir / VALIDATIONS).exists() else None
    names = ('valid_by', 'valid_data_list', 'valid_num_steps')
    return known is None or all(known['flags'].get(name) == FLAGS[name].value for name in names)


def make_predict(network: NetworkSpec, flag: str) -> Callable:
    """The function that labels an image with the checkpoint of the step that a flag names."""
    step = FLAGS[flag].value
    prefix = os.path.join(FLAGS.modeldir, f'{training_run.CHECKPOINT}-{step}')
    steps = training_run.saved_steps(FLAGS.modeldir)
    if steps and step not in steps:
        there = ', '.join(map(str, steps))
        raise InputError(f'{prefix}: not there; steps to name (--{flag}) are {there}')
    _, model = load_model(
        {FLAGS.encoder_name: network}, prefix, otherwise='; --encoder_name names another'
    )
    num_classes = model.output.shape[-1]
    if num_classes != FLAGS.num_classes:
        raise InputError(
            f'--num_classes {FLAGS.num_classes}, but the network in {prefix} has {num_classes}'
        )
    print(f'Restored model parameters from {prefix}')
    run_settings.note_changes(prefix, IMG_MEAN=list(IMG_MEAN), ignore_label=FLAGS.ignore_label)
    return make_predictor(
        prediction_model(model, FLAGS.precision),
        network.to_score_map,
        scales=SCALES if FLAGS.msc else SINGLE_SCALE,
        img_mean=IMG_MEAN,
    )


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


def own_flags() -> list[flags.Flag]:
    """The flags that are defined here."""
    return absl_flags.flags_of_script(FLAGS, 'option')


if __name__ == '__main__':
    errors.run_script(main)

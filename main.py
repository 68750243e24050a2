"""Train a network, test it, or predict with it.

python main.py --option train
python main.py --option test --valid_step 18000
python main.py --option predict --test_step 18000
"""

import contextlib
import os
import sys
import zlib
from pathlib import Path

from absl import flags

import deeplab_resnet
import deeplab_vgg
from deeplablib.data import image_lists, images, voc
from deeplablib.data.classes import default_classes, read_classes
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.network.convolution import require_precision
from deeplablib.network.layers import STEM_FILTERS
from deeplablib.network.training_form import training_model
from deeplablib.prediction.metrics import evaluate, iou_table
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.run import errors
from deeplablib.run.backend import keras, tf
from deeplablib.run.errors import InputError
from deeplablib.run.files import locked, make_output_folder
from deeplablib.training import training_log, training_run
from deeplablib.training.batches import Batches
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
IMG_MEAN = images.IMG_MEAN  # blue, green, red

# The flags that change the weights in the end, beside data_list and pretrain_file.
RESULT_FLAGS = (
    *('encoder_name', 'num_classes', 'width', 'restore_last', 'precision', 'msc', 'num_steps'),
    *('learning_rate', 'power', 'momentum', 'weight_decay', 'random_seed', 'batch_size'),
    *('grad_update_every', 'input_height', 'input_width', 'ignore_label', 'shuffle'),
    *('random_scale', 'random_mirror'),
)
RESNET_FLAGS, VGG_FLAGS = ('train_batch_norm',), ('recipe', 'dropout_rate')

NETWORKS = deeplab_resnet.NETWORKS | deeplab_vgg.NETWORKS
FLAGS = flags.FLAGS

flags.DEFINE_enum('option', 'train', ['train', 'test', 'predict'], 'what to do')

# training
flags.DEFINE_integer('num_steps', NUM_STEPS, 'maximum number of iterations', lower_bound=1)
flags.DEFINE_integer(
    'save_interval', 1000, 'number of iterations for saving and visualization', lower_bound=1
)
flags.DEFINE_integer('max_to_keep', 0, 'newest checkpoints to keep, 0: all', lower_bound=0)
flags.DEFINE_integer('random_seed', 1234, 'random seed', lower_bound=0, upper_bound=2**32 - 1)
flags.DEFINE_float('weight_decay', 0.0005, 'weight decay rate', lower_bound=0)
flags.DEFINE_float('learning_rate', LEARNING_RATE, 'learning rate', lower_bound=0)
flags.DEFINE_float('power', 0.9, 'hyperparameter for poly learning rate', lower_bound=0)
flags.DEFINE_float('momentum', 0.9, 'momentum', lower_bound=0, upper_bound=1)
flags.DEFINE_enum('encoder_name', ENCODER_NAME, list(NETWORKS), 'name of the network')
flags.DEFINE_string(
    'pretrain_file',
    RESTORE_FROM,
    'pre-trained model filename corresponding to encoder_name; empty: from scratch',
)
flags.DEFINE_boolean('restore_last', False, 'also load the classifier from pretrain_file')
flags.DEFINE_boolean('resume', True, 'go on from the newest checkpoint in modeldir')
flags.DEFINE_boolean(
    'resume_changed', False, 'go on although settings differ from those in modeldir/settings.json'
)
flags.DEFINE_enum(
    'recipe', 'caffe', ['caffe', 'authors'], 'objective and learning rates of the VGG networks'
)
flags.DEFINE_float(
    'dropout_rate', 0.5, 'dropout after fc6 and fc7 of VGG', lower_bound=0, upper_bound=0.999
)
flags.DEFINE_boolean('msc', False, 'multi-scale training, testing and prediction')
flags.DEFINE_integer(
    'grad_update_every', 1, 'gradient accumulation step: batches of one update', lower_bound=1
)
flags.DEFINE_enum(
    'precision',
    'float32',
    ['float32', 'bfloat16'],
    'type to compute in; bfloat16 needs a GPU, or a CPU with AVX512-BF16 or AMX',
)
flags.DEFINE_boolean(
    'recompute', False, 'take less memory and more time: activations are computed twice'
)
flags.DEFINE_enum(
    'strategy',
    'one',
    ['one', 'mirrored', 'multiworker'],
    'devices: one, all of this machine, or those of all machines in TF_CONFIG',
)
flags.DEFINE_float('width', 1.0, "multiplies the channels; 1 is the paper's network")
flags.register_validator(
    'width',
    lambda width: width > 0 and STEM_FILTERS * width % 1 == 0,
    f'must be a positive multiple of 1/{STEM_FILTERS}',
)
flags.DEFINE_boolean('train_batch_norm', False, 'let batch norm learn: ResNet from scratch')
flags.DEFINE_string('data_list', DATA_LIST_PATH, 'training data list filename')
flags.DEFINE_boolean('skip_check', False, 'do not check every sample of data_list first')

# validation
flags.DEFINE_integer('valid_step', NUM_STEPS, 'checkpoint number for validation')
flags.DEFINE_integer(
    'valid_num_steps', None, 'number of validation samples; default: all', lower_bound=1
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

# data
flags.DEFINE_string('data_dir', DATA_DIRECTORY, 'data directory')
flags.DEFINE_integer('batch_size', BATCH_SIZE, 'training batch size', lower_bound=1)
flags.DEFINE_integer('input_height', INPUT_SIZE[0], 'input image height', lower_bound=1)
flags.DEFINE_integer('input_width', INPUT_SIZE[1], 'input image width', lower_bound=1)
flags.DEFINE_integer(
    'num_classes', voc.NUM_CLASSES, 'number of classes', lower_bound=1, upper_bound=255
)
flags.DEFINE_string(
    'classes',
    None,
    "file of the classes' names, one a line, background first; it sets num_classes",
)
flags.DEFINE_integer(
    'ignore_label',
    voc.IGNORE_LABEL,
    'label pixel value that should be ignored',
    lower_bound=0,
    upper_bound=255,
)
flags.DEFINE_boolean('shuffle', True, 'whether to go through the list in another order each epoch')
flags.DEFINE_boolean('random_scale', True, 'whether to perform random scaling data-augmentation')
flags.DEFINE_boolean(
    'random_mirror', True, 'whether to perform random left-right flipping data-augmentation'
)

# log
flags.DEFINE_string('modeldir', MODEL_DIRECTORY, 'model directory')
flags.DEFINE_string('logfile', None, 'training log filename; default: log.txt in modeldir')
flags.DEFINE_string(
    'logdir', None, "training log directory, TensorBoard's; default: log in modeldir"
)


def train(network):
    """Train from pretrain_file, or go on where an earlier run with this modeldir stopped."""
    strategy = make_strategy()
    require_precision(FLAGS.precision)
    modeldir = make_output_folder(FLAGS.modeldir)
    if not FLAGS.resume and training_run.saved_steps(modeldir):
        raise InputError(f'{modeldir}: holds checkpoints already; empty it, or resume from them')
    train_list = image_lists.read_list(FLAGS.data_list, FLAGS.data_dir)
    without_mask = [sample for sample in train_list if sample.mask is None]
    if without_mask:
        raise InputError(f'{without_mask[0].origin}: no mask is named; training needs one')
    if not FLAGS.skip_check:
        check_samples(train_list, FLAGS.data_dir, FLAGS.num_classes, True, FLAGS.ignore_label)

    if not FLAGS.pretrain_file and network_options().get('train_batch_norm') is False:
        print('note: a ResNet from scratch hardly learns without --train_batch_norm')
    if FLAGS.recompute and FLAGS.train_batch_norm:
        raise InputError('--recompute needs a frozen batch norm: not with --train_batch_norm')
    leads = training_run.is_leader(strategy.cluster_resolver)
    devices = len(tf.config.list_physical_devices('GPU'))
    print(f'Training on {devices} GPU' if devices else 'No GPU was found: training on the CPU')
    keras.utils.set_random_seed(FLAGS.random_seed)
    if not devices:
        tf.config.experimental.enable_op_determinism()  # costs nothing on a CPU
    recipe = network.recipes[FLAGS.recipe]
    with strategy.scope():
        model = training_model(network.build(**network_options()), FLAGS.precision)
        trainer = training_run.Trainer(
            model, network, recipe, settings(), batches(), FLAGS.recompute
        )

    record = run_record(train_list, strategy.num_replicas_in_sync)
    with locked(modeldir) if leads else contextlib.nullcontext():
        if training_run.saved_steps(modeldir):
            record = run_settings.check_resume(modeldir, record, FLAGS.resume_changed)
        if leads:
            checkpoints.remove_leftovers(modeldir, f'{training_run.CHECKPOINT}-*')
        first_step = training_run.resume(trainer, modeldir)
        if first_step == 0 and FLAGS.pretrain_file:
            fresh = training_run.restore_pretrained(
                network, model, FLAGS.pretrain_file, recipe.classifier, FLAGS.restore_last
            )
            print(f'Restored model parameters from {FLAGS.pretrain_file}')
            if fresh:
                print(f'note: a tag classifier; what it has not starts anew: {", ".join(fresh)}')
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
        keep = FLAGS.save_interval, FLAGS.max_to_keep
        try:
            training_run.train(trainer, train_list, first_step, modeldir, log, *keep)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                'interrupted; the same command goes on from the newest checkpoint in '
                f'{modeldir} (--save_interval {FLAGS.save_interval})'
            ) from None
        if several:  # one that leaves while another still saves would be reported as failed
            gather(strategy, first_step)


def test(network):
    """Print IoU per class, mean IoU and pixel accuracy of the checkpoint of valid_step."""
    require_precision(FLAGS.precision)
    valid_list = read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)
    save_dir = make_output_folder(Path(FLAGS.out_dir) / 'validation')
    check_outputs(valid_list, save_dir)
    predict_samples(make_predict(network, 'valid_step'), valid_list, save_dir)
    pairs = [(sample.mask, save_dir / f'{sample.name}.png') for sample in valid_list]
    confusion = evaluate(pairs, FLAGS.num_classes, FLAGS.ignore_label)
    print(iou_table(confusion, class_names()))


def predict(network):
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


def read_list(data_list, num_steps, need_masks=False):
    """The first samples of a list, checked."""
    found = image_lists.read_list(data_list, FLAGS.data_dir)[:num_steps]
    check_samples(found, FLAGS.data_dir, FLAGS.num_classes, need_masks, FLAGS.ignore_label)
    return found


def make_predict(network, flag):
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
    return make_predictor(model, network.scores, scales, IMG_MEAN, FLAGS.precision)


def make_strategy():
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


def gather(strategy, *values):
    """Wait for all devices that train together, and gather their values, int64 [devices, n]."""

    @tf.function
    def own():
        return strategy.run(tf.constant, ([values], tf.int64))

    return strategy.gather(own(), axis=0).numpy()


def check_same_start(strategy, trainer, first_step):
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


def network_options():
    """What the flags say of the network itself."""
    options = {'num_classes': FLAGS.num_classes, 'width': FLAGS.width}
    if FLAGS.encoder_name in deeplab_vgg.NETWORKS:
        return options | {'dropout_rate': FLAGS.dropout_rate}
    return options | {'train_batch_norm': FLAGS.train_batch_norm}


def class_names():
    """The names of the classes: of --classes, of the run in modeldir, or by default."""
    if FLAGS.classes:
        return read_classes(FLAGS.classes)
    return run_settings.classes_of(FLAGS.modeldir, FLAGS.num_classes)


def count_classes():
    """Let --classes, or else the run that is tested, say how many classes there are."""
    if FLAGS.classes:
        count = len(class_names())
        if FLAGS['num_classes'].present and FLAGS.num_classes != count:
            raise InputError(f'--num_classes {FLAGS.num_classes}: {FLAGS.classes} names {count}')
        FLAGS.num_classes = count
    elif FLAGS.option != 'train' and not FLAGS['num_classes'].present:
        known = run_settings.read_settings(FLAGS.modeldir)
        FLAGS.num_classes = len(known['result']['classes']) if known else FLAGS.num_classes


def run_record(train_list, devices):
    """What settings.json is to hold of this run."""
    names = RESULT_FLAGS
    names += VGG_FLAGS if FLAGS.encoder_name in deeplab_vgg.NETWORKS else RESNET_FLAGS
    result = {name: FLAGS[name].value for name in names}
    result |= {'devices': devices, 'IMG_MEAN': list(IMG_MEAN)}
    result['data_list'] = run_settings.list_fingerprint(train_list, FLAGS.data_dir)
    pretrained = FLAGS.pretrain_file
    result['pretrain_file'] = run_settings.checkpoint_fingerprint(pretrained) if pretrained else ''
    classes = read_classes(FLAGS.classes) if FLAGS.classes else default_classes(FLAGS.num_classes)
    every = {flag.name: flag.value for flag in own_flags()}
    return run_settings.make_settings(result, classes, every)


def own_flags():
    """The flags that are defined here."""
    return FLAGS.flags_by_module_dict()[FLAGS.find_module_defining_flag('option')]


def flagfile():
    """All flags in the form that --flagfile takes."""
    lines = (flag.serialize() for flag in own_flags() if flag.value is not None)
    return ''.join(f'{line}\n' for line in lines)


def settings():
    """What the flags say of the objective and the steps."""
    return training_run.Settings(
        num_steps=FLAGS.num_steps,
        learning_rate=FLAGS.learning_rate,
        power=FLAGS.power,
        momentum=FLAGS.momentum,
        weight_decay=FLAGS.weight_decay,
        random_seed=FLAGS.random_seed,
        multi_scale=FLAGS.msc,
    )


def batches():
    """What the flags say of the input."""
    return Batches(
        size=(FLAGS.input_height, FLAGS.input_width),
        batch_size=FLAGS.batch_size,
        grad_update_every=FLAGS.grad_update_every,
        random_seed=FLAGS.random_seed,
        shuffle=FLAGS.shuffle,
        random_scale=FLAGS.random_scale,
        random_mirror=FLAGS.random_mirror,
        ignore_label=FLAGS.ignore_label,
        img_mean=IMG_MEAN,
    )


def parse(values, arguments):
    """Read a command line, whose first word is the script's name, into FLAGS or a copy of them."""
    try:
        unknown = values([str(argument) for argument in arguments])[1:]
    except flags.Error as error:
        raise InputError(f'{error} (see --help)') from None
    if unknown:
        raise InputError(f'{unknown[0]}: not a flag (see --help)')


def main():
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

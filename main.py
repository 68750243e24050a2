"""Train a network, test it, or predict with it.

python main.py --option train
python main.py --option test --valid_step 18000
python main.py --option predict --test_step 18000
"""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.data import image_lists, images, voc
from deeplablib.data.classes import default_classes, read_classes
from deeplablib.data.image_lists import Sample, masks_of
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.network.convolution import require_precision
from deeplablib.network.folding import fold_for_prediction, fold_for_training
from deeplablib.network.layers import STEM_FILTERS
from deeplablib.network.network_spec import ENCODER_LEVELS, NetworkSpec
from deeplablib.prediction.metrics import iou_table_of
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, make_predictor
from deeplablib.prediction.predict_list import predict_samples
from deeplablib.training import devices, training_run
from deeplablib.training.trainer import Trainer
from deeplablib.training.validation import mean_iou_measure
from deeplablib.utils import absl_flags, errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder
from deeplablib.weights import settings_file
from deeplablib.weights.load_model import load_model

# Change these to your own; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012'
DATA_LIST_PATH = './dataset/train.txt'
VALID_LIST_PATH = './dataset/val.txt'
ENCODER_NAME = 'deeplab'
RESTORE_FROM = './model/deeplab_resnet_init.ckpt'
LEARNING_RATE = 4e-5  # of ResNet-101; what suits another network: settings.py of its package
NUM_STEPS = 18000
BATCH_SIZE = 10
INPUT_SIZE = (321, 321)  # height, width
MODEL_DIRECTORY = './model/train'
IMG_MEAN = images.IMG_MEAN  # blue, green, red

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS
FLAGS = flags.FLAGS
absl_flags.forget(FLAGS, 'option')

flags.DEFINE_enum('option', 'train', ['train', 'test', 'predict'], 'what to do')

# network
flags.DEFINE_enum('encoder_name', ENCODER_NAME, list(NETWORKS), 'name of the network')
flags.DEFINE_integer('num_classes', voc.NUM_CLASSES, 'number of classes', 1, 255)
flags.DEFINE_float('width', 1.0, "multiplies the channels; 1 is the paper's network")
flags.register_validator(
    'width',
    lambda width: width > 0 and STEM_FILTERS * width % 1 == 0,
    f'must be a positive multiple of 1/{STEM_FILTERS}',
)
flags.DEFINE_float('dropout_rate', 0.5, 'dropout after fc6 and fc7 of VGG', 0, 0.999)
flags.DEFINE_boolean(
    'train_batch_norm', False, 'let batch norm learn: ResNet and lite0 from scratch'
)
flags.DEFINE_integer(
    'frozen',
    0,
    'levels of the encoder, from the first of its five resolutions, that do not learn',
    0,
    ENCODER_LEVELS,
)
flags.DEFINE_integer(
    'output_stride',
    OUTPUT_STRIDE,
    'of the network in training; 16: lite0 only, a quarter of the time',
)
flags.register_validator('output_stride', lambda stride: stride in (8, 16), 'must be 8 or 16')
flags.DEFINE_enum(
    'precision',
    'float32',
    ['float32', 'bfloat16'],
    'type to compute in; bfloat16 needs a GPU, or a CPU with AVX512-BF16 or AMX',
)
flags.DEFINE_boolean('msc', False, 'multi-scale training, testing and prediction')

# training
flags.DEFINE_boolean('restore_last', False, 'also load the classifier from pretrain_file')
flags.DEFINE_integer('num_steps', NUM_STEPS, 'maximum number of iterations', 1)
flags.DEFINE_integer('random_seed', 1234, 'random seed', 0, 2**32 - 1)
flags.DEFINE_float('weight_decay', 0.0005, 'weight decay rate', 0)
flags.DEFINE_float('learning_rate', LEARNING_RATE, 'learning rate', 0)
flags.DEFINE_float('power', 0.9, 'hyperparameter for poly learning rate', 0)
flags.DEFINE_integer(
    'warmup_steps', 0, 'first steps, in which the learning rate of the encoder grows from 0', 0
)
flags.DEFINE_float('momentum', 0.9, 'momentum', 0, 1)
flags.DEFINE_enum(
    'recipe', 'caffe', ['caffe', 'authors'], 'objective and learning rates of the VGG networks'
)
flags.DEFINE_integer('grad_update_every', 1, 'gradient accumulation step: batches of one update', 1)

# data
flags.DEFINE_integer('batch_size', BATCH_SIZE, 'training batch size', 1)
flags.DEFINE_integer('input_height', INPUT_SIZE[0], 'input image height', 1)
flags.DEFINE_integer('input_width', INPUT_SIZE[1], 'input image width', 1)
flags.DEFINE_integer(
    'ignore_label', voc.IGNORE_LABEL, 'label pixel value that should be ignored', 0, 255
)
flags.DEFINE_boolean('shuffle', True, 'whether to go through the list in another order each epoch')
flags.DEFINE_boolean('random_scale', True, 'whether to perform random scaling data-augmentation')
flags.DEFINE_boolean(
    'random_mirror', True, 'whether to perform random left-right flipping data-augmentation'
)

# Every flag above changes what a training results in: it enters settings.json, and a run does not
# go on with another value. Those below change nothing in the result, or as the content of a file.
RESULT_FLAGS = {flag.name for flag in absl_flags.flags_of_script(FLAGS, 'option')} - {'option'}

flags.DEFINE_string(
    'pretrain_file',
    RESTORE_FROM,
    'pre-trained model filename corresponding to encoder_name; empty: from scratch',
)
flags.DEFINE_string('data_dir', DATA_DIRECTORY, 'data directory')
flags.DEFINE_string('data_list', DATA_LIST_PATH, 'training data list filename')
flags.DEFINE_string(
    'classes', None, "file of the classes' names, one a line, background first; it sets num_classes"
)
flags.DEFINE_boolean('skip_check', False, 'do not check every sample of data_list first')
flags.DEFINE_boolean(
    'recompute', False, 'take less memory and more time: activations are computed twice'
)
flags.DEFINE_enum(
    'strategy',
    'one',
    ['one', 'mirrored', 'multiworker'],
    'devices: one, all of this machine, or those of all machines in TF_CONFIG',
)

# saving and logging
flags.DEFINE_integer('save_interval', 1000, 'number of iterations for saving and visualization', 1)
flags.DEFINE_integer('max_to_keep', 0, 'newest checkpoints to keep, 0: all', 0)
flags.DEFINE_boolean('resume', True, 'go on from the newest checkpoint in modeldir')
flags.DEFINE_boolean(
    'resume_changed', False, 'go on although settings differ from those in modeldir/settings.json'
)
flags.DEFINE_string('modeldir', MODEL_DIRECTORY, 'model directory')
flags.DEFINE_string('logfile', None, 'training log filename; default: log.txt in modeldir')
flags.DEFINE_string(
    'logdir', None, "training log directory, TensorBoard's; default: log in modeldir"
)

# validation
flags.DEFINE_integer('valid_step', NUM_STEPS, 'checkpoint number for validation')
flags.DEFINE_integer('valid_num_steps', None, 'number of validation samples; default: all', 1)
flags.DEFINE_integer(
    'valid_every', 0, 'steps between two validations while training, at one scale; 0: none', 0
)
flags.DEFINE_string('valid_data_list', VALID_LIST_PATH, 'validation data list filename')

# prediction / saving outputs for testing or validation
flags.DEFINE_string('out_dir', 'output', 'directory for saving outputs')
flags.DEFINE_integer('test_step', NUM_STEPS, 'checkpoint number for prediction')
flags.DEFINE_integer('test_num_steps', None, 'number of samples to predict; default: all', 1)
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
    if FLAGS.recompute and FLAGS.train_batch_norm:
        raise InputError('--recompute needs a frozen batch norm: not with --train_batch_norm')
    if FLAGS.frozen and not FLAGS.pretrain_file:
        raise InputError('--frozen keeps weights of --pretrain_file: give one')
    strategy = devices.make_strategy(FLAGS)
    require_precision(FLAGS.precision)
    modeldir = make_output_folder(FLAGS.modeldir)
    begun = training_run.saved_steps(modeldir)
    if begun and not FLAGS.resume:
        raise InputError(f'{modeldir}: holds checkpoints already; empty it, or give --resume')
    train_list = read_list(FLAGS.data_list, need_masks=True, skip_check=FLAGS.skip_check)
    valid_list = []
    if FLAGS.valid_every:
        valid_list = read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)
    record = settings_file.make_settings(
        {flag.name: flag.value for flag in absl_flags.flags_of_script(FLAGS, 'option')},
        RESULT_FLAGS,
        train_list,
        read_classes(FLAGS.classes) if FLAGS.classes else default_classes(FLAGS.num_classes),
        devices=strategy.num_replicas_in_sync,
        IMG_MEAN=list(IMG_MEAN),
    )
    # What a network is built with are flags of that name.
    options = {name: FLAGS[name].value for name in inspect.signature(network.build).parameters}
    if FLAGS.output_stride != options.get('output_stride', OUTPUT_STRIDE):
        raise InputError(f'--output_stride {FLAGS.output_stride}: not with {FLAGS.encoder_name}')
    if options.get('train_batch_norm') is False and not FLAGS.pretrain_file and not begun:
        print('note: from scratch, this network hardly learns without --train_batch_norm')

    devices.make_repeatable(FLAGS.random_seed)
    with strategy.scope():
        model = fold_for_training(network.build(**options), FLAGS.precision)
        trainer = Trainer(model, network, network.recipes[FLAGS.recipe], FLAGS, IMG_MEAN)
    measure = mean_iou_measure(trainer, valid_list) if valid_list else None
    training_run.train(trainer, train_list, modeldir, record, measure)


def test(network: NetworkSpec) -> None:
    """Print IoU per class, mean IoU and pixel accuracy of the checkpoint of valid_step."""
    require_precision(FLAGS.precision)
    valid_list = read_list(FLAGS.valid_data_list, FLAGS.valid_num_steps, need_masks=True)
    save_dir = make_output_folder(Path(FLAGS.out_dir) / 'validation')
    check_outputs(valid_list, save_dir)
    predict_samples(load_predictor(network, 'valid_step'), valid_list, save_dir)
    if FLAGS.classes:
        classes = read_classes(FLAGS.classes)
    else:
        classes = settings_file.classes_of(FLAGS.modeldir, FLAGS.num_classes)
    print(iou_table_of(valid_list, save_dir, classes, FLAGS.ignore_label))


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

    predict_samples(load_predictor(network, 'test_step'), test_list, indices, write=write)
    print(f'The output files have been saved to {FLAGS.out_dir}')


def read_list(
    data_list: str,
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


def load_predictor(network: NetworkSpec, flag: str) -> Callable:
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
    settings_file.note_changes(prefix, IMG_MEAN=list(IMG_MEAN), ignore_label=FLAGS.ignore_label)
    return make_predictor(
        fold_for_prediction(model, FLAGS.precision),
        network.to_score_map,
        scales=SCALES if FLAGS.msc else SINGLE_SCALE,
        img_mean=IMG_MEAN,
    )


def count_classes() -> None:
    """Let --classes, or else the run that is tested, say how many classes there are."""
    if FLAGS.classes:
        count = len(read_classes(FLAGS.classes))
        if FLAGS['num_classes'].present and FLAGS.num_classes != count:
            raise InputError(f'--num_classes {FLAGS.num_classes}: {FLAGS.classes} names {count}')
        FLAGS['num_classes'].value = count
    elif FLAGS.option != 'train' and not FLAGS['num_classes'].present:
        known = settings_file.read_settings(FLAGS.modeldir)
        if known:
            FLAGS['num_classes'].value = len(known['result']['classes'])


if __name__ == '__main__':
    errors.run_script(main)

"""What the rounds are set to on PASCAL VOC, and on somebody's own photographs."""

from dataclasses import replace

from deeplablib.training.training_settings import TrainingSettings
from selection.rounds.round_settings import RoundSettings

_TRAINING = TrainingSettings(
    num_steps=18000,
    learning_rate=4e-5,
    recipe='caffe',
    batch_size=10,
    input_height=321,
    input_width=321,
    momentum=0.9,
    power=0.9,
    weight_decay=5e-4,
    random_seed=1234,
    max_to_keep=2,  # a checkpoint of ResNet-101 takes 0.35 GB
)
# Named although they are defaults: a constant that is edited in main.py must not change them.
_NAMED = (
    'batch_size',
    'input_height',
    'input_width',
    'momentum',
    'power',
    'weight_decay',
    'random_seed',
    'max_to_keep',
)
_CLASSIFIER = ('--batch-size', '16', '--crop-size', '512')

SETTINGS = {
    'resnet': RoundSettings(
        training=replace(_TRAINING, encoder_name='deeplab'),
        named_flags=('learning_rate', *_NAMED),
        prediction_script='test_vocspsm_resnet.py',
        classifier_flags=('--learning-rate', '0.1', '--num-steps', '3300', *_CLASSIFIER),
    ),
    'vgg': RoundSettings(
        training=replace(_TRAINING, encoder_name='vgg', learning_rate=1e-4),
        named_flags=('learning_rate', 'recipe', *_NAMED),
        prediction_script='test_vocspsm_vgg.py',
        classifier_flags=('--learning-rate', '0.0003', '--num-steps', '3300', *_CLASSIFIER),
    ),
}
# For a laptop and a part of VOC: hours on two CPU cores. Small crops, small batches and few steps:
# its numbers stand beside each other, not beside the paper's.
SETTINGS['small'] = replace(
    SETTINGS['vgg'],
    training=replace(
        SETTINGS['vgg'].training,
        num_steps=500,
        learning_rate=1e-3,
        batch_size=8,
        input_height=161,
        input_width=161,
        save_interval=100,
    ),
    named_flags=(*SETTINGS['vgg'].named_flags, 'save_interval'),
    single_scale=True,
    classifier_flags=(
        *('--learning-rate', '0.0003', '--num-steps', '800', '--save-interval', '200'),
        *('--batch-size', '8', '--crop-size', '160'),
    ),
)
# EfficientNet-Lite0, of which the classifier alone learns: minutes on two CPU cores.
SETTINGS['lite0'] = replace(
    SETTINGS['resnet'],
    training=replace(
        SETTINGS['resnet'].training,
        encoder_name='lite0',
        num_steps=300,
        learning_rate=3e-4,
        batch_size=8,
        input_height=257,
        input_width=257,
        frozen=5,
        save_interval=100,
    ),
    named_flags=(*SETTINGS['resnet'].named_flags, 'frozen', 'save_interval'),
    prediction_script='test_vocspsm_lite0.py',
    single_scale=True,
    classifier_flags=(
        *('--learning-rate', '0.03', '--frozen', '5', '--num-steps', '300'),
        *('--save-interval', '100', '--batch-size', '16', '--crop-size', '321'),
    ),
)
# For hundreds of photographs, where VOC has ten thousand.
SETTINGS['photos'] = replace(
    SETTINGS['vgg'],
    training=replace(SETTINGS['vgg'].training, num_steps=4000),
    classifier_flags=('--learning-rate', '0.0003', '--num-steps', '1000', *_CLASSIFIER),
)
LAPTOP = {'small': 'vgg', 'lite0': 'photos'}  # settings for a laptop, and of which command

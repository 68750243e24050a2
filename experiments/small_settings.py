"""The settings of the whole method for a laptop: reproduce.py vgg --settings small.

VGG16 on hundreds of photographs, in hours on two CPU cores. Small crops, small batches and few
steps: its numbers stand beside each other, not beside the paper's.
"""

from deeplablib.training.training_settings import TrainingSettings
from selection.rounds.round_settings import RoundSettings

SETTINGS = RoundSettings(
    training=TrainingSettings(
        encoder_name='vgg',
        recipe='caffe',
        num_steps=500,
        learning_rate=1e-3,
        batch_size=8,
        input_height=161,
        input_width=161,
        save_interval=100,
        max_to_keep=2,
    ),
    named_flags=(
        'learning_rate',
        'recipe',
        'batch_size',
        'input_height',
        'input_width',
        'random_seed',
        'save_interval',
        'max_to_keep',
    ),
    prediction_script='test_vocspsm_vgg.py',
    single_scale=True,
    classifier_flags=(
        *('--learning-rate', '0.0003', '--num-steps', '800'),
        *('--batch-size', '8', '--crop-size', '160', '--save-interval', '200'),
    ),
)

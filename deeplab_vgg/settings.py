"""The settings that suit VGG16. Nothing here imports TensorFlow."""

ENCODER_NAME = 'vgg'  # LargeFOV, the VGG network of SPSM
PREDICTION_SCRIPT = 'test_vocspsm_vgg.py'

# Flags of main.py: SPSM's, and the recipe that it names.
TRAINING = {
    'learning_rate': 1e-4,
    'num_steps': 18000,
    'batch_size': 10,
    'input_height': 321,
    'input_width': 321,
    'momentum': 0.9,
    'power': 0.9,
    'weight_decay': 5e-4,
    'recipe': 'caffe',
}

# Flags of selection.train_classifier. No batch norm keeps the features of VGG16 small: at a rate of
# 0.01 it diverges, at 0.001 it learns less.
CLASSIFIER = {
    'learning_rate': 3e-4,
    'num_steps': 3300,  # five epochs of VOC's 10,582 images
    'batch_size': 16,
    'crop_size': 512,
    'frozen': 3,
}

# For a laptop and a part of VOC: hours on two CPU cores. Small crops, small batches and few steps:
# its numbers stand beside each other, not beside the paper's.
LAPTOP_TRAINING = TRAINING | {
    'learning_rate': 1e-3,
    'num_steps': 500,
    'batch_size': 8,
    'input_height': 161,
    'input_width': 161,
    'save_interval': 100,
}
LAPTOP_CLASSIFIER = CLASSIFIER | {
    'num_steps': 800,
    'batch_size': 8,
    'crop_size': 160,
    'save_interval': 200,
}

# For hundreds of photographs, where VOC has ten thousand.
PHOTOS_TRAINING = TRAINING | {'num_steps': 4000}
PHOTOS_CLASSIFIER = CLASSIFIER | {'num_steps': 1000}

PROXIES: dict[str, float] = {}  # flags of selection.make_proxies: its defaults

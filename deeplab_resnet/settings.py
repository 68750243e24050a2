"""The settings that suit the ResNets. Nothing here imports TensorFlow."""

ENCODER_NAME = 'deeplab'  # ResNet-101, the network of SPSM
PREDICTION_SCRIPT = 'test_vocspsm_resnet.py'

# Flags of main.py: SPSM's.
TRAINING = {
    'learning_rate': 4e-5,
    'num_steps': 18000,
    'batch_size': 10,
    'input_height': 321,
    'input_width': 321,
    'momentum': 0.9,
    'power': 0.9,
    'weight_decay': 5e-4,
}

# Flags of selection.train_classifier: irn's (Ahn et al., 2019).
CLASSIFIER = {
    'learning_rate': 0.1,
    'num_steps': 3300,  # five epochs of VOC's 10,582 images
    'batch_size': 16,
    'crop_size': 512,
    'frozen': 3,
}

PROXIES: dict[str, float] = {}  # flags of selection.make_proxies: its defaults

"""The settings that suit EfficientNet-Lite0. Nothing here imports TensorFlow.

The last level of the encoder is fine-tuned with the head: minutes on two CPU cores.
"""

ENCODER_NAME = 'lite0'
PREDICTION_SCRIPT = 'test_vocspsm_resnet.py'

# Flags of main.py. From the proxies of its own cues on 1,200 photographs: 47.5 mean IoU. Crops of
# 449x449 hold nearly all of a photograph of VOC; at output stride 16 they take the time of 257x257.
TRAINING = {
    'learning_rate': 1e-3,
    'num_steps': 250,
    'batch_size': 8,
    'input_height': 449,
    'input_width': 449,
    'output_stride': 16,
    'random_scale': False,
    'momentum': 0.9,
    'power': 0.9,
    'weight_decay': 5e-3,
    'frozen': 4,
    'warmup_steps': 100,
    'save_interval': 100,
}
ROUNDS = 1  # on photographs a second one gains nothing significant (docs/photographs.md)

# Flags of selection.train_classifier. With the whole encoder frozen the classifier is solved, and
# of these crop_size alone counts, about the size of VOC's photographs.
CLASSIFIER = {
    'learning_rate': 0.03,
    'num_steps': 300,
    'batch_size': 16,
    'crop_size': 500,
    'frozen': 5,
}

# Flags of selection.make_proxies, for propagated cues: on 150 photographs they make masks of 68.3
# mean IoU, 76 % of the pixels labelled.
PROXIES: dict[str, float] = {
    'foreground_threshold': 0.6,
    'background_threshold': 0.2,
    'downscale': 4,
}

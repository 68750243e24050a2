"""The record of a training, modeldir/settings.json: what decides its weights, and its flags."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deeplablib.data.classes import default_classes, read_classes
from deeplablib.data.image_lists import Sample
from deeplablib.training.training_settings import TrainingSettings
from deeplablib.weights import run_settings

# The settings that change the weights in the end, beside data_list, pretrain_file and classes.
RESULT_SETTINGS = (
    'encoder_name',
    'num_classes',
    'width',
    'frozen',
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


def training_record(
    settings: TrainingSettings,
    samples: Sequence[Sample],
    of_network: Collection[str],
    devices: int,
    img_mean: Sequence[float],
    all_flags: Mapping[str, Any],
) -> dict[str, Any]:
    """What settings.json is to hold of a training.

    samples: those of data_list. of_network: names of the settings that only its kind of network
    has. devices: how many share a batch. img_mean: blue, green, red. all_flags: name to value.
    """
    result = {name: getattr(settings, name) for name in (*RESULT_SETTINGS, *of_network)}
    result |= {'devices': devices, 'IMG_MEAN': list(img_mean)}
    result['data_list'] = run_settings.list_fingerprint(samples, settings.data_dir)
    pretrained = settings.pretrain_file
    result['pretrain_file'] = run_settings.checkpoint_fingerprint(pretrained) if pretrained else ''
    if settings.classes:
        classes = read_classes(settings.classes)
    else:
        classes = default_classes(settings.num_classes)
    return run_settings.make_settings(result, classes, dict(all_flags))

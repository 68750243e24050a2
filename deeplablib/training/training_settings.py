"""What a training is set to: one object from the flags of main.py to the stages that call it.

Nothing here imports TensorFlow: a plan of many trainings is made without it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

from absl import flags

from deeplablib.data.voc import IGNORE_LABEL, NUM_CLASSES
from deeplablib.utils.absl_flags import parse
from deeplablib.utils.errors import InputError

ENCODER_LEVELS = 5  # of every encoder, one for each resolution of its ImageNet network


@dataclass(frozen=True)
class TrainingSettings:
    """Every setting of a training, under the name of its flag of main.py, with SPSM's values.

    _HELP says what each is.
    """

    encoder_name: str = 'deeplab'
    pretrain_file: str = './model/deeplab_resnet_init.ckpt'
    restore_last: bool = False
    num_steps: int = 18000
    learning_rate: float = 4e-5
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 0.0005
    random_seed: int = 1234
    recipe: str = 'caffe'
    dropout_rate: float = 0.5
    msc: bool = False
    grad_update_every: int = 1
    precision: str = 'float32'
    recompute: bool = False
    strategy: str = 'one'
    width: float = 1.0
    train_batch_norm: bool = False
    frozen: int = 0
    data_dir: str = './VOC2012'
    data_list: str = './dataset/train.txt'
    skip_check: bool = False
    batch_size: int = 10
    input_height: int = 321
    input_width: int = 321
    num_classes: int = NUM_CLASSES
    classes: str | None = None
    ignore_label: int = IGNORE_LABEL
    shuffle: bool = True
    random_scale: bool = True
    random_mirror: bool = True
    save_interval: int = 1000
    max_to_keep: int = 0
    resume: bool = True
    resume_changed: bool = False
    modeldir: str = './model/train'
    logfile: str | None = None
    logdir: str | None = None


_HELP = {
    'encoder_name': 'name of the network',
    'pretrain_file': 'pre-trained model filename corresponding to encoder_name; empty: from '
    'scratch',
    'restore_last': 'also load the classifier from pretrain_file',
    'num_steps': 'maximum number of iterations',
    'learning_rate': 'learning rate',
    'power': 'hyperparameter for poly learning rate',
    'momentum': 'momentum',
    'weight_decay': 'weight decay rate',
    'random_seed': 'random seed',
    'recipe': 'objective and learning rates of the VGG networks',
    'dropout_rate': 'dropout after fc6 and fc7 of VGG',
    'msc': 'multi-scale training, testing and prediction',
    'grad_update_every': 'gradient accumulation step: batches of one update',
    'precision': 'type to compute in; bfloat16 needs a GPU, or a CPU with AVX512-BF16 or AMX',
    'recompute': 'take less memory and more time: activations are computed twice',
    'strategy': 'devices: one, all of this machine, or those of all machines in TF_CONFIG',
    'width': "multiplies the channels; 1 is the paper's network",
    'train_batch_norm': 'let batch norm learn: ResNet and lite0 from scratch',
    'frozen': 'levels of the encoder, from the first of its five resolutions, that do not learn',
    'data_dir': 'data directory',
    'data_list': 'training data list filename',
    'skip_check': 'do not check every sample of data_list first',
    'batch_size': 'training batch size',
    'input_height': 'input image height',
    'input_width': 'input image width',
    'num_classes': 'number of classes',
    'classes': "file of the classes' names, one a line, background first; it sets num_classes",
    'ignore_label': 'label pixel value that should be ignored',
    'shuffle': 'whether to go through the list in another order each epoch',
    'random_scale': 'whether to perform random scaling data-augmentation',
    'random_mirror': 'whether to perform random left-right flipping data-augmentation',
    'save_interval': 'number of iterations for saving and visualization',
    'max_to_keep': 'newest checkpoints to keep, 0: all',
    'resume': 'go on from the newest checkpoint in modeldir',
    'resume_changed': 'go on although settings differ from those in modeldir/settings.json',
    'modeldir': 'model directory',
    'logfile': 'training log filename; default: log.txt in modeldir',
    'logdir': "training log directory, TensorBoard's; default: log in modeldir",
}
_CHOICES = {
    'recipe': ['caffe', 'authors'],
    'precision': ['float32', 'bfloat16'],
    'strategy': ['one', 'mirrored', 'multiworker'],
}
# Lowest and highest legal value; None: no bound.
_LIMITS = {
    'num_steps': (1, None),
    'learning_rate': (0, None),
    'power': (0, None),
    'momentum': (0, 1),
    'weight_decay': (0, None),
    'random_seed': (0, 2**32 - 1),
    'dropout_rate': (0, 0.999),
    'frozen': (0, ENCODER_LEVELS),
    'grad_update_every': (1, None),
    'batch_size': (1, None),
    'input_height': (1, None),
    'input_width': (1, None),
    'num_classes': (1, 255),
    'ignore_label': (0, 255),
    'save_interval': (1, None),
    'max_to_keep': (0, None),
}


def define_flags(
    defaults: TrainingSettings, values: flags.FlagValues, encoder_names: Collection[str] = ()
) -> None:
    """Define a flag for each setting; settings_from_flags reads them back.

    defaults: what they are when they are not given. values: where to define them.
    encoder_names: legal values of encoder_name; none: not checked.
    """
    choices = _CHOICES | ({'encoder_name': list(encoder_names)} if encoder_names else {})
    for field in fields(TrainingSettings):
        name, default = field.name, getattr(defaults, field.name)
        low, high = _LIMITS.get(name, (None, None))
        limits: dict[str, Any] = {'lower_bound': low, 'upper_bound': high}
        if name in choices:
            flags.DEFINE_enum(name, default, choices[name], _HELP[name], values)
        elif field.type is bool:
            flags.DEFINE_boolean(name, default, _HELP[name], values)
        elif field.type is int:
            flags.DEFINE_integer(name, default, _HELP[name], flag_values=values, **limits)
        elif field.type is float:
            flags.DEFINE_float(name, default, _HELP[name], flag_values=values, **limits)
        else:
            flags.DEFINE_string(name, default, _HELP[name], values)


def settings_from_flags(values: flags.FlagValues) -> TrainingSettings:
    """The settings that flags say; values: with the flags of define_flags, parsed."""
    given: dict[str, Any] = {f.name: values[f.name].value for f in fields(TrainingSettings)}
    return TrainingSettings(**given)


def check_settings(settings: TrainingSettings) -> None:
    """Raise InputError for settings that exclude each other."""
    if settings.recompute and settings.train_batch_norm:
        raise InputError('--recompute needs a frozen batch norm: not with --train_batch_norm')
    if settings.frozen and not settings.pretrain_file:
        raise InputError('--frozen keeps weights of --pretrain_file: give one')


def changed_by(words: Sequence[str], settings: TrainingSettings) -> TrainingSettings:
    """The settings after further flags of main.py.

    words: such as ('--batch_size=5', '--norandom_scale'). Raises InputError as parse does.
    """
    values = flags.FlagValues()
    define_flags(settings, values)
    parse(values, ['main.py', *words])
    return settings_from_flags(values)


def flag_words(settings: TrainingSettings, names: Sequence[str]) -> list[str]:
    """Settings as they stand on the command line of main.py; names: which, in order."""
    words = []
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool):
            words.append(f'--{name}' if value else f'--no{name}')
        else:
            words += [f'--{name}', _text(value)]
    return words


def _text(value):
    """A value as people write it: 0.0005 is 5e-4, and 0.125 stays as it is."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent = f'{value:.15e}'.split('e')
    scientific = f'{mantissa.rstrip("0").rstrip(".")}e{int(exponent)}'
    plain = repr(value).removesuffix('.0')
    return scientific if len(scientific) < len(plain) else plain


flags.disclaim_key_flags()  # those that are defined here are the flags of who calls define_flags

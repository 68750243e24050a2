"""The settings of the whole method on generated data (experiments.toy_data)."""

from dataclasses import replace
from pathlib import Path

from deeplablib.training.training_settings import TrainingSettings, flag_words
from deeplablib.utils.stages import Stage, as_flags
from selection.rounds.round_settings import DataPaths, RoundSettings
from selection.rounds.round_stages import Training

STEPS, INITIAL_STEPS = 400, 1600

# A narrow ResNet-50, trained and tested at one scale (at half of it the textures are gone), on
# crops as large as the images.
_TRAINING = TrainingSettings(
    encoder_name='res50',
    num_steps=STEPS,
    width=0.125,
    batch_size=8,
    input_height=96,
    input_width=96,
    random_scale=False,
    skip_check=True,
    save_interval=100,
    max_to_keep=2,
    learning_rate=1e-2,
)
_NAMED = (
    'width',
    'batch_size',
    'input_height',
    'input_width',
    'random_scale',
    'skip_check',
    'save_interval',
    'max_to_keep',
)

SETTINGS = RoundSettings(
    training=_TRAINING,
    named_flags=(*_NAMED, 'learning_rate', 'random_seed'),
    prediction_script='test_vocspsm_resnet.py',
    single_scale=True,
    single_scale_at_last=True,
    # Lengths for images a fifth as large as photographs; chosen on the data of seed 1.
    crf_flags=(
        *('--gaussian-sxy', '1', '--gaussian-weight', '1'),
        *('--bilateral-sxy', '8', '--bilateral-weight', '3'),
    ),
)


def data_stages(work: Path, seed: int) -> tuple[list[Stage], DataPaths]:
    """The stages that make the data set and its initial checkpoint.

    work: absolute folder for everything. seed: of the data and of the initial weights.
    Returns the stages and the DataPaths that they make.
    """
    data, tags = work / 'data', work / 'tags.txt'
    initial = _initial_training(data, work / 'initial', seed)
    annotations, train_list = data / 'Annotations', data / 'train.txt'
    flags = as_flags(annotations=annotations, data_list=train_list, out=tags)
    stages = [
        Stage(
            name='data',
            command=('-m', 'experiments.toy_data', *as_flags(out=data, seed=seed)),
            reads=(),
            output=data,
        ),
        Stage(
            name='tags',
            command=('-m', 'selection.make_tags', *flags),
            reads=(annotations, train_list),
            output=tags,
        ),
        initial,
    ]
    return stages, DataPaths(
        data_dir=data,
        train_list=train_list,
        val_list=data / 'val.txt',
        val_masks=data / 'SegmentationClassAug',
        tags=tags,
        init=initial.output / f'model.ckpt-{INITIAL_STEPS}',
        cues=data / 'cues',
        saliency=data / 'saliency',
    )


def _initial_training(data, out, seed):
    # As deeplab_resnet_init.ckpt was trained on COCO: on other images, with their true masks.
    training = replace(
        _TRAINING,
        num_steps=INITIAL_STEPS,
        random_seed=seed,
        data_dir=str(data),
        data_list=str(data / 'initial.txt'),
        modeldir=str(out),
        logdir=str(out / 'log'),
        logfile=str(out / 'log.txt'),
        pretrain_file='',
        train_batch_norm=True,
        learning_rate=0.03,
    )
    named = (
        'encoder_name',
        'num_steps',
        'random_seed',
        'data_dir',
        'data_list',
        'modeldir',
        'logdir',
        'logfile',
        *_NAMED,
        'pretrain_file',
        'train_batch_norm',
        'learning_rate',
    )
    return Stage(
        name='initial checkpoint',
        command=('main.py', '--option', 'train', *flag_words(training, named)),
        reads=(data / 'initial.txt',),
        output=out,
        work=Training(training),
    )

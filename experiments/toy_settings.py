"""The settings of the whole method on generated data (experiments.toy_data)."""

from deeplablib.run.stage_runner import Stage
from selection.rounds import Data, Settings

STEPS, INITIAL_STEPS = 400, 1600

# A narrow ResNet-50, trained and tested at one scale (at half of it the textures are gone), on
# crops as large as the images.
_TRAIN = (
    *('--width', '0.125', '--batch_size', '8', '--input_height', '96', '--input_width', '96'),
    *('--norandom_scale', '--skip_check', '--save_interval', '100', '--max_to_keep', '2'),
)
# As deeplab_resnet_init.ckpt was trained on COCO: on other images, with their true masks.
_INITIAL = ('--pretrain_file', '', '--train_batch_norm', '--learning_rate', '0.03')
# Lengths for images a fifth as large as photographs; chosen on the data of seed 1.
_CRF = (
    *('--gaussian-sxy', '1', '--gaussian-weight', '1'),
    *('--bilateral-sxy', '8', '--bilateral-weight', '3'),
)

SETTINGS = Settings(
    encoder_name='res50',
    test_script='test_vocspsm_resnet.py',
    num_steps=STEPS,
    train_flags=(*_TRAIN, '--learning_rate', '1e-2'),
    predict_flags=('--single-scale',),
    crf_flags=_CRF,
)


def data_stages(work, seed):
    """The stages that make the data set and its initial checkpoint.

    work: absolute folder for everything. seed: of the data and of the initial weights.
    Returns the stages and the Data that they make.
    """
    data, initial, tags = work / 'data', work / 'initial', work / 'tags.txt'
    annotations = ('--annotations', data / 'Annotations', '--data-list', data / 'train.txt')
    train = (
        *('main.py', '--option', 'train', '--encoder_name', SETTINGS.encoder_name),
        *('--num_steps', INITIAL_STEPS, '--random_seed', seed),
        *('--data_dir', data, '--data_list', data / 'initial.txt', '--modeldir', initial),
        *('--logdir', initial / 'log', '--logfile', initial / 'log.txt', *_TRAIN, *_INITIAL),
    )
    stages = [
        Stage('data', ('-m', 'experiments.toy_data', '--out', data, '--seed', seed), data),
        Stage('tags', ('-m', 'selection.tags', *annotations, '--out', tags), tags),
        Stage('initial checkpoint', train, initial),
    ]
    return stages, Data(
        data_dir=data,
        train_list=data / 'train.txt',
        val_list=data / 'val.txt',
        val_masks=data / 'SegmentationClassAug',
        tags=tags,
        init=initial / f'model.ckpt-{INITIAL_STEPS}',
        cues=data / 'cues',
        saliency=data / 'saliency',
    )

"""The rounds of SPSM as a row of commands.

Round 1 is trained on the proxy annotations. After each round the network labels the training
images, the CRF refines its scores, and the masks with the best scores go on to the next; every
round starts from the same initial checkpoint.

Known: three rounds, the restart, and that high-quality masks are selected. Reconstructed: the rest.
"""

from dataclasses import dataclass
from pathlib import Path

from deeplablib.run.stage_runner import Stage
from selection.masks import CLASS_MINIMUM, FRACTION, MEASURE


@dataclass(frozen=True)
class Data:
    """Where everything is; absolute paths, cues and saliency None when there are none.

    data_dir: the folder that lists start from. train_list, val_list: lists of images.
    val_masks: folder of the true masks of val_list. tags, cues, saliency: of the training images.
    init: the initial checkpoint.
    """

    data_dir: Path
    train_list: Path
    val_list: Path
    val_masks: Path
    tags: Path
    init: Path
    cues: Path | None = None
    saliency: Path | None = None

    @property
    def init_file(self):
        """The file that a change of the initial checkpoint shows in: its index holds checksums."""
        index = self.init.with_name(f'{self.init.name}.index')
        return index if index.exists() else self.init


@dataclass(frozen=True)
class Settings:
    """How the rounds are run.

    encoder_name, test_script: the network and the script that predicts with it.
    num_steps: of each training. train_flags: further flags of main.py. predict_flags: of the test
    script, for refined masks and the last test. crf_flags: of the CRF.
    measure, fraction, class_minimum: of the mask selection.
    """

    encoder_name: str
    test_script: str
    num_steps: int
    train_flags: tuple = ()
    predict_flags: tuple = ()
    crf_flags: tuple = ()
    measure: str = MEASURE
    fraction: float = FRACTION
    class_minimum: float = CLASS_MINIMUM


def proxies(data, work):
    """The stages that make the proxy annotations of round 1. Returns them and the round's list."""
    out = work / 'proxies'
    cues = ['--cues', data.cues, *(['--saliency', data.saliency] if data.saliency else [])]
    command = ('-m', 'selection.proxies', *image_flags(data), *cues, '--out', out)
    read = [path for path in (data.cues, data.saliency) if path]
    make = Stage('proxies', command, out, (data.train_list, data.tags, *read))
    every = keep_all('list 1', data, out, work / 'train_1.txt')
    return [make, every], every.output


def train(name, data, settings, train_list, out):
    """The stage that trains a network from the initial checkpoint."""
    flags = (
        *('--option', 'train', '--encoder_name', settings.encoder_name),
        *('--pretrain_file', data.init, '--num_steps', settings.num_steps),
        *('--data_dir', data.data_dir, '--data_list', train_list, '--modeldir', out),
    )
    command = ('main.py', *flags, *settings.train_flags)
    return Stage(f'{name} train', command, out, (data.init_file, train_list))


def predict(name, data, settings, model, image_list, out, *flags):
    """The stage that predicts a list with the newest checkpoint of a folder."""
    where = ('--data-dir', data.data_dir, '--data-list', image_list, '--restore-from', model)
    command = (settings.test_script, *where, '--save-dir', out, '--resume', *flags)
    read = (image_list, *(flag for flag in flags if flag == data.tags))
    return Stage(f'{name} predict {Path(out).name}', command, out, read)


def evaluate(name, data, predictions, out):
    """The stage that writes the IoU of predictions of the validation images, JSON."""
    where = ('--pred', predictions, '--gt', data.val_masks, '--list', data.val_list)
    command = ('eval_iou.py', *where, '--json', out)
    return Stage(f'{name} evaluate', command, out, (data.val_list,))


def refine(name, data, settings, scores, out):
    """The stage that makes refined masks of the training images from their scores."""
    flags = ('--scores', scores, '--out', out, '--resume', *settings.crf_flags)
    command = ('-m', 'selection.refine', *image_flags(data), *flags)
    return Stage(f'{name} refine', command, out, (data.train_list, data.tags))


def select(name, data, settings, masks, out, table=None):
    """The stage that lists the best masks; table: scores, if not those beside the masks."""
    flags = (
        *('--masks', masks, '--table', table or masks / 'scores.csv', '--out', out),
        *('--measure', settings.measure, '--fraction', settings.fraction),
        *('--class-minimum', settings.class_minimum),
    )
    command = ('-m', 'selection.masks', *image_flags(data), *flags)
    return Stage(f'{name} select', command, out, (data.train_list, data.tags))


def keep_all(name, data, masks, out):
    """The stage that lists every mask of a folder."""
    flags = ('--masks', masks, '--out', out)
    command = ('-m', 'selection.masks', *image_flags(data), *flags)
    return Stage(f'{name} keep all', command, out, (data.train_list, data.tags, masks))


def one_round(number, data, settings, train_list, work, goes_on):
    """One round: train, label the validation images, and choose the next list if it goes_on.

    Returns the stages and the next list (None without goes_on).
    """
    name, work = f'round {number}', work / f'round_{number}'
    model, val = work / 'model', work / 'val'
    stages = [
        train(name, data, settings, train_list, model),
        predict(name, data, settings, model, data.val_list, val, '--single-scale'),
        evaluate(name, data, val, work / 'val.json'),
    ]
    if not goes_on:
        return stages, None
    masks, scores = work / 'train', work / 'train/scores'
    next_list = work.parent / f'train_{number + 1}.txt'
    saved = ('--save-scores', scores, '--tags', data.tags, *settings.predict_flags)
    stages += [
        predict(name, data, settings, model, data.train_list, masks, *saved),
        refine(name, data, settings, scores, work / 'refined'),
        select(name, data, settings, work / 'refined', next_list),
    ]
    return stages, next_list


def all_rounds(data, settings, work, rounds):
    """All rounds from the cues on. Returns the stages and the folder of the last model."""
    stages, train_list = proxies(data, work)
    for number in range(1, rounds + 1):
        more, train_list = one_round(number, data, settings, train_list, work, number < rounds)
        stages += more
    return stages, work / f'round_{rounds}' / 'model'


def given_annotations(data, settings, work, annotations):
    """The rounds where the annotations of each are given: train on each, in turn.

    annotations: absolute paths, one a round: a folder of NAME.png, of which every mask is taken, or
    a list of images and masks. Returns the stages and the folder of the last model.
    """
    stages, lists = [], list(annotations)
    for number, given in enumerate(annotations, 1):
        if not given.is_file():  # all of them first: an empty folder is found before any training
            lists[number - 1] = work / f'train_{number}.txt'
            stages.append(keep_all(f'list {number}', data, given, lists[number - 1]))
    for number, train_list in enumerate(lists, 1):
        more, _ = one_round(number, data, settings, train_list, work, goes_on=False)
        stages += more
    return stages, work / f'round_{len(lists)}' / 'model'


def final_test(data, settings, model, work):
    """The stages of the last numbers, before and after the CRF, on the validation images."""
    last, scores, after = work / 'last', work / 'last/scores', work / 'crf'
    saved = ('--save-scores', scores, *settings.predict_flags)
    where = ('--scores', scores, '--data-dir', data.data_dir, '--data-list', data.val_list)
    flags = (*where, '--save-dir', after, '--resume', *settings.crf_flags)
    return [
        predict('last', data, settings, model, data.val_list, last, *saved),
        evaluate('last', data, last, work / 'last.json'),
        Stage('CRF', ('crf_vocspsm.py', *flags), after, (data.val_list,)),
        evaluate('CRF', data, after, work / 'crf.json'),
    ]


def image_flags(data):
    """The flags that name the training images and their tags."""
    return '--data-dir', data.data_dir, '--data-list', data.train_list, '--tags', data.tags

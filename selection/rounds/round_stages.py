"""The commands of the rounds as stages: each names what it reads, makes and does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeplablib.data.image_lists import Sample, read_list
from deeplablib.training.training_settings import TrainingSettings, changed_by, flag_words
from deeplablib.utils.stages import ListedMasks, Stage, as_flags
from selection.mask_quality import TABLE
from selection.rounds.round_settings import DataPaths, RoundSettings


@dataclass(frozen=True)
class Training:
    """A stage that trains; settings: all that it is set to."""

    settings: TrainingSettings


@dataclass(frozen=True)
class TagTraining:
    """A stage that trains a classifier of tags; flags: its command line."""

    flags: tuple[str, ...]


@dataclass(frozen=True)
class CamMaking:
    """A stage that makes the CAMs of a list; flags: its command line."""

    image_list: Path
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """A stage that predicts the images of a list, and may save their score maps."""

    image_list: Path
    single_scale: bool
    saves_score_maps: bool


@dataclass(frozen=True)
class Refinement:
    """A stage that runs the CRF over a list; has_tags: over each image's own classes only."""

    image_list: Path
    has_tags: bool


@dataclass(frozen=True)
class ProxyMaking:
    """A stage that makes a proxy annotation of each image of a list; by_crf: with two CRFs."""

    image_list: Path
    by_crf: bool


def photographs(data: DataPaths, max_size: int) -> Stage:
    """The stage that copies somebody's own photographs, at most max_size pixels long."""
    if data.photographs is None:
        raise ValueError('there are no photographs')
    flags = as_flags(data_dir=data.photographs, data_list=data.train_list, out=data.data_dir)
    flags += [*as_flags(max_size=max_size), '--resume']
    return Stage(
        name='photographs',
        command=('-m', 'selection.rounds.smaller_photographs', *flags),
        reads=(data.train_list, data.photographs),
        output=data.data_dir,
    )


def classifier(data: DataPaths, settings: RoundSettings, out: Path) -> Stage:
    """The stage that trains the classifier of tags."""
    if data.imagenet is None:
        raise ValueError('a classifier starts from ImageNet weights')
    start = as_flags(encoder_name=settings.training.encoder_name, pretrain_file=data.imagenet)
    flags = (*image_flags(data), *start, *as_flags(out=out), *settings.classifier_flags)
    return Stage(
        name='classifier',
        command=('-m', 'selection.train_classifier', *flags),
        reads=(*image_files(data), file_of(data.imagenet)),
        output=out,
        work=TagTraining(flags),
    )


def cams(data: DataPaths, model: Path, out: Path) -> Stage:
    """The stage that makes localization cues of the classifier in a folder."""
    flags = (*image_flags(data), *as_flags(restore_from=model, out=out), '--resume')
    return Stage(
        name='CAMs',
        command=('-m', 'selection.make_cams', *flags),
        reads=(*image_files(data), model),
        output=out,
        work=CamMaking(data.train_list, flags),
    )


def proxies(data: DataPaths, out: Path) -> Stage:
    """The stage that makes the proxy annotations of round 1."""
    if data.cues is None:
        raise ValueError('proxy annotations are made from cues')
    flags, reads = as_flags(cues=data.cues), [*image_files(data), data.cues]
    if data.saliency is not None:
        flags += as_flags(saliency=data.saliency)
        reads.append(data.saliency)
    flags += [*as_flags(out=out), '--resume']
    return Stage(
        name='proxies',
        command=('-m', 'selection.make_proxies', *image_flags(data), *flags),
        reads=tuple(reads),
        output=out,
        work=ProxyMaking(data.train_list, by_crf=data.saliency is None),
    )


def train(
    name: str, data: DataPaths, settings: RoundSettings, train_list: Path, out: Path
) -> Stage:
    """The stage that trains a network from the initial checkpoint."""
    training = replace(
        settings.training,
        pretrain_file=str(data.init),
        data_dir=str(data.data_dir),
        data_list=str(train_list),
        modeldir=str(out),
        classes=str(data.classes) if data.classes else None,
    )
    first = ('encoder_name', 'pretrain_file', 'num_steps', 'data_dir', 'data_list', 'modeldir')
    words = flag_words(training, (*first, *settings.named_flags))
    return Stage(
        name=f'{name} train',
        command=('main.py', '--option', 'train', *words, *data.class_flags, *settings.train_flags),
        reads=(file_of(data.init), train_list, *data.class_files),
        listed=ListedMasks(train_list, masks_in(train_list, data.data_dir)),
        output=out,
        work=Training(changed_by(settings.train_flags, training)),
    )


def predict(
    name: str,
    data: DataPaths,
    settings: RoundSettings,
    model: Path,
    image_list: Path,
    out: Path,
    single_scale: bool = False,
    score_maps: Path | None = None,
    tags: Path | None = None,
) -> Stage:
    """The stage that predicts a list with the newest checkpoint of a folder.

    It computes in the precision of the training.
    model: the folder. score_maps: folder to save them to; None: not saved. tags: of the images, to
    keep only their classes; None: all classes.
    """
    flags = as_flags(data_dir=data.data_dir, data_list=image_list, restore_from=model, save_dir=out)
    flags.append('--resume')
    reads = [model, image_list]
    if score_maps is not None:
        flags += as_flags(save_scores=score_maps)
    if tags is not None:
        flags += as_flags(tags=tags)
        reads.append(tags)
    if single_scale:
        flags.append('--single-scale')
    precision = changed_by(settings.train_flags, settings.training).precision
    if precision != 'float32':
        flags += as_flags(precision=precision)
    return Stage(
        name=f'{name} predict {out.name}',
        command=(settings.prediction_script, *flags),
        reads=tuple(reads),
        output=out,
        work=Prediction(image_list, single_scale, saves_score_maps=score_maps is not None),
    )


def evaluate(name: str, data: DataPaths, predictions: Path, out: Path) -> Stage:
    """The stage that writes the IoU of predictions of the validation images, JSON."""
    if data.val_list is None:
        raise ValueError('there are no validation images')
    flags = as_flags(pred=predictions, gt=data.val_masks, list=data.val_list, json=out)
    names = [sample.name for sample in samples_in(data.val_list, data.data_dir)]
    truth = tuple(data.val_masks / f'{name}.png' for name in names)
    return Stage(
        name=f'{name} evaluate',
        command=('eval_iou.py', *flags, *data.class_flags),
        reads=(predictions, data.val_list, *data.class_files),
        listed=ListedMasks(data.val_list, truth),
        output=out,
    )


def refine(
    name: str, data: DataPaths, settings: RoundSettings, score_maps: Path, out: Path
) -> Stage:
    """The stage that makes refined masks of the training images from their score maps."""
    flags = [*as_flags(scores=score_maps, out=out), '--resume', *settings.crf_flags]
    return Stage(
        name=f'{name} refine',
        command=('-m', 'selection.refine_masks', *image_flags(data), *flags),
        reads=(score_maps, *image_files(data)),
        output=out,
        work=Refinement(data.train_list, has_tags=True),
    )


def candidates(
    name: str, data: DataPaths, masks: Sequence[Path], score_maps: Path, out: Path
) -> Stage:
    """The stage that chooses, for each image, the mask that agrees best with the network.

    masks: folders of the candidates. out: of the chosen masks.
    """
    flags = ('--masks', *map(str, masks), *as_flags(scores=score_maps, out=out))
    return Stage(
        name=f'{name} candidates',
        command=('-m', 'selection.choose_candidates', *image_flags(data), *flags),
        reads=(*image_files(data), *masks, score_maps),
        output=out,
    )


def crf(data: DataPaths, settings: RoundSettings, score_maps: Path, out: Path) -> Stage:
    """The stage that runs the CRF over the score maps of the validation images."""
    if data.val_list is None:
        raise ValueError('there are no validation images')
    flags = as_flags(
        scores=score_maps, data_dir=data.data_dir, data_list=data.val_list, save_dir=out
    )
    flags += ['--resume', *settings.crf_flags, *data.class_flags]
    return Stage(
        name='CRF',
        command=('crf_vocspsm.py', *flags),
        reads=(score_maps, data.val_list, *data.class_files),
        output=out,
        work=Refinement(data.val_list, has_tags=False),
    )


def select(
    name: str,
    data: DataPaths,
    settings: RoundSettings,
    masks: Path,
    out: Path,
    table: Path | None = None,
) -> Stage:
    """The stage that lists the best masks; table: of their quality, if not that beside them."""
    table = table or masks / TABLE
    flags = as_flags(
        masks=masks,
        table=table,
        out=out,
        measure=settings.measure,
        fraction=settings.fraction,
        class_minimum=settings.class_minimum,
    )
    return Stage(
        name=f'{name} select',
        command=('-m', 'selection.select_masks', *image_flags(data), *flags),
        reads=(*image_files(data), masks, table),
        output=out,
    )


def keep_all(name: str, data: DataPaths, masks: Path, out: Path) -> Stage:
    """The stage that lists every mask of a folder."""
    flags = as_flags(masks=masks, out=out)
    return Stage(
        name=f'{name} keep all',
        command=('-m', 'selection.select_masks', *image_flags(data), *flags),
        reads=(*image_files(data), masks),
        output=out,
    )


def file_of(checkpoint: Path) -> Path:
    """The file that a change of a checkpoint shows in: its index holds checksums.

    checkpoint: its prefix, or a V1 file.
    """
    index = checkpoint.with_name(f'{checkpoint.name}.index')
    return index if index.exists() else checkpoint


def image_flags(data: DataPaths) -> list[str]:
    """The flags that name the training images, their tags and the classes."""
    flags = as_flags(data_dir=data.data_dir, data_list=data.train_list, tags=data.tags)
    return flags + data.class_flags


def image_files(data: DataPaths) -> tuple[Path, ...]:
    """What image_flags name, but for the images themselves.

    Tags may be a folder with a folder for each class; those count one by one.
    """
    folders = sorted(path for path in data.tags.glob('[!.]*') if path.is_dir())
    return (data.train_list, data.tags, *folders, *data.class_files)


def samples_in(image_list: Path, data_dir: Path) -> list[Sample]:
    """The samples of a list; none where a stage has yet to make it."""
    return read_list(image_list, data_dir) if image_list.is_file() else []


def masks_in(image_list: Path, data_dir: Path) -> tuple[Path, ...]:
    """The masks that a list names, as samples_in."""
    samples = samples_in(image_list, data_dir)
    return tuple(sample.mask for sample in samples if sample.mask is not None)

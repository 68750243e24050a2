"""What the rounds are set to, and where their data is."""

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from deeplablib.data.classes import read_classes
from deeplablib.data.voc import CLASSES
from deeplablib.prediction import crf
from deeplablib.training.training_settings import TrainingSettings, changed_by
from deeplablib.utils.errors import InputError
from selection.select_masks import CLASS_MINIMUM, FRACTION, MEASURE


@dataclass(frozen=True)
class DataPaths:
    """Where everything is; absolute paths, None for what there is not.

    data_dir: the folder that lists start from. train_list, val_list: lists of images.
    val_masks: folder of the true masks of val_list, if there is one.
    tags, cues, saliency: of the training images.
    init: the initial checkpoint. imagenet: the one that the classifier of tags starts from.
    classes: file of the classes' names; None: VOC's.
    photographs: folder of somebody's own, of which data_dir is to hold smaller copies.
    """

    data_dir: Path
    train_list: Path
    val_list: Path | None
    val_masks: Path
    tags: Path
    init: Path
    imagenet: Path | None = None
    cues: Path | None = None
    saliency: Path | None = None
    classes: Path | None = None
    photographs: Path | None = None

    @property
    def class_flags(self) -> list[str]:
        """The flags that name the classes."""
        return ['--classes', str(self.classes)] if self.classes else []

    @property
    def class_files(self) -> tuple[Path, ...]:
        """What class_flags name."""
        return (self.classes,) if self.classes else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, background first."""
        return read_classes(self.classes) if self.classes else CLASSES


@dataclass(frozen=True)
class RoundSettings:
    """How the rounds are run.

    classifier_flags: of selection.train_classifier, where cues are made from the tags.
    training: of each round; the stages fill in data, initial checkpoint and folder.
    named_flags: the settings of training that its command line names; the others have the defaults
    of main.py. train_flags: further flags of main.py, as they were typed; they come last.
    prediction_script: the script that predicts with the network. single_scale: refined masks come
    from one scale; single_scale_at_last: the last numbers do. crf_flags: of selection.refine_masks
    and crf_vocspsm.py. candidates: whether the rounds choose between the refined mask and the proxy
    annotation of each image; then they measure agreement.
    measure, fraction, class_minimum: of the mask selection.
    """

    training: TrainingSettings
    named_flags: tuple[str, ...]
    prediction_script: str
    train_flags: tuple[str, ...] = ()
    single_scale: bool = False
    single_scale_at_last: bool = False
    crf_flags: tuple[str, ...] = ()
    candidates: bool = False
    measure: str = MEASURE
    fraction: float = FRACTION
    class_minimum: float = CLASS_MINIMUM
    classifier_flags: tuple[str, ...] = ()


def train_flags_of(text: str, training: TrainingSettings) -> tuple[str, ...]:
    """The flags of main.py that --train-flags gives as one word.

    training: the settings that they change.
    Raises InputError for one that no training has, or of no legal value.
    """
    words = flags_of('--train-flags', text)
    try:
        changed_by(words, training)
    except InputError as error:
        raise InputError(f'--train-flags {text}: {error}') from None
    return words


def crf_flags_of(text: str) -> tuple[str, ...]:
    """The flags of the CRF that --crf-flags gives as one word.

    Raises InputError for one that the CRF does not have, or of no legal value.
    """
    words = flags_of('--crf-flags', text)
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    crf.add_arguments(parser)
    try:
        args, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise InputError(f'--crf-flags {text}: {error}') from None
    if unknown:
        raise InputError(f'--crf-flags {text}: the CRF has no flag {unknown[0]}')
    crf.parameters_from(args)
    return words


def flags_of(name: str, text: str) -> tuple[str, ...]:
    """The flags that are given as one word; name: of the flag that gives them."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f'{name} {text}: {error}') from None

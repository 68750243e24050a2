"""The steps of the method as commands of one run, each with the flags that it is called with.

reproduce.py puts them in order: cues from tags, proxy annotations from cues, and the rounds.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from deeplab_efficientnet import settings as lite0
from deeplab_resnet import settings as resnet
from deeplab_vgg import settings as vgg
from deeplablib.data.classes import read_classes
from deeplablib.data.image_lists import read_list
from deeplablib.data.voc import CLASSES
from deeplablib.prediction import crf
from deeplablib.utils.errors import InputError
from deeplablib.utils.stages import ROOT, Stage, make_stage
from selection.mask_quality import TABLE

Flags = dict[str, Any]  # from name to value; stages.make_stage says what becomes of them
MAX_TO_KEEP = 2  # checkpoints of a training: one of ResNet-101 takes 0.35 GB

# By the name of the settings: the network's package, flags of main.py and of
# selection.train_classifier, and whether the training images are labelled at a single scale.
SETTINGS: dict[str, tuple[ModuleType, Flags, Flags, bool]] = {
    'resnet': (resnet, resnet.TRAINING, resnet.CLASSIFIER, False),
    'vgg': (vgg, vgg.TRAINING, vgg.CLASSIFIER, False),
    'small': (vgg, vgg.LAPTOP_TRAINING, vgg.LAPTOP_CLASSIFIER, True),
    'photos_vgg': (vgg, vgg.PHOTOS_TRAINING, vgg.PHOTOS_CLASSIFIER, False),
    'lite0': (lite0, lite0.TRAINING, lite0.CLASSIFIER, True),
    'photos': (lite0, lite0.TRAINING, lite0.CLASSIFIER, True),
    'photos_small': (vgg, vgg.LAPTOP_TRAINING, vgg.LAPTOP_CLASSIFIER, True),
}


@dataclass
class Run:
    """A run's commands, and what they have in common. Paths are absolute.

    Each method adds the command of a step, and returns the file or folder that the step makes.
    images: flags that name the training images: data_dir, data_list, tags, classes.
    training: flags of main.py but for the list and the folder of a training.
    prediction_script: of the network. classifier: flags of selection.train_classifier.
    proxies: flags of selection.make_proxies, for cues that the run makes itself.
    val_list: of the validation images; None: there are none. val_masks: their true masks.
    single_scale: whether the training images are labelled at one scale, not three.
    train_words, crf_words, classifier_words: further flags of main.py, of the CRF and of
    selection.train_classifier, as they were typed.
    stages: the commands, in their order.
    """

    images: Flags
    training: Flags
    prediction_script: str
    classifier: Flags = field(default_factory=dict)
    proxies: Flags = field(default_factory=dict)
    val_list: Path | None = None
    val_masks: Path = Path()
    single_scale: bool = False
    train_words: Sequence[str] = ()
    crf_words: Sequence[str] = ()
    classifier_words: Sequence[str] = ()
    stages: list[Stage] = field(default_factory=list)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, background first."""
        classes = self.images.get('classes')
        return read_classes(str(classes)) if classes else CLASSES

    @property
    def propagates_cues(self) -> bool:
        """Whether the run makes its cues itself and propagates them: only such have `proxies`."""
        return bool(self.proxies)

    def add(
        self,
        script: str,
        flags: Flags,
        output: str = 'out',
        words: Sequence[str] = (),
        reads: Sequence[Path] = (),
    ) -> Path:
        """Add a command; arguments as for stages.make_stage. Returns its output."""
        self.stages.append(make_stage(script, flags, output, words, reads))
        return self.stages[-1].output

    def train_classifier(self, imagenet: Path, out: Path) -> Path:
        """Train the classifier of tags, from the weights of ImageNet."""
        start = {'encoder_name': self.training['encoder_name'], 'pretrain_file': imagenet}
        flags = self.images | start | {'out': out} | self.classifier
        return self.add('selection.train_classifier', flags, words=self.classifier_words)

    def make_cams(self, classifier: Path, out: Path) -> Path:
        """Make localization cues: the class activation maps of a classifier of tags."""
        flags = self.images | {'restore_from': classifier, 'out': out, 'resume': True}
        return self.add('selection.make_cams', flags)

    def make_proxies(self, cues: Path, saliency: Path | None, out: Path) -> Path:
        """Make the proxy annotations."""
        flags = {'cues': cues, 'saliency': saliency, 'out': out, 'resume': True}
        return self.add('selection.make_proxies', self.images | flags | self.proxies)

    def train(self, train_list: Path, out: Path, given: bool = False) -> Path:
        """Train the network from the initial checkpoint. Returns the folder of the model.

        given: the list is somebody's own: the masks that it names are inputs, too.
        """
        flags = self.training | {'data_list': train_list, 'modeldir': out}
        samples = read_list(train_list, str(flags['data_dir'])) if given else []
        folders = dict.fromkeys(sample.mask.parent for sample in samples if sample.mask)
        words = self.train_words
        return self.add('main.py', {'option': 'train', **flags}, 'modeldir', words, list(folders))

    def predict(self, model: Path, image_list: object, out: Path, **flags: object) -> Path:
        """Label a list with the newest checkpoint of a model; flags: of the prediction script."""
        start = {'data_dir': self.images['data_dir'], 'data_list': image_list}
        flags = start | {'restore_from': model, 'save_dir': out, 'resume': True} | flags
        if self.training.get('precision', 'float32') != 'float32':
            flags['precision'] = self.training['precision']
        return self.add(self.prediction_script, flags, 'save_dir')

    def predict_training_images(self, model: Path, out: Path, single_scale: bool) -> Path:
        """Label the training images, each restricted to its tags. Returns the score maps."""
        scores, tags = out / 'scores', self.images['tags']
        self.predict(
            model,
            self.images['data_list'],
            out,
            save_scores=scores,
            tags=tags,
            single_scale=single_scale,
        )
        return scores

    def evaluate(self, predictions: Path, out: Path) -> Path:
        """Write the IoU of predictions of the validation images, JSON."""
        flags = {'pred': predictions, 'gt': self.val_masks, 'list': self.val_list, 'json': out}
        return self.add('eval_iou.py', flags | {'classes': self.images.get('classes')}, 'json')

    def validate(self, model: Path, out: Path) -> None:
        """Label the validation images, if any, at one scale, and evaluate: OUT.json has the IoU."""
        if self.val_list is None:
            return
        self.predict(model, self.val_list, out, single_scale=True)
        self.evaluate(out, out.with_suffix('.json'))

    def refine_masks(self, score_maps: Path, out: Path) -> Path:
        """Make the refined masks of the training images: the CRF's labels of their score maps."""
        flags = self.images | {'scores': score_maps, 'out': out, 'resume': True}
        return self.add('selection.refine_masks', flags, words=self.crf_words)

    def apply_crf(self, score_maps: Path, out: Path) -> Path:
        """Run the CRF over the score maps of the validation images."""
        start = {'scores': score_maps, 'data_dir': self.images['data_dir']}
        flags = start | {'data_list': self.val_list, 'save_dir': out, 'resume': True}
        flags['classes'] = self.images.get('classes')
        return self.add('crf_vocspsm.py', flags, 'save_dir', self.crf_words)

    def select_pixels(self, masks: Path, out: Path, **flags: object) -> Path:
        """Ignore the pixels of masks that are not sure; flags: scores and threshold, agree_with."""
        return self.add(
            'selection.select_pixels', self.images | {'masks': masks, **flags, 'out': out}
        )

    def choose_candidates(self, masks: Sequence[Path], score_maps: Path, out: Path) -> Path:
        """Choose the mask of each image that agrees best with the network; masks: folders."""
        flags = {'masks': tuple(masks), 'scores': score_maps, 'out': out, 'resume': True}
        return self.add('selection.choose_candidates', self.images | flags)

    def select_masks(
        self,
        masks: Path,
        out: Path,
        table: Path | None = None,
        measure: str | None = None,
        fraction: float | None = None,
    ) -> Path:
        """List the masks of the best quality.

        table: of their quality, if not that beside them.
        measure, fraction: None: the default of the step.
        """
        flags: Flags = {'masks': masks, 'table': table or masks / TABLE, 'out': out}
        flags |= {'measure': measure, 'fraction': fraction}
        return self.add('selection.select_masks', self.images | flags)

    def list_masks(self, masks: Path, out: Path) -> Path:
        """List every mask of a folder."""
        return self.add('selection.select_masks', self.images | {'masks': masks, 'out': out})


def new_run(
    name: str,
    images: Flags,
    init: Path,
    seed: int,
    val_list: Path | None = None,
    val_masks: Path = Path(),
    changes: Flags | None = None,
    proxies: Flags | None = None,
    **words: Sequence[str],
) -> Run:
    """A run without commands, with the settings of a name of SETTINGS.

    images, val_list, val_masks, words: as of Run. init: the initial checkpoint. seed: of every
    training. changes: flags of main.py instead of the settings; width and precision are the
    classifier's, too. proxies: as of Run.
    """
    package, training, classifier, single_scale = SETTINGS[name]
    start: Flags = {'encoder_name': package.ENCODER_NAME, 'pretrain_file': init}
    start |= {'data_dir': images['data_dir'], 'classes': images.get('classes')}
    seeded: Flags = {'random_seed': seed}
    changes = changes or {}
    of_both = {name: changes[name] for name in ('width', 'precision') if name in changes}
    return Run(
        images=images,
        training=start | training | seeded | {'max_to_keep': MAX_TO_KEEP} | changes,
        prediction_script=package.PREDICTION_SCRIPT,
        classifier=classifier | seeded | of_both,
        proxies=proxies or {},
        val_list=val_list,
        val_masks=val_masks,
        single_scale=single_scale,
        **words,  # type: ignore[arg-type]
    )


def find_voc(
    data_dir: str, dataset: str, tags: str | None = None, classes: str | None = None
) -> tuple[dict[str, Any], dict[Path, str]]:
    """Find PASCAL VOC, or a data set in its form.

    dataset: folder of train.txt, val.txt, and of tags.txt where no tags are named.
    Returns images, val_list and val_masks of new_run, and of each path what to do where it is not
    there. Raises InputError when the validation list names no masks.
    """
    lists = 'make it with: python -m deeplablib.data.prepare_voc VOCROOT'
    folder, lists_folder = absolute(data_dir), absolute(dataset)
    train_list, val_list = lists_folder / 'train.txt', lists_folder / 'val.txt'
    tags_path = absolute(tags or lists_folder / 'tags.txt')
    images = {'data_dir': str(folder), 'data_list': train_list, 'tags': tags_path}
    needed = {folder: 'set DATA_DIRECTORY or --data-dir'}
    needed |= dict.fromkeys((train_list, val_list, tags_path), lists)
    if classes:
        images['classes'] = absolute(classes)
        needed[absolute(classes)] = 'a text file, a name a line'
    val_masks = folder / 'SegmentationClassAug'
    if val_list.exists():
        mask = read_list(val_list, folder)[0].mask
        if mask is None:
            raise InputError(f'{val_list}: names no masks; {lists}')
        val_masks = mask.parent.resolve()
    return {'images': images, 'val_list': val_list, 'val_masks': val_masks}, needed


def absolute(path: str | Path) -> Path:
    """A path that a user gave, made absolute."""
    return Path(path).resolve()


def missing(needed: dict[Path, str]) -> list[str]:
    """A line about each path that is not there: files, folders and prefixes of checkpoints.

    needed: dict from path to what to do where it is not there.
    """
    return [
        f'{path}: not there; {remedy}'
        for path, remedy in needed.items()
        if not path.exists() and not path.with_name(f'{path.name}.index').exists()
    ]


def read_words(flag: str, text: str) -> list[str]:
    """The flags that a flag gives as one text. Raises InputError for what no shell could read."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f'{flag} {text}: {error}') from None


def read_crf_words(text: str) -> list[str]:
    """The flags of the CRF that --crf-flags gives.

    Raises InputError for one that the CRF does not have, or of no legal value: it is needed hours
    later.
    """
    words = read_words('--crf-flags', text)
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


def check_train_words(words: Sequence[str]) -> None:
    """Raise InputError for a flag that main.py does not have, or of no legal value.

    It would show hours later. Another process looks, because TensorFlow would stay in the memory
    of this one.
    """
    if not words:
        return
    look = (
        'import sys, main; from deeplablib.utils import absl_flags, errors;'
        'errors.run_script(absl_flags.parse, main.FLAGS, sys.argv)'
    )
    command = [sys.executable, '-c', look, *words]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1].removeprefix('error: ')
        raise InputError(f'--train-flags {shlex.join(words)}: {reason}')

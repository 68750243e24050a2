"""Validation while a network trains: how good it is on some images, and its best checkpoint."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deeplablib.data.image_lists import Sample
from deeplablib.data.images import read_image
from deeplablib.data.masks import read_mask
from deeplablib.data.network_input import load_image
from deeplablib.data.score_maps import image_probabilities
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.prediction.crf import crf_labels
from deeplablib.prediction.metrics import agreement, confusion_matrix, mean_iou
from deeplablib.prediction.multi_scale import SINGLE_SCALE, make_predictor
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import RunLog, cut_log, read_log
from deeplablib.training.training_run import CHECKPOINT
from deeplablib.utils.progress import progress
from deeplablib.weights import checkpoints

BEST = f'{CHECKPOINT}-best'
VALIDATIONS = 'validation.txt'
MEASURES = ('mean_iou', 'crf_agreement')


class Validation:
    """The validation of a run, which may have been stopped before and goes on.

    It leaves modeldir/validation.txt, a line 'step, value' each time, and modeldir/model.ckpt-best,
    the weights with the highest value.
    """

    def __init__(
        self,
        trainer: Trainer,
        network: NetworkSpec,
        measure: Callable,
        every: int,
        modeldir: str | Path,
        log: RunLog,
        first_step: int,
    ) -> None:
        """Take what was measured before first_step; what comes after it is measured again.

        network: of the trainer. measure: function of a `predict` (image to labels and score map) to
        a number, the higher the better (measure_of). every: steps from one to the next. modeldir:
        folder of the checkpoints.
        """
        self._network, self._trainer, self._measure, self._log = network, trainer, measure, log
        predict = make_predictor(
            trainer.model, network.to_score_map, SINGLE_SCALE, trainer.batches.img_mean
        )
        every_class = np.ones(trainer.model.output.shape[-1], bool)
        self._predict = lambda image: predict(image, every_class)
        self._every, self._last = every, trainer.settings.num_steps
        self._modeldir, self._file = Path(modeldir), Path(modeldir) / VALIDATIONS
        cut_log(self._file, first_step)
        earlier = read_log(self._file)[1] if self._file.is_file() else []
        self._best = max((value for value in earlier if not math.isnan(value)), default=-math.inf)

    def __call__(self, step: int) -> None:
        """Measure the network after a step, where it is due, and keep it if it is the best."""
        if step == 0 or step % self._every and step != self._last:
            return
        if not self._trainer.is_finite():
            return  # the run ends at its next step or save, and says why
        value = float(self._measure(self._predict))
        is_best = value > self._best
        if is_best:
            self._best = value
            variables = self._network.variables(self._trainer.model)
            checkpoints.write(self._modeldir / BEST, variables, newest=False)
        best = 'the best so far' if is_best else f'the best is {self._best:.4f}'
        with self._file.open('a') as file:
            file.write(f'{step}, {value!r}\n')
        self._log.add_value(step, 'validation', value)
        print(f'step {step}: validation {value:.4f}, {best}', flush=True)


def measure_of(
    name: str, samples: Sequence[Sample], num_classes: int, ignore_label: int, score_map_kind: str
) -> Callable:
    """What is measured on some samples: a function of a `predict` as above.

    name: of MEASURES; num_classes and ignore_label are those of the masks.
    score_map_kind: NetworkSpec.score_map_kind.
    """
    masks: dict[str, Any] = {
        'samples': samples,
        'num_classes': num_classes,
        'ignore_label': ignore_label,
    }
    if name == 'mean_iou':
        return partial(mean_iou_on, **masks)
    return partial(crf_agreement_on, **masks, kind=score_map_kind)


def mean_iou_on(
    predict: Callable, samples: Sequence[Sample], num_classes: int, ignore_label: int
) -> float:
    """The mean IoU on samples with masks, 0 to 1.

    predict: image to labels and score map. num_classes, ignore_label: of the masks.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for sample in progress(samples, len(samples), 'validating'):
        labels, _ = predict(load_image(sample.image))
        truth = read_mask(sample.mask, num_classes, labels.shape, ignore_label)
        confusion += confusion_matrix(truth, labels.numpy(), num_classes)
    return mean_iou(confusion)


def crf_agreement_on(
    predict: Callable, samples: Sequence[Sample], num_classes: int, ignore_label: int, kind: str
) -> float:
    """How far the labels agree with what the CRF makes of them: a signal without true masks.

    The mean over the images of metrics.agreement, with the classes of the mask that each is
    trained on; masks are read for nothing else.
    predict, samples, num_classes, ignore_label: as above. kind: NetworkSpec.score_map_kind.
    Returns 0 to 1.
    """
    values = []
    for sample in progress(samples, len(samples), 'validating'):
        image = read_image(sample.image)
        _, score_map = predict(image)
        mask = read_mask(sample.mask, num_classes, image.shape[:2], ignore_label)
        allowed = np.isin(np.arange(num_classes), [0, *np.unique(mask)])
        probabilities = image_probabilities(score_map.numpy(), image.shape[:2], kind, allowed)
        labels = probabilities.argmax(-1).astype(np.uint8)
        values.append(agreement(labels, crf_labels(image, probabilities), allowed))
    return float(np.mean(values))

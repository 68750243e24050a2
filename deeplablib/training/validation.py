"""Validation while a network trains: how good it is on some images, and its best checkpoint."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import Sample
from deeplablib.data.masks import read_mask
from deeplablib.data.network_input import load_image
from deeplablib.prediction.metrics import confusion_matrix, mean_iou
from deeplablib.prediction.multi_scale import SINGLE_SCALE, make_predictor
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import cut_log, read_log
from deeplablib.utils.progress import progress
from deeplablib.weights import checkpoints

VALIDATIONS = 'validation.txt'


class Validation:
    """The validations of a run, which may have been stopped before and goes on.

    They leave modeldir/validation.txt, a line 'step, value' each time, and the weights with the
    highest value, modeldir/model.ckpt-best.
    """

    def __init__(
        self, trainer: Trainer, measure: Callable, modeldir: Path, first_step: int
    ) -> None:
        """Take what was measured before first_step; what comes after it is measured again.

        measure: function without arguments that gives a number, the higher the better. modeldir:
        folder of the checkpoints.
        """
        self._trainer, self._measure = trainer, measure
        self._best_prefix, self._file = modeldir / 'model.ckpt-best', modeldir / VALIDATIONS
        cut_log(self._file, first_step)
        self._steps, values = read_log(self._file) if self._file.is_file() else ([], [])
        self._best = max((value for value in values if not math.isnan(value)), default=-math.inf)

    def is_due(self, step: int) -> bool:
        """Whether the network is to be measured after a step, and has not been."""
        settings = self._trainer.settings
        of_interval = step % settings.valid_every == 0 or step == settings.num_steps
        return step > 0 and of_interval and step not in self._steps

    def __call__(self, step: int) -> float:
        """Measure the network after a step, and keep it if it is the best. Returns the value."""
        value = float(self._measure())
        is_best = value > self._best
        if is_best:
            self._best = value
            variables = self._trainer.network.variables(self._trainer.model)
            checkpoints.write(self._best_prefix, variables, newest=False)
        with self._file.open('a') as file:
            file.write(f'{step}, {value!r}\n')
        self._steps.append(step)
        best = 'the best so far' if is_best else f'the best is {self._best:.4f}'
        print(f'step {step}: validation {value:.4f}, {best}', flush=True)
        return value


def mean_iou_measure(trainer: Trainer, samples: Sequence[Sample]) -> Callable[[], float]:
    """The function that gives the mean IoU of a network in training on samples with masks."""
    num_classes = trainer.model.output.shape[-1]
    ignore_label = trainer.settings.ignore_label
    predict = make_predictor(
        trainer.model, trainer.network.to_score_map, SINGLE_SCALE, trainer.img_mean
    )

    def measure():
        confusion = np.zeros((num_classes, num_classes), np.int64)
        for sample in progress(samples, len(samples), 'validating'):
            labels, _ = predict(load_image(sample.image), np.ones(num_classes, bool))
            truth = read_mask(sample.mask, num_classes, labels.shape, ignore_label)
            confusion += confusion_matrix(truth, labels.numpy(), num_classes)
        return mean_iou(confusion)

    return measure

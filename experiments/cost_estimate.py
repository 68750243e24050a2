"""What a run will take: time on this machine, and room on its disk. An estimate.

The arithmetic of the networks is counted, and divided by the rate of a matrix product measured here
times the part of it that the networks reached where both were measured. What is small (generated
data, lists, evaluation) is left out.
"""

import contextlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import joblib
import numpy as np

from deeplablib.data.image_headers import image_size
from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.network.flops import FROZEN_TRAINING, TRAINING, forward_flops, matmul_rate
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE
from deeplablib.training.training_settings import ENCODER_LEVELS
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.stages import Stage
from selection import make_cams, train_classifier
from selection.rounds.round_stages import (
    CamMaking,
    Prediction,
    ProxyMaking,
    Refinement,
    TagTraining,
    Training,
)

# Of the rate of a matrix product, measured on two cores with AVX-512: a training step of two crops
# reached 0.51 (ResNet-101) and 0.64 (VGG16) of it, a prediction 0.80 and 0.70.
TRAINING_REACHES, PREDICTION_REACHES = 0.5, 0.7
START_SECONDS = 15  # to import TensorFlow and to trace a network, measured there too
# Of one core for a photograph of 500x375, measured there: 21 classes, and an image's two or three.
CRF_SECONDS, TAGGED_CRF_SECONDS = 0.7, 0.3
PHOTOGRAPH = (375, 500)  # height, width of most images of VOC
FLOAT16_BYTES = 2
MASK_BYTES = 8192  # VOC's own masks take 5 KB in the mean, and file systems whole blocks
CUES_BYTES = 2 * 28672  # an image of VOC has one or two tags, and a cue takes 28 KB


@dataclass(frozen=True)
class Cost:
    """What a stage takes: operations by kind, seconds of one core in the CRF, bytes on the disk."""

    training: float = 0
    prediction: float = 0
    crf: float = 0
    starts: int = 0
    bytes: float = 0

    def __add__(self, other: 'Cost') -> 'Cost':
        names = [field.name for field in fields(self)]
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in names})


def estimate(
    stages: Sequence[Stage],
    model: keras.Model,
    counts: Mapping[Path, int],
    size: tuple[int, int] = PHOTOGRAPH,
    tag_classifier: keras.Model | None = None,
) -> Cost:
    """What stages take together.

    model: the network that they train. counts: images of each list; a list that is not in it counts
    nothing. size: height and width of the images. tag_classifier: the network that cues come from,
    where stages make them.
    """
    flops = cache(lambda height, width: forward_flops(model, height, width))
    tag_flops = cache(lambda height, width: forward_flops(tag_classifier, height, width))
    total = Cost()
    for stage in stages:
        work = stage.work
        if isinstance(work, Training):
            total += _training(work.settings, model, flops)
        elif isinstance(work, TagTraining):
            total += _tag_training(
                train_classifier.get_arguments(work.flags), tag_classifier, tag_flops
            )
        elif isinstance(work, CamMaking):
            images = counts.get(work.image_list, 0)
            scales = make_cams.get_arguments(work.flags).scales
            mirrored_too = 2 * _flops_of_scales(size, scales, tag_flops)
            total += Cost(prediction=images * mirrored_too, starts=1, bytes=images * CUES_BYTES)
        elif isinstance(work, Prediction):
            images, classes = counts.get(work.image_list, 0), model.output.shape[-1]
            total += _prediction(work, images, size, classes, flops)
        elif isinstance(work, Refinement):
            images = counts.get(work.image_list, 0)
            seconds = TAGGED_CRF_SECONDS if work.has_tags else CRF_SECONDS
            seconds *= math.prod(size) / math.prod(PHOTOGRAPH)
            total += Cost(crf=images * seconds, bytes=images * MASK_BYTES)
        elif isinstance(work, ProxyMaking):
            images = counts.get(work.image_list, 0)
            seconds = 2 * TAGGED_CRF_SECONDS if work.by_crf else 0.0
            seconds *= math.prod(size) / math.prod(PHOTOGRAPH)
            total += Cost(crf=images * seconds, bytes=images * MASK_BYTES)
    return total


def mean_size(images: Sequence[str | Path]) -> tuple[int, int]:
    """The mean (height, width) of the images that can be read, rounded; PHOTOGRAPH where none can.

    images: paths. What is wrong with an image is not for an estimate to say.
    """
    sizes = []
    for image in images:
        with contextlib.suppress(InputError):
            sizes.append(image_size(image))
    if not sizes:
        return PHOTOGRAPH
    height, width = np.mean(sizes, axis=0).round()
    return int(height), int(width)


def _training(settings, model, flops):
    steps = settings.num_steps + 1
    crop = settings.input_height, settings.input_width
    scales = SCALES if settings.msc else SINGLE_SCALE
    images = steps * settings.batch_size * settings.grad_update_every
    saved = {*range(0, steps, settings.save_interval), settings.num_steps}
    kept = len(saved)
    if settings.max_to_keep:
        kept = min(kept, settings.max_to_keep)
    weights = [*model.weights, *model.trainable_weights]  # these have a momentum
    return Cost(
        training=_passes(settings.frozen) * images * _flops_of_scales(crop, scales, flops),
        starts=1,
        bytes=kept * sum(4 * math.prod(w.shape) for w in weights),
    )


def _tag_training(args, model, flops):
    """The cost of a classifier of tags."""
    images = (args.num_steps + 1) * args.batch_size
    weights = [*model.weights, *model.trainable_weights]
    return Cost(
        training=_passes(args.frozen) * images * flops(args.crop_size, args.crop_size),
        starts=1,
        bytes=train_classifier.CHECKPOINTS_KEPT * sum(4 * math.prod(w.shape) for w in weights),
    )


def _passes(frozen):
    """A step's cost over the forward pass's; counted as if all learnt where some of it does."""
    return FROZEN_TRAINING if frozen == ENCODER_LEVELS else TRAINING


def _prediction(work, images, size, classes, flops):
    scales = SINGLE_SCALE if work.single_scale else SCALES
    image_bytes = MASK_BYTES
    if work.saves_score_maps:
        image_bytes += math.prod(-(-n // OUTPUT_STRIDE) for n in size) * classes * FLOAT16_BYTES
    return Cost(
        prediction=images * _flops_of_scales(size, scales, flops),
        starts=1,
        bytes=images * image_bytes,
    )


def _flops_of_scales(size, scales, flops):
    return sum(flops(*(int(n * scale) for n in size)) for scale in scales)


def estimate_text(cost: Cost, precision: str, folder: Path) -> str:
    """A Cost as lines of text for a person, on this machine.

    precision: of the rounds, 'float32' or 'bfloat16'. folder: where it will go.
    """
    rate = matmul_rate(precision)
    cores = joblib.cpu_count()
    seconds = {
        'training': cost.training / (TRAINING_REACHES * rate),
        'prediction': cost.prediction / (PREDICTION_REACHES * rate),
        'CRF': cost.crf / cores,
        'starting': cost.starts * START_SECONDS,
    }
    amounts = {
        'training': f'{_unit(cost.training)}FLOP',
        'prediction': f'{_unit(cost.prediction)}FLOP',
        'CRF': f'{cost.crf / 3600:.1f} core hours',
        'starting': f'{cost.starts} times',
    }
    while not folder.exists():
        folder = folder.parent
    device = 'the GPU' if tf.config.list_physical_devices('GPU') else f'{cores} cores'
    return '\n'.join(
        [
            'An estimate of what is to do, from the operations of the networks and the rate of',
            f'matrix products on {device} (measured just now: {_unit(rate)}FLOP/s):',
            *(f'  {kind:<11} {amounts[kind]:>17}  {_time(seconds[kind])}' for kind in seconds),
            f'  {"together":<29}  {_time(sum(seconds.values()))}',
            f'  disk {_unit(cost.bytes) + "B":>24}  of {_unit(shutil.disk_usage(folder).free)}B '
            f'that are free at {folder}',
        ]
    )


def _unit(number):
    for prefix in ('', 'k', 'M', 'G', 'T', 'P', 'E'):
        if number < 1000:
            return f'{number:.3g} {prefix}'
        number /= 1000
    return f'{number:.0f} Z'


def _time(seconds):
    for unit, length in (('days', 86400), ('h', 3600), ('min', 60)):
        if seconds >= 2 * length:
            return f'{seconds / length:.1f} {unit}'
    return f'{seconds:.0f} s'

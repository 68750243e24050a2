"""What a run will take: time on this machine, and room on its disk. An estimate.

The arithmetic of the networks is counted, and divided by the rate of a matrix product measured here
times the part of it that the networks reached where both were measured. What is small (drawing,
lists, evaluation) is left out.
"""

import math
import shutil
from dataclasses import dataclass
from functools import cache

import joblib

from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.data.voc import NUM_CLASSES
from deeplablib.network.flops import TRAINING, forward_flops, matmul_rate
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE
from deeplablib.run.backend import tf

# Of the rate of a matrix product, measured on two cores with AVX-512: a training step of two crops
# reached 0.51 (ResNet-101) and 0.64 (VGG16) of it, a prediction 0.80 and 0.70.
TRAINING_REACHES, PREDICTION_REACHES = 0.5, 0.7
START_SECONDS = 15  # to import TensorFlow and to trace a network, measured there too
# Of one core for a photograph of 500x375, measured there: 21 classes, and an image's two or three.
CRF_SECONDS, TAGGED_CRF_SECONDS = 0.7, 0.3
PHOTOGRAPH = (375, 500)  # height, width of most images of VOC
MASK_BYTES = 8192  # VOC's own masks take 5 KB in the mean, and file systems whole blocks


@dataclass(frozen=True)
class Cost:
    """What a stage takes: operations by kind, seconds of one core in the CRF, bytes on the disk."""

    training: float = 0
    prediction: float = 0
    crf: float = 0
    starts: int = 0
    bytes: float = 0

    def __add__(self, other):
        return Cost(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


def estimate(stages, model, counts, read_flags, size=PHOTOGRAPH):
    """What stages take together.

    stages: list of Stage (selection.rounds). model: the network that they train. counts: dict from
    the path of a list, str, to its number of images. read_flags: turns a command of main.py into
    its flags. size: height and width of the images.
    Returns a Cost.
    """
    flops = cache(lambda height, width: forward_flops(model, height, width))

    def one(stage):
        flags = [str(word) for word in stage.command]

        def images(flag='--data-list'):
            return counts.get(flags[flags.index(flag) + 1], 0)

        if flags[0] == 'main.py':
            return _training(read_flags(stage.command), model, flops)
        if flags[0].startswith('test_'):
            scales = SINGLE_SCALE if '--single-scale' in flags else SCALES
            scores = math.prod(-(-n // OUTPUT_STRIDE) for n in size) * NUM_CLASSES * 2  # float16
            return Cost(
                prediction=images() * sum(flops(*(int(n * s) for n in size)) for s in scales),
                starts=1,
                bytes=images() * (MASK_BYTES + scores * ('--save-scores' in flags)),
            )
        if flags[0] == 'crf_vocspsm.py' or flags[1] == 'selection.refine':
            seconds = TAGGED_CRF_SECONDS if '--tags' in flags else CRF_SECONDS
            seconds *= math.prod(size) / math.prod(PHOTOGRAPH)
            return Cost(crf=images() * seconds, bytes=images() * MASK_BYTES)
        if flags[1] == 'selection.proxies':
            return Cost(bytes=images() * MASK_BYTES)
        return Cost()

    return sum(map(one, stages), Cost())


def _training(flags, model, flops):
    steps = flags.num_steps + 1
    scales = SCALES if flags.msc else SINGLE_SCALE
    crop = flags.input_height, flags.input_width
    images = steps * flags.batch_size * flags.grad_update_every
    saved = flags.num_steps // flags.save_interval + 1 + bool(flags.num_steps % flags.save_interval)
    weights = [*model.weights, *model.trainable_weights]  # these have a momentum
    return Cost(
        training=TRAINING * images * sum(flops(*(int(n * s) for n in crop)) for s in scales),
        starts=1,
        bytes=min(saved, flags.max_to_keep or saved) * sum(4 * math.prod(w.shape) for w in weights),
    )


def report(cost, precision, folder):
    """A Cost as lines of text for a person, on this machine.

    cost: Cost. precision: of the training, 'float32' or 'bfloat16'. folder: where it will go.
    """
    rate = matmul_rate()
    training_rate = rate if precision == 'float32' else matmul_rate(precision)
    cores = joblib.cpu_count()
    seconds = {
        'training': cost.training / (TRAINING_REACHES * training_rate),
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
    rates = f'{_unit(rate)}FLOP/s'
    if precision != 'float32':
        rates += f', {precision} {_unit(training_rate)}FLOP/s'
    return '\n'.join(
        [
            'An estimate of what is to do, from the operations of the networks and the rate of',
            f'matrix products on {device} (measured just now: {rates}):',
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

"""A training run: the loop around the step, which logs, saves and resumes."""

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeplablib.data.image_lists import Sample
from deeplablib.network.network_spec import NetworkSpec
from deeplablib.training.batches import raise_unreadable, samples_of_step
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import RunLog
from deeplablib.utils.backend import keras, tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.progress import progress
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import read_pretrained

CHECKPOINT = 'model.ckpt'


def is_leader(cluster_resolver: Any) -> bool:
    """Whether this process writes checkpoints and logs: one of all that train together does.

    cluster_resolver: of the strategy; None where there is only this process.
    """
    if cluster_resolver is None or cluster_resolver.task_id is None:
        return True
    has_chief = 'chief' in cluster_resolver.cluster_spec().jobs
    leader = ('chief' if has_chief else 'worker', 0)
    return (cluster_resolver.task_type, cluster_resolver.task_id) == leader


def restore_pretrained(
    network: NetworkSpec, model: keras.Model, path: str, classifier: str, restore_last: bool
) -> list[str]:
    """Load the initial weights of a run.

    model: made by it. path: the checkpoint; a last classifier that is not ours is passed over.
    classifier: variables with this in their name are left as they are, unless restore_last. From a
    tag classifier only the encoder is taken: it has no more.
    Returns the names of the encoder's and the head's variables that the checkpoint cannot give.
    Raises InputError when a variable is missing or has another shape, or a layer is one too many.
    """
    variables = network.variables(model)
    wanted = {n: v for n, v in variables.items() if restore_last or classifier not in n}
    values = read_pretrained(network, path, variables)
    fresh = []
    if network.tag_kernel in values and network.tag_kernel not in variables:
        fresh = [name for name in wanted if network.head in name]
        wanted = {name: v for name, v in wanted.items() if name not in fresh}
    checkpoints.assign({n: v for n, v in values.items() if n in wanted}, wanted, path)
    return fresh


def saved_steps(modeldir: str | Path) -> dict[int, Path]:
    """The checkpoints of a run: a dict from step to prefix, oldest first."""
    prefixes = {}
    for index in Path(modeldir).glob(f'{CHECKPOINT}-*.index'):
        match = re.fullmatch(rf'{re.escape(CHECKPOINT)}-(\d+)\.index', index.name)
        if match:
            prefixes[int(match[1])] = index.with_suffix('')
    return dict(sorted(prefixes.items()))


def resume(trainer: Trainer, modeldir: str | Path) -> int:
    """Go on from the newest whole checkpoint; one that cannot be read is passed over with a note.

    Returns the next step; 0 when there is no checkpoint. Raises InputError when it is of another
    network.
    """
    for step, prefix in reversed(saved_steps(modeldir).items()):
        try:
            values = checkpoints.read(prefix)
        except InputError as error:
            print(f'passed over a checkpoint: {error}')
            continue
        for name, variable in trainer.variables.items():
            if name.endswith('/Momentum') and name.removesuffix('/Momentum') in values:
                values.setdefault(name, np.zeros(variable.shape))  # of what was frozen before
        try:
            checkpoints.assign(values, trainer.variables, prefix)
        except InputError as error:
            raise InputError(
                f'{modeldir}: holds a training of another network, width or number of classes; '
                f'give this one a folder of its own. {error}'
            ) from None
        print(f'Restored model parameters from {prefix}')
        return step + 1
    return 0


def save(trainer: Trainer, modeldir: str | Path, step: int, max_to_keep: int) -> None:
    """Write a checkpoint, and remove the oldest beyond max_to_keep (0: keep all)."""
    checkpoints.write(Path(modeldir) / f'{CHECKPOINT}-{step}', trainer.variables)
    if max_to_keep:
        for prefix in list(saved_steps(modeldir).values())[:-max_to_keep]:
            checkpoints.remove(prefix)


def train(
    trainer: Trainer,
    samples: Sequence[Sample],
    first_step: int,
    modeldir: str | Path,
    log: RunLog | None,
    save_interval: int,
    max_to_keep: int,
    after_save: Callable[[int], None] | None = None,
    validate: Callable[[int], None] | None = None,
) -> None:
    """Run the steps from first_step to num_steps, inclusive.

    modeldir: folder of the checkpoints, one every save_interval steps and one at the end.
    log: RunLog, or None in a process that only helps another one (multiworker).
    after_save: function of the step, called after each save, or None.
    validate: function of the step, called after each and before it is saved, or None.
    Raises InputError when a sample cannot be read or the loss is not finite.
    """
    num_steps = trainer.settings.num_steps
    steps = range(first_step, num_steps + 1)
    batches = iter(trainer.distribute(samples, steps))
    status = {'note': ''}
    last = time.monotonic()
    with _saying_how_to_go_on(modeldir, save_interval):
        for step in progress(steps, len(steps), 'training', 'step', lambda: status['note']):
            try:
                images, labels = next(batches)
            except tf.errors.OpError:
                raise_unreadable(samples_of_step(step, samples, trainer.batches))
                raise
            loss, rate = map(float, trainer.step(images, labels, tf.constant(step, tf.int64)))
            saves = step % save_interval == 0 or step == num_steps
            if not np.isfinite(loss) or saves and not trainer.is_finite():
                _raise_diverged(step, loss, rate, samples_of_step(step, samples, trainer.batches))
            seconds = time.monotonic() - last
            status['note'] = f'loss {loss:.3f}, rate {rate:.3g}'
            if log is not None:
                log.add(step, loss, rate, trainer.batches.samples_a_step / seconds)
            if validate is not None:
                validate(step)
            if log is not None and saves:
                save(trainer, modeldir, step, max_to_keep)
                if trainer.tag_labels is None:
                    log.add_panel(step, trainer.panel(images, labels))
                if after_save is not None:
                    after_save(step)
            last = time.monotonic()


@contextlib.contextmanager
def _saying_how_to_go_on(modeldir, save_interval):
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f'interrupted; the same command goes on from the newest checkpoint in {modeldir}, '
            f'one every {save_interval} steps'
        ) from None


def _raise_diverged(step, loss, rate, samples):
    raise InputError(
        f'step {step}: training diverges, the loss is {loss} at learning rate {rate:.3g}; lower '
        'the learning rate, or look at the samples of this step: '
        + ', '.join(str(sample.image) for sample in samples)
    )

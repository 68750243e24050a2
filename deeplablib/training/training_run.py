"""A training run: begun or gone on with, its loop, its checkpoints."""

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import Sample
from deeplablib.training import devices
from deeplablib.training.batches import raise_unreadable, samples_of_step
from deeplablib.training.trainer import Trainer
from deeplablib.training.training_log import RunLog
from deeplablib.training.validation import VALIDATIONS, Validation
from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError, stop_requests, stopping_at_once
from deeplablib.utils.files import locked
from deeplablib.utils.progress import progress
from deeplablib.weights import checkpoints, settings_file
from deeplablib.weights.load_model import read_pretrained

CHECKPOINT = 'model.ckpt'


def train(
    trainer: Trainer,
    samples: Sequence[Sample],
    modeldir: Path,
    record: dict,
    measure: Callable[[], float] | None = None,
) -> None:
    """Run the steps up to num_steps, inclusive, from where an earlier run with this folder stopped.

    modeldir: an existing folder, for the checkpoints: one every save_interval steps, one at the end
    and one where the run is interrupted. record: what settings.json is to hold (make_settings).
    measure: function without arguments, the validation, called every valid_every steps; None: none.
    Raises InputError when a sample cannot be read, the loss is not finite, or an earlier run had
    other settings.
    """
    settings, strategy = trainer.settings, trainer.strategy
    leads = devices.is_leader(strategy.cluster_resolver)
    together = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    with locked(modeldir) if leads else contextlib.nullcontext():
        known = settings_file.read_settings(modeldir)
        if saved_steps(modeldir):
            record = settings_file.check_resume(modeldir, record, settings.resume_changed)
        if leads:
            checkpoints.remove_leftovers(modeldir, f'{CHECKPOINT}-*')
        first_step = resume(trainer, modeldir)
        if first_step == 0 and settings.pretrain_file:
            restore_pretrained(trainer, settings.pretrain_file, settings.restore_last)
        if together:
            devices.check_same_start(strategy, trainer, first_step)
        validation = None
        if leads and measure is not None:
            anew = validates_otherwise(modeldir, known, record)
            validation = Validation(trainer, measure, modeldir, 0 if anew else first_step)
        # Of a run that was stopped between its save and its validation.
        owed = validation if validation and validation.is_due(first_step - 1) else None
        if first_step > settings.num_steps and not owed:
            print(f'{modeldir}: step {first_step - 1} is there already, nothing is left to do')
            return
        log = None
        if leads:
            settings_file.write_settings(modeldir, record)
            logfile, logdir = settings.logfile or modeldir / 'log.txt', settings.logdir
            log = RunLog(logfile, logdir or modeldir / 'log', first_step)
            if owed:
                log.add_value(first_step - 1, 'validation', owed(first_step - 1))

        steps = range(first_step, settings.num_steps + 1)
        batches = iter(trainer.distribute(samples, steps))
        images_a_step = settings.batch_size * settings.grad_update_every
        status = {'note': ''}
        last = time.monotonic()
        with stop_requests() as stops:
            for step in progress(steps, len(steps), 'training', 'step', lambda: status['note']):
                try:
                    images, labels = next(batches)
                except tf.errors.OpError:
                    raise_unreadable(samples_of_step(step, samples, settings))
                    raise
                loss, rate = map(float, trainer.step(images, labels, tf.constant(step, tf.int64)))
                saves = step % settings.save_interval == 0 or step == settings.num_steps
                validates = validation and validation.is_due(step)
                if not np.isfinite(loss) or (
                    (saves or validates or stops) and not trainer.is_finite()
                ):
                    _raise_diverged(step, loss, rate, samples_of_step(step, samples, settings))
                status['note'] = f'loss {loss:.3f}, rate {rate:.3g}'
                if log is not None:
                    log.add(step, loss, rate, images_a_step / (time.monotonic() - last))
                    if saves:
                        save(trainer, modeldir, step, settings.max_to_keep)
                if log and validation and validates and not stops:
                    try:
                        with stopping_at_once():
                            log.add_value(step, 'validation', validation(step))
                    except KeyboardInterrupt as stop:  # the next run makes up for it
                        stops.append(type(stop))
                if stops:
                    if log is not None and not saves:
                        save(trainer, modeldir, step, settings.max_to_keep)
                    raise stops[0](
                        f'interrupted; step {step} is saved, the same command goes on from there '
                        f'({modeldir})'
                    )
                if log is not None and saves and trainer.tag_labels is None:
                    log.add_panel(step, trainer.panel(images, labels))
                last = time.monotonic()
        if together:
            # One that leaves while another still saves would be reported as failed.
            devices.gather(strategy, first_step)


def restore_pretrained(trainer: Trainer, path: str, restore_last: bool) -> None:
    """Load the initial weights of a run.

    path: the checkpoint; a last classifier that is not ours is passed over. restore_last: take the
    classifier too. From a tag classifier only the encoder is taken: it has no more.
    Raises InputError when a variable is missing or has another shape, or a layer is one too many.
    """
    network, variables = trainer.network, trainer.network.variables(trainer.model)
    classifier = trainer.recipe.classifier
    wanted = {n: v for n, v in variables.items() if restore_last or classifier not in n}
    values = read_pretrained(network, path, variables)
    fresh = []
    if network.tag_kernel in values and network.tag_kernel not in variables:
        fresh = [name for name in wanted if network.head in name]
        wanted = {name: v for name, v in wanted.items() if name not in fresh}
    checkpoints.assign({n: v for n, v in values.items() if n in wanted}, wanted, path)
    print(f'Restored model parameters from {path}')
    if fresh:
        print(f'note: this is a tag classifier; what it lacks starts anew: {", ".join(fresh)}')


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


def validates_otherwise(modeldir: Path, known: dict | None, record: dict) -> bool:
    """Whether the validations of a run, if it had any, were of other images; says so.

    known, record: settings.json as it was and is to be.
    """
    if known is None or not (modeldir / VALIDATIONS).exists():
        return False
    before, now = (settings.get('flags', {}) for settings in (known, record))
    names = [n for n in now if n.startswith('valid_') and n not in ('valid_step', 'valid_every')]
    if all(before.get(name) == now[name] for name in names):
        return False
    print('note: validation is not what it was: the best checkpoint is chosen anew')
    return True


def _raise_diverged(step, loss, rate, samples):
    raise InputError(
        f'step {step}: training diverges, the loss is {loss} at learning rate {rate:.3g}; lower '
        'the learning rate, or look at the samples of this step: '
        + ', '.join(str(sample.image) for sample in samples)
    )

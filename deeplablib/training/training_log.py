"""What a training run leaves to look at: log.txt and TensorBoard."""

import itertools
import os
import re
from pathlib import Path

from deeplablib.utils.backend import tf
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder, replacing

_LINE = re.compile(r'\d+, \S+\n')


class RunLog:
    """The log of a run that may have been stopped before and goes on.

    logfile: one line 'step, loss' a step, in the original's format. logdir: TensorBoard's folder.
    first_step: lines from here on are of steps that are taken again, and are removed. A run that
    begins at 0 moves the log of an earlier one to LOGFILE.old, LOGFILE.old2, ...
    """

    def __init__(self, logfile: str | Path, logdir: str | Path, first_step: int):
        """Open both. Raises InputError when they cannot be written."""
        logfile = Path(logfile)
        try:
            if first_step:
                cut_log(logfile, first_step)
            # A run that stops in its first save leaves one line, which is not worth keeping.
            elif logfile.is_file() and logfile.read_bytes().count(b'\n') > 1:
                earlier = _free_name(logfile)
                os.replace(logfile, earlier)
                print(f'{logfile} of an earlier run is now {earlier}')
            self._file = open(logfile, 'a' if first_step else 'w', buffering=1)  # noqa: SIM115
        except OSError as error:
            raise InputError(f'{logfile}: cannot write the log ({error.strerror})') from None
        folder = make_output_folder(logdir).resolve()  # TensorFlow has an idea of its own of `..`
        self._writer = tf.summary.create_file_writer(os.fsencode(folder))

    def add(self, step: int, loss: float, rate: float, images_a_second: float) -> None:
        """Log one step."""
        self._file.write(f'{step:d}, {loss:.3f}\n')
        with self._writer.as_default(step):
            tf.summary.scalar('loss', loss)
            tf.summary.scalar('learning_rate', rate)
            tf.summary.scalar('images_a_second', images_a_second)

    def add_value(self, step: int, name: str, value: float) -> None:
        """Log a number that is measured now and then."""
        with self._writer.as_default(step):
            tf.summary.scalar(name, value)
        self._writer.flush()

    def add_panel(self, step: int, images: tf.Tensor) -> None:
        """Show pictures, uint8 [images, height, width, 3]."""
        with self._writer.as_default(step):
            tf.summary.image('images', images, max_outputs=len(images))
        self._writer.flush()


def read_log(logfile: str | Path) -> tuple[list[int], list[float]]:
    """Read the log of a run.

    Returns its steps and losses, two lists.
    Raises InputError when it cannot be read or a line is not 'step, loss'.
    """
    steps: list[int] = []
    losses: list[float] = []
    try:
        lines = Path(logfile).read_text().splitlines()
    except OSError as error:
        raise InputError(f'{logfile}: cannot read the log ({error.strerror})') from None
    except UnicodeDecodeError:
        raise InputError(f'{logfile}: not a text file') from None
    for number, line in enumerate(lines, 1):
        try:
            step, loss = line.split(',')
            steps.append(int(step))
            losses.append(float(loss))
        except ValueError:
            raise InputError(f'{logfile}, line {number}: expected "step, loss"') from None
    return steps, losses


def cut_log(logfile: Path, first_step: int) -> None:
    """Remove the lines from a step on, and those that a crash has spoilt."""
    if not logfile.is_file():
        return
    lines = logfile.read_bytes().decode(errors='replace').splitlines(keepends=True)
    whole = [line for line in lines if _LINE.fullmatch(line)]
    kept = [line for line in whole if int(line.partition(',')[0]) < first_step]
    with replacing(logfile) as temporary:
        temporary.write_text(''.join(kept))


def _free_name(logfile):
    for number in itertools.count(1):
        name = Path(f'{logfile}.old{number if number > 1 else ""}')
        if not name.exists():
            return name

"""Draw the loss of each step, and its running mean, from the logs of one or several runs.

python plot_training_curve.py log.txt other/log.txt --output training_curve.png
"""

import argparse
from pathlib import Path

import matplotlib
import numpy.typing as npt

matplotlib.use('Agg')  # a file, not a window
import matplotlib.pyplot as plt
import numpy as np

from deeplablib.training.training_log import read_log
from deeplablib.utils import errors
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder, replacing

LOG_FILE = './model/train/log.txt'
OUTPUT = './training_curve.png'
STEPS_AVERAGED = 100


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('logs', nargs='*', default=[LOG_FILE], help=f'default: {LOG_FILE}')
    parser.add_argument('--output', type=Path, default=OUTPUT, help='PNG (default: %(default)s)')
    parser.add_argument(
        '--smooth',
        type=int,
        default=STEPS_AVERAGED,
        help='steps that the running mean is over (default: %(default)s)',
    )
    return parser.parse_args()


def running_mean(values: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.floating]:
    """The mean of each value and up to count - 1 before it.

    values: float array [n]. Returns a float array [n].
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - count, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def main() -> None:
    """Read the logs and write the picture."""
    args = get_arguments()
    if args.smooth < 1:
        raise InputError(f'--smooth {args.smooth}: at least one step is needed')
    output = Path(args.output)
    make_output_folder(output.parent)
    figure, axes = plt.subplots(figsize=(8, 5))
    for log in args.logs:
        steps, losses = read_log(log)
        if not steps:
            raise InputError(f'{log}: the log is empty')
        (line,) = axes.plot(steps, losses, alpha=0.25, linewidth=0.8)
        smooth = running_mean(np.array(losses), args.smooth)
        # To matplotlib $ is mathematics; a path may not be UTF-8.
        name = log.encode(errors='replace').decode().replace('$', r'\$')
        axes.plot(steps, smooth, color=line.get_color(), label=f'{name} (mean of {args.smooth})')
    axes.set_xlabel('Step')
    axes.set_ylabel('Loss')
    axes.set_title('Training curve')
    axes.legend()
    with replacing(output) as temporary:
        figure.savefig(temporary, format='png', dpi=150)
    plt.close(figure)
    print(f'The curve has been saved to {output}')


if __name__ == '__main__':
    errors.run_script(main)

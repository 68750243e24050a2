"""Errors that a user can correct, and how the scripts report them."""

import io
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

MOST_SHOWN = 20
_AROUND_THE_CAUSE = re.compile(r'\s*(\[\[|\(\d+\)|\d+ (successful|derived|root)|\[Op:|$)')


class InputError(Exception):
    """Something the user gave is wrong; the message names it and the remedy, on one line."""


def raise_all(faults: Sequence[str]) -> None:
    """Report every fault at once, so that a user can correct a list of samples in one go.

    faults: list of str, one line each. Nothing happens when it is empty.
    Raises InputError with the first twenty.
    """
    if not faults:
        return
    shown = list(faults[:MOST_SHOWN])
    if len(faults) > len(shown):
        shown.append(f'and {len(faults) - MOST_SHOWN} more')
    raise InputError('\n  '.join([f'{len(faults)} faults:', *shown]) if faults[1:] else faults[0])


def tensorflow_reason(error: Exception) -> str:
    """The first line of an error of TensorFlow, without the names that its runtime puts around it.

    error: the exception. Returns 'FILE; No such file or directory' of
    '{{function_node __wrapped__ReadFile_device_/job...}} FILE; No such file or directory [Op:...]'.
    """
    return _without_runtime_names(str(error).split('\n')[0])


def run_script(main: Callable, *args) -> None:
    """Run a script's main function and leave the process with its exit code.

    0: success. 2: the input is wrong (InputError). 1: anything else; a failing disk, Ctrl-C and an
    error of TensorFlow are reported in one line, a defect of the program with its traceback.
    main: called with args; its return value is not used.
    """
    # A path that is not UTF-8 is printed as it is.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == 'strict':
        sys.stdout.reconfigure(errors='surrogateescape')
    try:
        main(*args)
    except InputError as error:
        sys.exit(_print_error(error, 2))
    except KeyboardInterrupt as stop:
        sys.exit(_print_error(str(stop) or 'interrupted', 1))
    except OSError as error:
        sys.exit(_print_error(error, 1))
    except Exception as error:
        # TensorFlow's, by their name: the scripts that do without TensorFlow must not import it.
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if 'ResourceExhaustedError' in kinds:
            sys.exit(_print_error('out of memory; take a smaller batch, crop or image', 1))
        if 'OpError' not in kinds:
            raise
        sys.exit(_print_error(_tensorflow_text(error), 1))


def _tensorflow_text(error):
    """One line for an error of TensorFlow, whose own text has hundreds, and where those are."""
    with tempfile.NamedTemporaryFile(
        'w', prefix='tensorflow-error-', suffix='.txt', delete=False
    ) as whole:
        traceback.print_exception(error, file=whole)
    # The cause stands last, before lines about the graph and its other errors.
    lines = [line for line in str(error).splitlines() if not _AROUND_THE_CAUSE.match(line)]
    cause = _without_runtime_names(lines[-1] if lines else type(error).__name__).strip().rstrip('.')
    if type(error).__name__ == 'UnimplementedError':
        cause += '; this processor cannot do that: try --precision float32, or another device'
    return f'TensorFlow: {cause} (the whole message: {whole.name})'


def _without_runtime_names(line):
    return re.sub(r'\{\{.*?\}\} ?| \[Op:.*', '', line)


def _print_error(error, code):
    print(f'error: {error}', file=sys.stderr)
    return code

"""Errors that a user can mend, and how the scripts report them."""

import re
import sys

MOST_SHOWN = 20


class InputError(Exception):
    """Something the user gave is wrong; the message names it and the remedy, on one line."""


def raise_all(faults):
    """Report every fault at once, so that a list of samples is mended in one go.

    faults: list of str, one line each. Nothing happens when it is empty.
    Raises InputError with the first twenty.
    """
    if not faults:
        return
    shown = faults[:MOST_SHOWN]
    if len(faults) > len(shown):
        shown.append(f'and {len(faults) - MOST_SHOWN} more')
    raise InputError('\n  '.join([f'{len(faults)} faults:', *shown]) if faults[1:] else faults[0])


def tensorflow_reason(error):
    """The first line of an error of TensorFlow, without the names that its runtime puts around it.

    error: the exception. Returns 'FILE; No such file or directory' of
    '{{function_node __wrapped__ReadFile_device_/job...}} FILE; No such file or directory [Op:...]'.
    """
    return re.sub(r'\{\{.*?\}\} ?| \[Op:.*', '', str(error).split('\n')[0])


def run(main, *args):
    """Run a script's main function and leave the process with its exit code.

    0: success. 2: the input is wrong (InputError). 1: anything else; a failing disk and Ctrl-C are
    reported in one line, a defect of the program with its traceback.
    main: called with args; its return value is not used.
    """
    try:
        main(*args)
    except InputError as error:
        sys.exit(_report(error, 2))
    except KeyboardInterrupt as stop:
        sys.exit(_report(str(stop) or 'interrupted', 1))
    except OSError as error:
        sys.exit(_report(error, 1))
    except Exception as error:
        # TensorFlow's, by its name: the scripts that do without TensorFlow must not import it.
        if type(error).__name__ != 'ResourceExhaustedError':
            raise
        sys.exit(_report('out of memory; take a smaller batch, crop or image', 1))


def _report(error, code):
    print(f'error: {error}', file=sys.stderr)
    return code

"""Errors that a user can correct, and how the scripts report them."""

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence

MOST_SHOWN = 20
MOST_NAMED = 4
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


def named(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    more = len(names) - MOST_NAMED
    return ', '.join(names[:MOST_NAMED]) + (f' and {more} more' if more > 0 else '')


def tensorflow_reason(error: Exception) -> str:
    """The first line of an error of TensorFlow, without the names that its runtime puts around it.

    error: the exception. Returns 'FILE; No such file or directory' of
    '{{function_node __wrapped__ReadFile_device_/job...}} FILE; No such file or directory [Op:...]'.
    """
    return _without_runtime_names(str(error).split('\n')[0])


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as from a cluster that takes its machine back; otherwise like Ctrl-C."""


def run_script(main: Callable, *args) -> None:
    """Run a script's main function and leave the process with its exit code.

    0: success. 2: the input is wrong (InputError). 130: Ctrl-C. 143: SIGTERM. 1: anything else; a
    failing disk and an error of TensorFlow are reported in one line, a defect of the program with
    its traceback. ~ at the start of a flag's value is the home folder.
    main: called with args; its return value is not used.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # what the terminal cannot show
    sys.argv[1:] = [_with_home_folder(word) for word in sys.argv[1:]]
    try:
        with _handling(_stop, signal.SIGTERM):
            main(*args)
    except InputError as error:
        sys.exit(_print_error(error, 2))
    except KeyboardInterrupt as stop:
        code = 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
        sys.exit(_print_error(str(stop) or 'interrupted', code))
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


@contextlib.contextmanager
def stop_requests() -> Iterator[list[type[KeyboardInterrupt]]]:
    """Let work come to a point where it can be gone on with, before Ctrl-C or SIGTERM ends it.

    Yields a list, empty until one of them comes: then it holds what is to be raised. A Ctrl-C after
    that is raised at once; a SIGTERM may come twice, from the cluster and from who started this.
    """
    requests: list[type[KeyboardInterrupt]] = []

    def note(number, _):
        if requests and number == signal.SIGINT:
            _stop(number, _)
        requests.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)

    with _handling(note, signal.SIGINT, signal.SIGTERM):
        yield requests


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a part of such work at once, as they do elsewhere."""
    with _handling(_stop, signal.SIGINT, signal.SIGTERM):
        yield


def _stop(number, _):
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextlib.contextmanager
def _handling(handler, *signals):
    """Handle signals so for a while; only a main thread can. What is ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        signals = ()
    before = {number: signal.getsignal(number) for number in signals}
    before = {n: h for n, h in before.items() if h not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _with_home_folder(word):
    flag, value = re.fullmatch(r'(--?[\w-]+=)?(.*)', word, re.DOTALL).groups()
    return (flag or '') + os.path.expanduser(value)


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

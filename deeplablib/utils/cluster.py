"""The same work for every image of a list, on the workers of a Dask scheduler.

This is Dask's own client: joblib's Dask backend never returns when a worker cannot do the work.
"""

import contextlib
import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from deeplablib.utils.errors import InputError

CONNECT_SECONDS = 5  # that a scheduler may take to answer
WORKER_SECONDS = 10  # that a scheduler may be without any worker
ITEMS_PER_THREAD = 4  # handed out at a time, so that no worker waits for its next item


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler and see that it and its workers can do this project's work.

    address: of the scheduler, 'HOST:PORT'. Yields a distributed.Client.
    Raises InputError when the package is not installed, no scheduler answers, there is no worker,
    or one of them was started where relative paths mean other files or the project is not found;
    ConnectionError, also out of the block, when the scheduler or the workers of an item are lost.
    """
    try:
        import distributed
        from distributed.comm import CommClosedError, resolve_address
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise InputError(
            '--scheduler needs a package that is not installed: pip install distributed'
        ) from None
    try:
        resolve_address(address)  # for an unknown host the client would try again and again
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # what else may be listening there can answer anything
        reason = str(error) or type(error).__name__
        raise InputError(f'{address}: no Dask scheduler answers here ({reason})') from None
    with client:
        try:
            _check(client, address)
            yield client
        except (CommClosedError, KilledWorker, distributed.CancelledError) as error:
            reason = str(error).splitlines()[0]
            raise ConnectionError(f'{address}: the work was lost ({reason})') from None


def results(work: Callable, items: Iterable, address: str) -> Iterator[Any]:
    """Call a function with each item on the workers; a killed worker's items go to the others.

    work: a function of one argument. items: iterable. address: as for connected.
    Yields the results in the order of the items. What work raises is raised here, and what
    connected raises.
    """
    with connected(address) as client:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(client.submit(work, item, pure=False))
            # Asked each time: workers come and go.
            if len(waiting) >= ITEMS_PER_THREAD * sum(client.ncores().values()):
                yield _result(client, waiting.popleft(), address)
        while waiting:
            yield _result(client, waiting.popleft(), address)


def _result(client, future, address):
    import distributed

    while not future.done():
        try:
            distributed.wait(future, timeout=WORKER_SECONDS)
        except distributed.TimeoutError:
            _wait_for_workers(client, address)
    return future.result()


def _check(client, address):
    _wait_for_workers(client, address)
    for worker, folder in client.run(os.getcwd).items():
        if folder != os.getcwd():
            raise InputError(f'{address}: worker {worker} was started in {folder}; {_remedy()}')
    # Without it a worker would not fail at its work: it would die of the message that names it.
    name = __package__.partition('.')[0]  # deeplablib
    found = client.run(importlib.util.find_spec, name)
    found['the scheduler'] = client.run_on_scheduler(importlib.util.find_spec, name)
    for process, spec in found.items():
        if spec is None:
            raise InputError(f'{address}: {process} does not find the package {name}; {_remedy()}')


def _wait_for_workers(client, address):
    import distributed

    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except distributed.TimeoutError:
        raise InputError(f'{address}: the scheduler has no workers; {_remedy()}') from None


def _remedy():
    return (
        f'start scheduler and workers in {os.getcwd()} by python -m dask scheduler and '
        'python -m dask worker ADDRESS --nworkers -1 --nthreads 1'
    )

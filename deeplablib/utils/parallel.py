"""The same work for every image of a list, on all cores or on a cluster."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib

from deeplablib.utils import cluster
from deeplablib.utils.progress import progress


def for_each(work: Callable, items: Sequence, label: str, jobs: int | str = -1) -> Iterator[Any]:
    """Call a function with each item, in processes, and report progress.

    Processes, because the CRF holds Python's lock; memory does not grow with the list, as items are
    handed out a few at a time and results taken in as they come.

    work: a function of one argument. items: list. label: what is being done.
    jobs: processes; -1: as many as there are cores; 1: none beside this one; or a str, the address
    of a Dask scheduler, whose workers do the work.
    Yields the results in the order of the items. What work raises is raised here.
    """
    if isinstance(jobs, str):
        results = cluster.results(work, items, jobs)
    else:
        parallel = joblib.Parallel(n_jobs=jobs, return_as='generator')
        results = parallel(joblib.delayed(work)(item) for item in items)
    yield from progress(results, len(items), label)


def check_workers(jobs: int | str | None) -> None:
    """See that the workers of a scheduler can do the work, before a list is checked for an hour.

    jobs: as for for_each; processes of this machine need no check.
    Raises InputError as cluster.connected does.
    """
    if isinstance(jobs, str):
        with cluster.connected(jobs):
            pass


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the flags --jobs and --scheduler to a command line; either is read back as `jobs`."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--jobs', type=_jobs, default=-1, metavar='N', help='processes (default: one per core)'
    )
    group.add_argument(
        '--scheduler',
        dest='jobs',
        default=argparse.SUPPRESS,
        metavar='ADDRESS',
        help='work on the cluster of this Dask scheduler instead, HOST:PORT (docs/cluster.md)',
    )


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add the flag --resume to a command line."""
    parser.add_argument('--resume', action='store_true', help='keep the files that are there')


def left_to_do(items: Sequence, is_done: Callable[[Any], bool]) -> list[Any]:
    """The items of a run with --resume that are not done; says how many are."""
    left = [item for item in items if not is_done(item)]
    print(f'{len(items) - len(left)} of {len(items)} images are done already')
    return left


def _jobs(text):
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text} is no whole number') from None
    if number == 0:
        raise argparse.ArgumentTypeError('value 0 of --jobs: at least one process is needed')
    return number

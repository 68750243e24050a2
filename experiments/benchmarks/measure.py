"""Time the same work done in several ways: each way in a process of its own, taking turns.

A process of its own gives each its own peak memory; taking turns spreads what else the machine is
doing over all of them. Nothing here imports TensorFlow: the timed work may be without it.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Work:
    """What a process does over and over.

    run: called without arguments. items: how many images one call does; times are for one item.
    flops: floating-point operations of an item; None where they are not what takes the time.
    keeps: what must live as long as the work, such as a temporary folder.
    """

    run: Callable[[], object]
    items: int = 1
    flops: int | None = None
    keeps: object = None


@dataclass(frozen=True)
class Variant:
    """One way to do the work of a case.

    name: of its row. module, make: where the function is that prepares it and returns a Work.
    options: its arguments by keyword.
    """

    name: str
    module: str
    make: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """What was measured of a variant.

    seconds: of each repetition, for one item. peak_bytes: the most memory that the process and its
    children held. flops: of its Work. failure: one line when it could not be run, else ''.
    """

    name: str
    seconds: tuple[float, ...] = ()
    peak_bytes: int = 0
    flops: int | None = None
    failure: str = ''


def alternate(variants: Sequence[Variant], repetitions: int, together: bool = True) -> list[Timing]:
    """Time variants in turns, after one run each that does not count.

    variants: list of Variant. repetitions: timed runs of each, at least 1.
    together: keep all processes at once; otherwise a new one for each run, for work that fills the
    memory.
    Returns a list of Timing, in the order of variants. A variant that fails, or is killed for lack
    of memory, has its reason in `failure`; the others go on.
    """
    workers = [_Worker(variant) for variant in variants]
    with contextlib.ExitStack() as stack:
        if together:
            for worker in workers:
                stack.enter_context(worker)
            for worker in workers:
                worker.call()
        for _ in range(repetitions):
            for worker in workers:
                with contextlib.nullcontext() if together else worker:
                    if not together:
                        worker.call()
                    worker.time()
        return [worker.timing() for worker in workers]


class _Worker:
    """A process (experiments.benchmarks.serve) that prepares a Work and runs it when told to."""

    def __init__(self, variant):
        self.variant = variant
        self.seconds, self.peak, self.flops, self.failure = [], 0, None, ''

    def __enter__(self):
        variant = json.dumps(asdict(self.variant))
        command = [sys.executable, '-m', 'experiments.benchmarks.serve', variant]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            text=True,
        )

    def __exit__(self, *error):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def call(self):
        """Run the work once; returns the seconds for one item, None after a failure."""
        if self.failure:
            return None
        with contextlib.suppress(BrokenPipeError):
            print('run', file=self.process.stdin, flush=True)
        reply = self.process.stdout.readline()
        if not reply:
            self.failure = f'the process died (exit code {self.process.wait()})'
            return None
        reply = json.loads(reply)
        self.failure = reply['failure']
        self.peak, self.flops = max(self.peak, reply['peak_bytes']), reply['flops']
        return reply['seconds']

    def time(self):
        """Run the work once more and keep the time."""
        seconds = self.call()
        if not self.failure:
            self.seconds.append(seconds)

    def timing(self):
        """What was measured."""
        seconds = () if self.failure else tuple(self.seconds)
        return Timing(self.variant.name, seconds, self.peak, self.flops, self.failure)

"""Progress of a long run: how far, how fast, how long to go."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


def progress(
    items: Iterable,
    total: int,
    label: str,
    unit: str = 'image',
    note: Callable[[], str] = lambda: '',
) -> Iterator[Any]:
    """Pass items on and report on standard error: a bar on a terminal, plain lines otherwise.

    items: iterable. total: how many it has. label: what is being done. unit: what an item is.
    note: called without arguments for a text to show beside, such as the loss.
    """
    if sys.stderr.isatty():
        with tqdm(items, desc=label, total=total, unit=f' {unit}s', dynamic_ncols=True) as bar:
            for item in bar:
                yield item
                bar.set_postfix_str(note(), refresh=False)
        return
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):  # noqa: B007 (the last number is used below)
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            _print_line(label, done, total, now - start, unit, note())
    _print_line(label, done, total, time.monotonic() - start, unit, note())


def _print_line(label, done, total, seconds, unit, note):
    rate = done / max(seconds, 1e-9)
    gone = tqdm.format_interval(seconds)
    left = tqdm.format_interval((total - done) / rate) if done else '?'
    line = f'{label}: {done}/{total} {unit}s, {rate:.2f} {unit}s/s, {gone} gone, {left} left'
    print(f'{line}, {note}' if note else line, file=sys.stderr, flush=True)

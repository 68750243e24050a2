"""The figures of a run as numbers and as tables."""

import inspect
import itertools
import statistics
from collections.abc import Mapping
from typing import Any

from deeplablib.utils.text_tables import as_markdown
from experiments.benchmarks.cases import SECTIONS
from experiments.benchmarks.measure import Timing

HEADING = ('', '', 'seconds', 'lowest - highest', 'ratio', 'floor', 'peak memory')


def row(
    section: str, case: str, timing: Timing, baseline: Timing, rates: Mapping[str, float]
) -> dict:
    """The figures of one variant.

    section, case: names. timing: its Timing. baseline: that of the case's first variant.
    rates: floating-point operations a second of a matrix product, by precision.
    Returns a dict; `seconds` is the median, `ratio` the median over the turns of the time over the
    baseline's, `floor` the seconds of the arithmetic alone; of a failure only its reason.
    """
    figures: dict[str, Any] = {'section': section, 'case': case, 'variant': timing.name}
    if timing.failure:
        return figures | {'failure': timing.failure}
    seconds = timing.seconds
    figures |= {'seconds': statistics.median(seconds), 'low': min(seconds), 'high': max(seconds)}
    if baseline.seconds:
        turns = zip(seconds, baseline.seconds, strict=True)
        figures['ratio'] = statistics.median(ours / theirs for ours, theirs in turns)
    rate = rates.get('bfloat16' if 'bfloat16' in timing.name else 'float32')
    if timing.flops and rate:
        figures['floor'] = timing.flops / rate
    return figures | {'peak_bytes': timing.peak_bytes}


def markdown(results: dict) -> str:
    """The tables of a run, from what the JSON file holds."""
    settings = ', '.join(f'{name} {value}' for name, value in results['settings'].items())
    machine = [
        *results['machine'].items(),
        *(
            (f'matrix product, {precision}', f'{rate / 1e9:.0f} GFLOP/s')
            for precision, rate in results['matrix_product'].items()
        ),
        ('settings', settings),
    ]
    parts = [as_markdown(('', ''), machine, text_columns=2)]
    for section, rows in itertools.groupby(results['rows'], lambda figures: figures['section']):
        cells = [_cells(figures) for figures in rows]
        parts += [f'## {section.capitalize()}', inspect.getdoc(SECTIONS[section]) or '']
        parts.append(as_markdown(HEADING, cells, text_columns=2))
    return '\n\n'.join(parts) + '\n'


def _cells(figures):
    head = figures['case'], figures['variant']
    if 'failure' in figures:
        return (*head, figures['failure'], '', '', '', '')
    low, median, high = (_short(figures[name]) for name in ('low', 'seconds', 'high'))
    ratio, floor = (_short(figures[name]) if name in figures else '' for name in ('ratio', 'floor'))
    peak = f'{figures["peak_bytes"] / 1e9:.2f} GB'
    return (*head, median, f'{low} - {high}', ratio, floor, peak)


def _short(number):
    """Two decimals, or three digits of what is small."""
    return f'{number:.2f}' if number >= 0.995 else f'{number:.3g}'

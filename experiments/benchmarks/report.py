"""The figures of a run as numbers and as tables."""

import statistics

from experiments.benchmarks.cases import SECTIONS


def row(section, case, timing, baseline, rates):
    """The figures of one variant.

    section, case: names. timing: its Timing. baseline: that of the case's first variant.
    rates: floating-point operations a second of a matrix product, by precision.
    Returns a dict; `seconds` is the median, `ratio` the median over the turns of the time over the
    baseline's, `floor` the seconds of the arithmetic alone; of a failure only its reason.
    """
    figures = {'section': section, 'case': case, 'variant': timing.name}
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


def markdown(results):
    """The tables of a run, from what the JSON file holds."""
    lines = ['| | |', '|---|---|']
    lines += [f'| {what} | {text} |' for what, text in results['machine'].items()]
    for precision, rate in results['matrix_product'].items():
        lines.append(f'| matrix product, {precision} | {rate / 1e9:.0f} GFLOP/s |')
    settings = ', '.join(f'{name} {value}' for name, value in results['settings'].items())
    lines.append(f'| settings | {settings} |')
    section = None
    for figures in results['rows']:
        if figures['section'] != section:
            section = figures['section']
            lines += ['', f'## {section.capitalize()}', '', SECTIONS[section].__doc__, '']
            lines += ['| | | seconds | lowest - highest | ratio | floor | peak memory |']
            lines += ['|---|---|--:|--:|--:|--:|--:|']
        lines.append(_table_row(figures))
    return '\n'.join(lines) + '\n'


def _table_row(figures):
    head = f'| {figures["case"]} | {figures["variant"]} |'
    if 'failure' in figures:
        return f'{head} {figures["failure"]} | | | | |'
    low, median, high = (_short(figures[name]) for name in ('low', 'seconds', 'high'))
    ratio, floor = (_short(figures[name]) if name in figures else '' for name in ('ratio', 'floor'))
    peak = f'{figures["peak_bytes"] / 1e9:.2f} GB'
    return f'{head} {median} | {low} - {high} | {ratio} | {floor} | {peak} |'


def _short(number):
    """Two decimals, or three digits of what is small."""
    return f'{number:.2f}' if number >= 0.995 else f'{number:.3g}'

"""The process of one variant (measure.Variant): a line on standard input is one run of its work.

The variant is the only argument, as JSON; a reply to each line goes to standard output, as JSON.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    """Prepare the work, and run it for every line."""
    replies = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what the work prints is no reply
    variant = json.loads(sys.argv[1])
    work = None
    for _ in sys.stdin:
        reply = {'failure': '', 'seconds': None, 'peak_bytes': 0, 'flops': None}
        try:
            if work is None:
                make = getattr(importlib.import_module(variant['module']), variant['make'])
                work = make(**variant['options'])
            start = time.perf_counter()
            work.run()
            reply['seconds'] = (time.perf_counter() - start) / work.items
            reply['flops'] = work.flops
            ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            reply['peak_bytes'] = max(peak_memory(), ended)
        except Exception as error:  # whatever it is, the other variants go on
            first_line = str(error).partition('\n')[0]
            reply['failure'] = f'{type(error).__name__}: {first_line}'
        print(json.dumps(reply), file=replies, flush=True)


def peak_memory(process: int | str = 'self') -> int:
    """The most memory that a process and its children held so far, bytes; Linux only.

    The children's peaks are added, though they may not have come at one time.
    """
    root = Path('/proc') / str(process)
    try:
        status = (root / 'status').read_text()
        children = [(task / 'children').read_text().split() for task in (root / 'task').iterdir()]
    except OSError:  # it ended just now
        return 0
    own = [int(line.split()[1]) * 1024 for line in status.splitlines() if 'VmHWM' in line]
    return sum(own) + sum(peak_memory(child) for group in children for child in group)


if __name__ == '__main__':
    main()

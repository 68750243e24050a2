"""Run main.py again and again, killing it each time, until the run has come to its end.

python tests/kill_and_resume.py MODELDIR KILLS SECONDS FLAG ...

Every third kill waits for a save to begin; the others come after a random time of at most SECONDS,
or when the run has saved once: a fast machine must not come to the end between two kills. Every
third, another one, is a SIGTERM, at which the run saves its step and ends by itself.
The children are forked from a process that has TensorFlow imported but not used.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import main
from deeplablib.utils import errors


def start(flags):
    """Fork a child that runs main.py; returns its process id."""
    child = os.fork()
    if child == 0:
        sys.argv = ['main.py', *flags]
        try:
            errors.run_script(main.main)
        except SystemExit as stop:
            os._exit(stop.code or 0)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def is_over(child):
    """Whether a child has ended by itself; its exit code must be 0."""
    done, status = os.waitpid(child, os.WNOHANG)
    if done and os.waitstatus_to_exitcode(status):
        sys.exit(f'the run failed: exit code {os.waitstatus_to_exitcode(status)}')
    return bool(done)


def is_saving(modeldir):
    """Whether a checkpoint is being written."""
    return any(modeldir.glob('.model.ckpt-*'))


def saved(modeldir):
    """The checkpoints that are there."""
    return set(modeldir.glob('model.ckpt-*.index'))


def kill_and_resume(modeldir, kills, seconds, flags):
    """Start, kill, start again; returns how many kills there were and how many hit a save."""
    chance = random.Random(0)
    hit, done = 0, 0
    while True:
        child = start(flags)
        deadline = time.monotonic() + chance.uniform(0.2, 1) * seconds
        in_save, before = done % 3 == 0, saved(modeldir)
        while not is_over(child):
            late = time.monotonic() > deadline or saved(modeldir) - before
            if done < kills and (is_saving(modeldir) if in_save else late):
                os.kill(child, signal.SIGTERM if done % 3 == 1 else signal.SIGKILL)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if code not in (-signal.SIGKILL, 128 + signal.SIGTERM):
                    sys.exit(f'the run failed: exit code {code}')
                done += 1
                hit += is_saving(modeldir)
                break
            time.sleep(0.0005)
        else:
            return done, hit


if __name__ == '__main__':
    modeldir, kills, seconds, *flags = sys.argv[1:]
    print(*kill_and_resume(Path(modeldir), int(kills), float(seconds), flags))

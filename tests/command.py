"""Run a script as a user would: here (TensorFlow takes seconds to import), or in a new process."""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from deeplablib.utils import errors

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    error: str


def run_command(module, *arguments):
    """Run the main function of a module through errors.run_script.

    module: 'eval_iou', 'deeplab_resnet.convert', ... arguments: its command line.
    Returns a Result. An error that is not the user's is raised.
    """
    main = importlib.import_module(module).main
    out, error = io.StringIO(), io.StringIO()
    argv = [module, *map(str, arguments)]
    code = 0
    with (
        mock.patch.object(sys, 'argv', argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            errors.run_script(main)
        except SystemExit as stop:
            code = stop.code or 0
    return Result(code, out.getvalue(), error.getvalue())


def refused(result, *words):
    """Assert that a command has named the user's error in one line, which holds all words."""
    assert result.code == 2, result.error
    assert 'Traceback' not in result.error, result.error
    assert len(re.findall(r'^(?:\S+: )?error: ', result.error, re.MULTILINE)) == 1, result.error
    for word in words:
        assert str(word) in result.error, result.error


def run_process(*arguments, environment=None, cwd=ROOT, text=True):
    """Run Python in a process of its own; returns what subprocess.run does, with all it printed."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | (environment or {}),
        cwd=cwd,
        capture_output=True,
        text=text,
    )


def start(*arguments):
    """Run a script in a process group of its own, which can be killed with all its children."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

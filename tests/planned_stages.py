"""Stages of a plan that is not run."""

from pathlib import Path

WORK = Path('/work-dir')


def flag(stage, name):
    command = list(map(str, stage.command))
    return command[command.index(name) + 1]

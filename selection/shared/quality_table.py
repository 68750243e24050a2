"""Tables of mask quality: CSV files, one image a line."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplablib.utils.errors import InputError, raise_all
from deeplablib.utils.files import replacing


def write_table(
    path: str | Path, columns: Sequence[str], rows: Mapping[str, Sequence[float]]
) -> None:
    """Write a table, whole or not at all.

    path: where it goes. columns: names of the measures. rows: dict from image name to their values.
    """
    with (
        replacing(path) as temporary,
        temporary.open('w', newline='', errors='surrogateescape') as file,  # names may not be UTF-8
    ):
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['name', *columns])
        writer.writerows([name, *(f'{value:.6f}' for value in row)] for name, row in rows.items())


def read_column(path: str | Path, column: str, names: Sequence[str]) -> list[float]:
    """Read one measure of every mask.

    path: a table. column: name of the measure. names: the images that are needed.
    Returns a list of floats in [0, 1], one for each name.
    Raises InputError as read_table does, for an image without a score, and an unknown column.
    """
    columns, rows = read_table(path)
    if column not in columns:
        raise InputError(f'{path}: no score {column}; there are: {", ".join(columns)}')
    raise_all([f'{path}: no score for {name}' for name in names if name not in rows])
    return [rows[name][columns.index(column)] for name in names]


def read_table(path: str | Path) -> tuple[list[str], dict[str, tuple[float, ...]]]:
    """Read a table that write_table wrote.

    path: of the table. Returns (names of the scores, dict from image name to a tuple of floats in
    [0, 1]). Raises InputError for what is no table or was cut, and for a score outside [0, 1].
    """
    path = Path(path)
    try:
        text = path.read_text(errors='surrogateescape')
    except OSError as error:
        raise InputError(f'{path}: cannot read the scores ({error.strerror})') from None
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
    if header[:1] != ['name']:
        raise InputError(f'{path}: not a table of scores (the first line must begin with "name")')
    if not text.endswith('\n'):
        raise InputError(f'{path}: cut off in line {len(rows) + 1}; make it again')
    values, faults = {}, []
    for number, row in enumerate(rows, 2):
        name, *fields = row or ['']
        if 1 + len(fields) != len(header):
            faults.append(
                f'{path}, line {number}: {1 + len(fields)} fields, expected {len(header)}'
            )
        if name in values:
            faults.append(f'{path}, line {number}: {name} has a score already')
        values[name] = tuple(map(_score, fields))
        for column, score in zip(header[1:], values[name], strict=False):
            if score is None:
                faults.append(f'{path}, line {number}: {column} is not a number from 0 to 1')
    raise_all(faults)
    return header[1:], values


def _score(text):
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None

"""Tables of scores: CSV files, one image a line."""

import csv
from pathlib import Path

from deeplablib.errors import InputError, raise_all
from deeplablib.files import replacing


def write_table(path, columns, rows):
    """Write a table, whole or not at all.

    path: where it goes. columns: names of the scores. rows: dict from image name to their values.
    """
    with replacing(path) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['name', *columns])
        writer.writerows([name, *(f'{value:.6f}' for value in row)] for name, row in rows.items())


def read_column(path, column, names):
    """Read one score of every image.

    path: a table. column: name of the score. names: the images that are needed.
    Returns a list of floats in [0, 1], one for each name.
    Raises InputError for a table that is no table or was cut, a score outside [0, 1], an image
    without a score, and an unknown column.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f'{path}: cannot read the scores ({error.strerror})') from None
    except UnicodeDecodeError:
        raise InputError(f'{path}: not a text file') from None
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
    if header[:1] != ['name']:
        raise InputError(f'{path}: no table of scores (the first line must begin with "name")')
    if column not in header[1:]:
        raise InputError(f'{path}: no score {column}; there are: {", ".join(header[1:])}')
    if not text.endswith('\n'):
        raise InputError(f'{path}: cut off in line {len(rows) + 1}; make it again')
    scores, faults = {}, []
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            faults.append(f'{path}, line {number}: {len(row)} fields, expected {len(header)}')
            continue
        score = _score(row[header.index(column)])
        if score is None:
            faults.append(f'{path}, line {number}: {column} is no number from 0 to 1')
        elif row[0] in scores:
            faults.append(f'{path}, line {number}: {row[0]} has a score already')
        scores[row[0]] = score
    raise_all(faults)
    raise_all([f'{path}: no score for {name}' for name in names if name not in scores])
    return [scores[name] for name in names]


def _score(text):
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None

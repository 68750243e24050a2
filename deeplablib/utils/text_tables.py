"""Tables as text. The cells are text already: numbers in them are not rounded again."""

from collections.abc import Sequence

from tabulate import tabulate

Row = Sequence[str]


def as_text(heading: Row, rows: Sequence[Row]) -> str:
    """A table for a terminal; all columns but the first hold numbers."""
    return _table(heading, rows, 'plain', text_columns=1)


def as_markdown(heading: Row, rows: Sequence[Row], text_columns: int = 1) -> str:
    """A table in Markdown; so many columns hold text, and the others numbers."""
    return _table(heading, rows, 'pipe', text_columns)


def _table(heading, rows, tablefmt, text_columns):
    alignment = ['left' if i < text_columns else 'right' for i in range(len(heading))]
    return tabulate(rows, heading, tablefmt, colalign=alignment, disable_numparse=True)

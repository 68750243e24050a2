"""Tables as text. The cells are text already: numbers in them are not rounded again."""

from collections.abc import Sequence

from tabulate import tabulate

Row = Sequence[str]


def text_table(
    heading: Row, rows: Sequence[Row], format: str = 'plain', text_columns: int = 1
) -> str:
    """A table.

    format: 'plain' for a terminal, 'pipe' for Markdown. text_columns: how many columns hold text;
    the others hold numbers.
    """
    alignment = ['left' if i < text_columns else 'right' for i in range(len(heading))]
    return tabulate(rows, heading, format, colalign=alignment, disable_numparse=True)

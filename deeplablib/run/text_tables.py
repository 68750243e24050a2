"""Tables as text. Rows are tuples of str, the first of them the heading."""


def as_text(rows):
    """Rows as a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return '\n'.join('  '.join(line) for line in lines)


def as_markdown(rows):
    """Rows as a table in Markdown."""
    lines = [f'| {" | ".join(row)} |' for row in rows]
    return '\n'.join([lines[0], '|---' * len(rows[0]) + '|', *lines[1:]])

"""What the rounds reached, as tables: numbers beside the paper's, and what each was trained on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplablib.data.image_lists import read_list
from deeplablib.utils.files import replacing
from deeplablib.utils.text_tables import Row, as_markdown, as_text
from selection.evaluate_masks import list_quality
from selection.rounds.round_settings import DataPaths

Table = tuple[Row, Sequence[Row]]  # heading and rows


def read_numbers(work: Path, rounds: int) -> dict[str, float]:
    """The mean IoU of each result in percent, a dict from its name."""
    files = {f'round {k}': work / f'round_{k}' / 'val.json' for k in range(1, rounds + 1)}
    files |= {'test script': work / 'last.json', 'with CRF': work / 'crf.json'}
    return {name: 100 * json.loads(file.read_text())['mean_iou'] for name, file in files.items()}


def beside_paper(
    numbers: Mapping[str, float], paper: Mapping[str, float], last_round: int
) -> dict[str, tuple[float, float | None]]:
    """The numbers with the paper's: a dict from name to (number, the paper's or None).

    numbers: as from read_numbers. paper: by the same names, or 'last round'.
    last_round: its number.
    """
    of_name = {f'round {last_round}': paper.get('last round'), **paper}
    return {name: (number, of_name.get(name)) for name, number in numbers.items()}


def number_table(pairs: Mapping[str, tuple[float, float | None]]) -> Table:
    """What beside_paper gives, as a table."""
    rows = [
        (name, f'{number:.1f}', '' if paper is None else str(paper))
        for name, (number, paper) in pairs.items()
    ]
    if all(paper is None for _, paper in pairs.values()):
        return ('', 'mean IoU'), [row[:2] for row in rows]
    return ('', 'mean IoU', 'paper'), rows


def mask_table(data: DataPaths, work: Path, rounds: int) -> Table:
    """The images that each round was trained on, and the true quality of their masks."""
    rows = []
    for k in range(1, rounds + 1):
        images, quality, labelled = list_quality(
            work / f'train_{k}.txt', data.data_dir, data.val_masks
        )
        rows.append((str(k), str(images), f'{100 * quality:.1f}', f'{100 * labelled:.0f} %'))
    return ('round', 'images', 'true mean IoU of their masks', 'labelled'), rows


def image_table(data: DataPaths, work: Path, rounds: int) -> Table:
    """How many images each round was trained on."""
    rows = []
    for k in range(1, rounds + 1):
        images = read_list(work / f'train_{k}.txt', data.data_dir)
        rows.append((str(k), str(len(images))))
    return ('round', 'images'), rows


def save_tables(
    work: Path,
    tables: Sequence[Table],
    pairs: Mapping[str, tuple[float, float | None]],
    training: str,
) -> str:
    """Save tables as WORK/table.txt and table.md, and the numbers as table.json.

    pairs: what beside_paper gives. training: a line that says how the networks were trained.
    Returns the content of table.txt.
    """
    text = '\n\n'.join([*(as_text(*table) for table in tables), training])
    markdown = '\n\n'.join([*(as_markdown(*table) for table in tables), training])
    results = {
        name: {'mean_iou': number, 'paper': paper} for name, (number, paper) in pairs.items()
    }
    content = {
        'txt': text,
        'md': markdown,
        'json': json.dumps({'results': results, 'training': training}, indent=2),
    }
    for ending, lines in content.items():
        with replacing(work / f'table.{ending}') as temporary:
            temporary.write_text(f'{lines}\n')
    return text

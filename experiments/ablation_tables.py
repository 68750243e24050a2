"""What an ablation found, as tables: how good each arm became, on how many and how good masks.

experiments.ablation prints and saves them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import read_list
from deeplablib.utils.text_tables import as_markdown
from experiments.evidence import rank_correlation, true_confusions
from selection.evaluate_masks import list_quality
from selection.mask_quality import TABLE, read_measure
from selection.rounds.round_settings import DataPaths

TRUTH = 'truth'  # the arm that is trained once, on the true masks
TITLES = (
    'Mean IoU on the validation images',
    'Images of the round',
    'True mean IoU of their masks',
    'Labelled pixels, percent',
)


def summary(
    data: DataPaths, first: Path, work: Path, arms: Sequence[str], number: int
) -> dict[str, dict]:
    """Everything that one seed gives: a dict from title to a table, {row: {column: float}}.

    first, work, arms, number: as for ablation.arm_stages.
    """
    folders = {'proxies': {1: work}}
    for arm in arms:
        rounds = [1] if arm == TRUTH else range(2, number + 1)
        folders[arm] = dict.fromkeys(rounds, work / arm)
    tables: dict[str, dict[str, dict]] = {title: {arm: {} for arm in folders} for title in TITLES}
    for arm, of_arm in folders.items():
        for k, folder in of_arm.items():
            train_list = (first if arm == 'proxies' else folder) / f'train_{k}.txt'
            images, quality, labelled = list_quality(
                train_list, data.data_dir, data.val_masks, len(data.class_names)
            )
            iou = json.loads((folder / f'round_{k}/val.json').read_text())['mean_iou']
            values = (100 * iou, images, 100 * quality, 100 * labelled)
            for title, value in zip(TITLES, values, strict=True):
                tables[title][arm][f'round {k}'] = value
    last = {arm: list(row.values())[-1] for arm, row in tables[TITLES[0]].items()}
    if 'selection' in arms:
        tables['Last round of selection minus last round of'] = {
            arm: {'difference': last['selection'] - value}
            for arm, value in last.items()
            if arm != 'selection'
        }
    return tables | {'Spearman with the true IoU': _correlations(data, first / 'proxies', work)}


def _correlations(data, proxies, work):
    """Spearman of the scores of round 1 with the true IoU of what they could choose: the proxy
    annotations and the refined masks."""
    names = [sample.name for sample in read_list(data.train_list, data.data_dir)]
    refined = work / 'round_1/refined'
    truths = {
        f'of the {kind}': true_confusions(names, masks, data.val_masks, len(data.class_names))
        for kind, masks in (('proxy annotation', proxies), ('refined mask', refined))
    }
    columns = {
        'crf_agreement': (refined / TABLE, 'crf_agreement'),
        'annotation_agreement': (work / 'measured' / TABLE, 'annotation_agreement'),
        'max_probability': (refined / TABLE, 'max_probability'),
        'mask_probability of the refined mask': (refined / TABLE, 'mask_probability'),
        'mask_probability of the annotation': (work / 'measured' / TABLE, 'mask_probability'),
    }
    values = {name: read_measure(*column, names) for name, column in columns.items()}
    return {
        name: {of: rank_correlation(value, truth) for of, truth in truths.items()}
        for name, value in values.items()
    }


def ablation_tables(results: Sequence[dict]) -> str:
    """The tables of several seeds as one text, Markdown: mean and standard deviation.

    results: what summary returns, of each seed.
    """
    parts = []
    for title, rows in results[0].items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines = []
        for name in rows:
            cells = [[result[title][name].get(column) for result in results] for column in columns]
            lines.append(
                [name, *(_spread(values) if None not in values else '' for values in cells)]
            )
        parts += [f'{title}:', as_markdown(['', *columns], lines)]
    return '\n\n'.join(parts)


def _spread(values):
    spread = f' ± {np.std(values, ddof=1):.2g}' if len(values) > 1 else ''
    return f'{np.mean(values):.3g}{spread}'

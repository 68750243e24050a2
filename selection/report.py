"""A look at a selection: one HTML page that needs no other file.

python -m selection.report --table ./result/refined/scores.csv --masks ./result/refined \
    --annotations ./result/proxies --out ./result/report.html

It shows the distribution of the scores, what is kept of each class, and the best, the borderline
and the worst masks. The flags of the choice are those of selection.masks.
"""

import base64
import html
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from deeplablib.data.image_lists import check_files_of
from deeplablib.data.images import read_image, read_mask
from deeplablib.data.voc import CLASSES, IGNORE_LABEL, colour_map
from deeplablib.run import errors
from deeplablib.run.files import make_output_folder, replacing
from selection.masks import add_selection_flags, cut, read_selection
from selection.shared.step_flags import read_samples, step_parser

PANELS = 8  # of the best, of the borderline and of the worst masks
PANEL_WIDTH = 240  # pixels, at most

_COLOURS = colour_map()
_STYLE = """
body { font: 15px sans-serif; margin: 2em auto; max-width: 1050px }
td, th { padding: 2px 12px 2px 0; text-align: right }
td:first-child, th:first-child { text-align: left }
b { display: inline-block; width: 12px; height: 12px; margin-right: 6px }
"""


def histogram(scores, kept, level):
    """The distribution of the scores, kept and dropped, with the cut; a PNG as bytes."""
    figure = Figure(figsize=(8, 3), layout='constrained')
    axes = figure.subplots()
    groups = [scores[kept], scores[~kept]]
    axes.hist(groups, np.linspace(0, 1, 41), stacked=True, label=['kept', 'dropped'])
    axes.axvline(level, color='black', linestyle='--', label=f'cut at {level:.3f}')
    axes.set(xlabel='score', ylabel='images', xlim=(0, 1))
    axes.legend(loc='upper left')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()


def examples(scores, level):
    """Which masks to show. Returns a dict from heading to indices into scores."""
    ranking = np.argsort(-scores, kind='stable')
    near = np.sort(np.argsort(abs(scores - level), kind='stable')[:PANELS])
    return {
        'Best': ranking[:PANELS],
        'Borderline': near[np.argsort(-scores[near], kind='stable')],
        'Worst': ranking[::-1][:PANELS],
    }


def panel(image, annotation, mask, kept):
    """Draw one mask beside what it came from: image, annotation, prediction, kept pixels.

    image: uint8 [height, width, 3]. annotation: uint8 [height, width] or None. mask: uint8
    [height, width]. kept: whether the mask goes on.
    Returns a PIL.Image; a pixel that is not kept is dimmed.
    """
    going_on = (mask != IGNORE_LABEL)[..., None] & kept
    parts = [
        image,
        _COLOURS[mask],
        np.where(going_on, image // 2 + _COLOURS[mask] // 2, image // 5),
    ]
    if annotation is not None:
        parts.insert(1, _COLOURS[annotation])
    width = min(PANEL_WIDTH, image.shape[1])
    size = width, max(1, round(image.shape[0] * width / image.shape[1]))
    drawn = Image.new('RGB', (len(parts) * (width + 4) - 4, size[1]), 'white')
    for i, part in enumerate(parts):
        drawn.paste(Image.fromarray(part).resize(size, Image.NEAREST), (i * (width + 4), 0))
    return drawn


def report(samples, allowed, scores, kept, masks, level, title, annotations=None):
    """Build the page.

    samples: list of Sample. allowed: bool [images, classes]. scores: float [images].
    kept: bool [images]. masks: their paths. level: from masks.cut. title: of the page.
    annotations: paths of what the network was trained on, or None.
    Returns the HTML as str.
    """
    lines = [
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f'<style>{_STYLE}</style><h1>{html.escape(title)}</h1>',
        f'<p>{kept.sum()} of {len(kept)} masks are kept.</p>',
        _embedded(histogram(scores, kept, level), 'image/png'),
        '<h2>Classes</h2><table><tr><th>class<th>images<th>kept<th>dropped<th>median score',
    ]
    for i in np.flatnonzero(allowed[:, 1:].any(0)) + 1:
        shown, chosen = allowed[:, i], (kept & allowed[:, i]).sum()
        swatch = '<b style="background:#{:02x}{:02x}{:02x}"></b>'.format(*_COLOURS[i])
        cells = (swatch + CLASSES[i], shown.sum(), chosen, shown.sum() - chosen)
        lines.append(
            ''.join(['<tr>', *(f'<td>{cell}' for cell in cells)])
            + f'<td>{np.median(scores[shown]):.3f}'
        )
    lines.append('</table>')
    order = 'image | annotation | prediction | kept pixels'
    order = order if annotations else order.replace(' | annotation', '')
    for heading, indices in examples(scores, level).items():
        lines.append(f'<h2>{heading}</h2><p>{order}</p>')
        for i in indices:
            drawn = panel(
                read_image(samples[i].image),
                annotations and read_mask(annotations[i]),
                read_mask(masks[i]),
                kept[i],
            )
            buffer = io.BytesIO()
            drawn.save(buffer, 'JPEG', quality=85)
            tags = ', '.join(CLASSES[c] for c in np.flatnonzero(allowed[i][1:]) + 1) or 'no tags'
            state = 'kept' if kept[i] else 'dropped'
            caption = f'{samples[i].name}: {scores[i]:.3f}, {state} ({tags})'
            lines.append(
                f'<p>{html.escape(caption)}<br>{_embedded(buffer.getvalue(), "image/jpeg")}'
            )
    return '\n'.join(lines) + '\n'


def _embedded(data, kind):
    return f'<img alt="" src="data:{kind};base64,{base64.b64encode(data).decode()}">'


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/report.html', 'where the page goes')
    add_selection_flags(parser, need_table=True)
    parser.add_argument('--annotations', help='folder of what the network was trained on, NAME.png')
    return parser.parse_args()


def main():
    """Write the page."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    allowed = np.array([allowed[sample.name] for sample in samples])
    scores, kept, masks = read_selection(args, samples, allowed)
    annotations = None
    if args.annotations:
        check_files_of(samples, Path(args.annotations), 'annotation')
        annotations = [Path(args.annotations) / path.name for path in masks]
    level = cut(scores, args.fraction, args.threshold)
    title = f'Selection by {args.measure}'
    page = report(samples, allowed, scores, kept, masks, level, title, annotations)
    make_output_folder(Path(args.out).parent)
    with replacing(args.out) as temporary:
        temporary.write_text(page, encoding='utf-8')
    print(f'The report has been saved to {args.out}')


if __name__ == '__main__':
    errors.run(main)

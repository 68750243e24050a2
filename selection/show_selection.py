r"""A look at a selection: one HTML page that needs no other file.

python -m selection.show_selection --table ./result/refined/quality.csv --masks ./result/refined \
    --annotations ./result/proxies --out ./result/report.html

The page shows the distribution of the mask quality, what is kept of each class, and the best, the
borderline and the worst masks. The flags of the choice are those of selection.select_masks.
"""

import argparse
import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.data.images import read_image
from deeplablib.data.masks import read_mask
from deeplablib.data.voc import IGNORE_LABEL, colour_map
from deeplablib.utils import errors
from deeplablib.utils.files import check_output_file, replacing
from selection.select_masks import add_selection_flags, lowest_kept, quality_and_kept
from selection.step import read_samples, step_parser

PANELS = 8  # of the best, of the borderline and of the worst masks
PANEL_WIDTH = 240  # pixels, at most
TEMPLATE = 'selection_page.html.j2'

_COLOURS = colour_map()


def histogram(
    quality: npt.NDArray[np.floating], kept: npt.NDArray[np.bool_], lowest: float
) -> bytes:
    """The distribution of the mask quality, kept and dropped, with the cut; a PNG as bytes."""
    figure = Figure(figsize=(8, 3), layout='constrained')
    axes = figure.subplots()
    groups = [quality[kept], quality[~kept]]
    axes.hist(groups, np.linspace(0, 1, 41).tolist(), stacked=True, label=['kept', 'dropped'])
    axes.axvline(lowest, color='black', linestyle='--', label=f'cut at {lowest:.3f}')
    axes.set(xlabel='quality', ylabel='images', xlim=(0, 1))
    axes.legend(loc='upper left')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()


def examples(quality: npt.NDArray[np.floating], lowest: float) -> dict[str, npt.NDArray[np.intp]]:
    """Which masks to show. Returns a dict from heading to indices into quality."""
    ranking = np.argsort(-quality, kind='stable')
    near = np.sort(np.argsort(abs(quality - lowest), kind='stable')[:PANELS])
    return {
        'Best': ranking[:PANELS],
        'Borderline': near[np.argsort(-quality[near], kind='stable')],
        'Worst': ranking[::-1][:PANELS],
    }


def panel(
    image: npt.NDArray[np.uint8],
    annotation: npt.NDArray[np.uint8] | None,
    mask: npt.NDArray[np.uint8],
    kept: bool,
) -> Image.Image:
    """Draw one mask beside what it came from: image, annotation, prediction, kept pixels.

    image: uint8 [height, width, 3]. annotation: uint8 [height, width] or None. mask: uint8
    [height, width]. kept: whether the mask goes on.
    Returns a PIL.Image, made smaller where it is large; a pixel that is not kept is dimmed.
    """
    going_on = (mask != IGNORE_LABEL)[..., None] & kept
    blended = np.where(going_on, image // 2 + _COLOURS[mask] // 2, image // 5)
    parts = [image, _COLOURS[mask], blended]
    if annotation is not None:
        parts.insert(1, _COLOURS[annotation])
    height, width = mask.shape
    size = min(PANEL_WIDTH, width), max(1, round(height * min(PANEL_WIDTH, width) / width))
    drawn = Image.new('RGB', (len(parts) * (size[0] + 4) - 4, size[1]), 'white')
    for i, part in enumerate(parts):
        # No colour comes into being that is in none of them.
        small = Image.fromarray(part).resize(size, Image.Resampling.NEAREST)
        drawn.paste(small, (i * (size[0] + 4), 0))
    return drawn


def report_page(
    args: argparse.Namespace,
    samples: Sequence[Sample],
    allowed: npt.NDArray[np.bool_],
    quality: npt.NDArray[np.floating],
    kept: npt.NDArray[np.bool_],
) -> str:
    """Build the page.

    args: of get_arguments. allowed: bool [images, classes], tags and background.
    quality, kept: from select_masks.quality_and_kept. Returns the HTML.
    """
    lowest = lowest_kept(quality, args.fraction, args.threshold)

    def class_row(index):
        of_class = allowed[:, index]
        return {
            'name': args.classes[index],
            'colour': '#' + bytes(_COLOURS[index]).hex(),
            'images': of_class.sum(),
            'kept': (kept & of_class).sum(),
            'median': np.median(quality[of_class]),
        }

    def example(index):
        name, image = samples[index].name, read_image(samples[index].image)
        annotation, mask = (
            folder and read_mask(f'{folder}/{name}.png', len(args.classes), image.shape[:2])
            for folder in (args.annotations, args.masks)
        )
        buffer = io.BytesIO()
        panel(image, annotation, mask, kept[index]).save(buffer, 'JPEG', quality=85)
        tags = [args.classes[int(i)] for i in np.flatnonzero(allowed[index][1:]) + 1]
        return {
            'name': name,
            'quality': quality[index],
            'kept': kept[index],
            'tags': ', '.join(tags) or 'no tags',
            'picture': _address(buffer.getvalue(), 'image/jpeg'),
        }

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template(TEMPLATE)
    chosen = examples(quality, lowest)
    return template.render(
        title=f'Selection by {args.measure}',
        kept=kept.sum(),
        total=len(kept),
        histogram=_address(histogram(quality, kept, lowest), 'image/png'),
        classes=[class_row(int(i)) for i in np.flatnonzero(allowed[:, 1:].any(0)) + 1],
        order=f'image | {"annotation | " if args.annotations else ""}prediction | kept pixels',
        examples={heading: [example(i) for i in indices] for heading, indices in chosen.items()},
    )


def _address(data, kind):
    """An address that holds the file itself."""
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/report.html', 'where the page goes')
    add_selection_flags(parser)
    parser.add_argument('--annotations', help='folder of what the network was trained on, NAME.png')
    args = parser.parse_args()
    if not args.table:
        parser.error('give --table')
    return args


def main() -> None:
    """Write the page."""
    args = get_arguments()
    check_output_file(args.out)
    samples, allowed = read_samples(args)
    quality, kept = quality_and_kept(args, samples, allowed)
    if args.annotations:
        check_files_of(samples, Path(args.annotations), 'annotation')
    page = report_page(args, samples, allowed, quality, kept)
    with replacing(args.out) as temporary:
        temporary.write_text(f'{page}\n', encoding='utf-8', errors='surrogateescape')
    print(f'The report has been saved to {args.out}')


if __name__ == '__main__':
    errors.run_script(main)

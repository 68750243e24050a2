"""The page of selection.show_selection: its pictures, its numbers and the template."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure
from PIL import Image

from deeplablib.data.image_lists import Sample
from deeplablib.data.images import read_image, read_mask
from deeplablib.data.voc import IGNORE_LABEL, colour_map

PANELS = 8  # of the best, of the borderline and of the worst masks
PANEL_WIDTH = 240  # pixels, at most
TEMPLATE = 'selection_page.html.j2'

_COLOURS = colour_map()


def histogram(
    quality: npt.NDArray[np.floating], kept: npt.NDArray[np.bool_], level: float
) -> bytes:
    """The distribution of the mask quality, kept and dropped, with the cut; a PNG as bytes."""
    figure = Figure(figsize=(8, 3), layout='constrained')
    axes = figure.subplots()
    groups = [quality[kept], quality[~kept]]
    axes.hist(groups, np.linspace(0, 1, 41).tolist(), stacked=True, label=['kept', 'dropped'])
    axes.axvline(level, color='black', linestyle='--', label=f'cut at {level:.3f}')
    axes.set(xlabel='score', ylabel='images', xlim=(0, 1))
    axes.legend(loc='upper left')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()


def examples(quality: npt.NDArray[np.floating], level: float) -> dict[str, npt.NDArray[np.intp]]:
    """Which masks to show. Returns a dict from heading to indices into quality."""
    ranking = np.argsort(-quality, kind='stable')
    near = np.sort(np.argsort(abs(quality - level), kind='stable')[:PANELS])
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
    return side_by_side(parts)


def side_by_side(parts: Sequence[npt.NDArray[np.uint8]]) -> Image.Image:
    """Set pictures of one size beside each other, made smaller where they are large.

    parts: uint8 [height, width, 3] each. No colour comes into being that is in none of them.
    """
    height, full_width = parts[0].shape[:2]
    width = min(PANEL_WIDTH, full_width)
    size = width, max(1, round(height * width / full_width))
    drawn = Image.new('RGB', (len(parts) * (width + 4) - 4, size[1]), 'white')
    for i, part in enumerate(parts):
        small = Image.fromarray(part).resize(size, Image.Resampling.NEAREST)
        drawn.paste(small, (i * (width + 4), 0))
    return drawn


def report_page(
    samples: Sequence[Sample],
    shown: npt.NDArray[np.bool_],
    quality: npt.NDArray[np.floating],
    kept: npt.NDArray[np.bool_],
    masks: Sequence[Path],
    level: float,
    title: str,
    classes: Sequence[str],
    annotations: Sequence[Path] | None = None,
) -> str:
    """Build the page.

    shown: [images, classes], the classes that each image shows. quality, kept: [images].
    masks: their paths. level: from masks.cut. title: of the page. classes: their names.
    annotations: paths of what the network was trained on, or None.
    Returns the HTML.
    """

    def example(i: int) -> dict:
        image = read_image(samples[i].image)
        size = image.shape[:2]
        annotation = None if annotations is None else read_mask(annotations[i], len(classes), size)
        drawn = panel(image, annotation, read_mask(masks[i], len(classes), size), kept[i])
        tags = [classes[int(c)] for c in np.flatnonzero(shown[i][1:]) + 1]
        return {
            'name': samples[i].name,
            'quality': quality[i],
            'kept': kept[i],
            'tags': ', '.join(tags) if tags else 'no tags',
            'picture': as_address(drawn),
        }

    columns = ['image', 'annotation', 'prediction', 'kept pixels']
    if annotations is None:
        columns.remove('annotation')
    return render(
        TEMPLATE,
        title=title,
        kept=kept.sum(),
        total=len(kept),
        histogram=_embedded(histogram(quality, kept, level), 'image/png'),
        classes=[_class_row(i, classes[i], shown, quality, kept) for i in classes_shown(shown)],
        order=' | '.join(columns),
        examples={
            heading: [example(i) for i in indices]
            for heading, indices in examples(quality, level).items()
        },
    )


def classes_shown(shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The classes that some image shows, without the background; shown: bool [images, classes]."""
    return np.flatnonzero(shown[:, 1:].any(0)) + 1


def _class_row(index, name, shown, quality, kept):
    of_class = shown[:, index]
    return {
        'name': name,
        'colour': colour_of(index),
        'images': of_class.sum(),
        'kept': (kept & of_class).sum(),
        'median': np.median(quality[of_class]),
    }


def render(template: str, **values) -> str:
    """Fill in a template of this folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, keep_trailing_newline=True
    )
    return environment.get_template(template).render(**values)


def colour_of(index: int) -> str:
    """The colour of a class as HTML has it: '#808000'."""
    red, green, blue = _COLOURS[index]
    return f'#{red:02x}{green:02x}{blue:02x}'


def as_address(picture: Image.Image) -> str:
    """An address that holds a picture itself."""
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=85)
    return _embedded(buffer.getvalue(), 'image/jpeg')


def _embedded(data, kind):
    """An address that holds the file itself."""
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'

"""The page of selection.report --cues: photographs, their cues, and what was made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from deeplablib.data.image_lists import Sample
from deeplablib.data.images import read_grey, read_image, read_mask
from deeplablib.data.voc import IGNORE_LABEL, colour_map
from selection.report.page import as_address, classes_shown, colour_of, render, side_by_side

EXAMPLES = 3  # of each class
TEMPLATE = 'cue_page.html.j2'

_COLOURS = colour_map()


def cue_panel(
    image: npt.NDArray[np.uint8],
    cues: Sequence[npt.NDArray[np.uint8]],
    annotation: npt.NDArray[np.uint8],
) -> Image.Image:
    """Draw one image beside its cues and its annotation, both over the image.

    image: uint8 [height, width, 3]. cues: uint8 [height, width] each. annotation: uint8
    [height, width].
    """
    heat = [colormaps['inferno'](cue, bytes=True)[..., :3] for cue in cues]
    over = [image // 2 + layer // 2 for layer in (*heat, _COLOURS[annotation])]
    return side_by_side([image, *over])


def cue_page(
    samples: Sequence[Sample],
    shown: npt.NDArray[np.bool_],
    cues: Sequence[Mapping[int, Path]],
    annotations: Sequence[Path],
    title: str,
    classes: Sequence[str],
) -> str:
    """Build the page: of each class a few images, taken evenly from the list.

    shown: [images, classes], the classes that each image shows. cues: of each image, the path of
    the cue of each class. annotations: their paths. title: of the page. classes: their names.
    Returns the HTML.
    """

    def example(i: int) -> dict:
        image = read_image(samples[i].image)
        annotation = read_mask(annotations[i], len(classes), image.shape[:2])
        maps = [read_grey(path, image.shape[:2]) for path in cues[i].values()]
        return {
            'name': samples[i].name,
            'tags': ', '.join(classes[c] for c in cues[i]),
            'labelled': 100 * np.mean(annotation != IGNORE_LABEL),
            'picture': as_address(cue_panel(image, maps, annotation)),
        }

    parts = []
    for index in classes_shown(shown):
        images = np.flatnonzero(shown[:, index])
        chosen = np.unique(np.linspace(0, len(images) - 1, EXAMPLES).astype(int))
        parts.append(
            {
                'name': classes[int(index)],
                'colour': colour_of(int(index)),
                'images': len(images),
                'examples': [example(i) for i in images[chosen]],
            }
        )
    return render(TEMPLATE, title=title, images=len(samples), classes=parts)

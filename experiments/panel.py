"""A picture of what the rounds did: for some images, the annotations side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from deeplablib.data.images import read_image, read_indices
from deeplablib.data.voc import colour_map
from deeplablib.utils.files import replacing

HEADER = 18  # height of the line of titles, pixels
_COLOURS = colour_map()


def save_panel(path: str | Path, images: Sequence[Path], columns: Mapping[str, Path]) -> None:
    """Save a PNG with a row for each image: the image, then its label map in each folder.

    path: where it goes. images: list of image paths, all of one size. columns: dict from title to
    the folder of label maps, NAME.png; where a map is missing the place stays white.
    """
    first = read_image(images[0])
    height, width = first.shape[:2]
    picture = Image.new('RGB', (width * (1 + len(columns)), HEADER + height * len(images)), 'white')
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for column, title in enumerate(('image', *columns)):
        draw.text((width * column + 3, 2), title, 'black', font)
    for row, image in enumerate(images):
        top = HEADER + height * row
        picture.paste(Image.fromarray(read_image(image)), (0, top))
        for column, folder in enumerate(columns.values(), 1):
            mask = folder / f'{image.stem}.png'
            if mask.is_file():
                labels, _ = read_indices(mask)
                picture.paste(Image.fromarray(_COLOURS[labels]), (width * column, top))
    with replacing(path) as temporary:
        picture.save(temporary, format='PNG')

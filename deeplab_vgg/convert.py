"""Make a checkpoint, or an exported model, of a VGG16 network from weights of another program.

SRC: a TensorFlow 1 checkpoint (V1 or V2), a .caffemodel, a kaffe .npy, a PyTorch .pth, .pt or
.safetensors (torchvision), or a .h5 of Keras Applications. Nothing in it is executed. The fc6 and
fc7 of an ImageNet VGG16 are made as small as DeepLab's. docs/checkpoints.md has examples.

Where SRC is the word imagenet, the command fetches the ImageNet VGG16 of Keras Applications
(553 MB) into its cache, and converts it:

    python -m deeplab_vgg.convert imagenet model/vgg/init
"""

from deeplab_vgg import settings, weight_layouts
from deeplab_vgg.vgg import NETWORKS
from deeplablib.prediction.exported_models import WRITERS
from deeplablib.utils import errors
from deeplablib.weights import convert_command


def main() -> None:
    """Convert one file."""
    convert_command.run('deeplab_vgg', __doc__, NETWORKS, weight_layouts, settings, WRITERS)


if __name__ == '__main__':
    errors.run_script(main)

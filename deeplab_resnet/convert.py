"""Make a checkpoint, or an exported model, of a ResNet from weights of another program.

SRC: a TensorFlow 1 checkpoint (V1 or V2; of these networks, or slim's resnet_v1), a .caffemodel, a
kaffe .npy, a PyTorch .pth, .pt or .safetensors (torchvision, deeplab-pytorch), or a .h5 of Keras
Applications. Nothing in it is executed. docs/checkpoints.md has examples.

Where SRC is the word imagenet, the command fetches the ImageNet ResNet-101 of Keras Applications
(171 MB) into its cache, and converts it; with --encoder-name res50 the ResNet-50 (95 MB):

    python -m deeplab_resnet.convert imagenet model/resnet/init
"""

from deeplab_resnet import settings, weight_layouts
from deeplab_resnet.resnet import NETWORKS
from deeplablib.prediction.exported_models import WRITERS
from deeplablib.utils import errors
from deeplablib.weights import convert_command


def main() -> None:
    """Convert one file."""
    convert_command.run('deeplab_resnet', __doc__, NETWORKS, weight_layouts, settings, WRITERS)


if __name__ == '__main__':
    errors.run_script(main)

"""Multi-scale prediction with SPSM-VGG16: a palette PNG for each image of a list.

The image at 1, 0.75 and 0.5; the largest probabilities of the three; resized to the image; argmax.
A checkpoint of another network, such as EfficientNet-Lite0, is recognised and does as well.
"""

from deeplab_efficientnet import efficientnet
from deeplab_resnet import resnet
from deeplab_vgg import vgg
from deeplablib.prediction.multi_scale_script import predict_and_evaluate
from deeplablib.utils import errors

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATA_LIST_PATH = './dataset/val.txt'
NUM_STEPS = None  # images of the list to predict; None: all of them
RESTORE_FROM = './model/vgg/model.vgg'
SAVE_DIR = './result/'
IMG_MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red

NETWORKS = resnet.NETWORKS | vgg.NETWORKS | efficientnet.NETWORKS


def main() -> None:
    """Predict the list and, when it names masks, print the IoU table."""
    predict_and_evaluate(
        NETWORKS,
        __doc__,
        data_dir=DATA_DIRECTORY,
        data_list=DATA_LIST_PATH,
        num_steps=NUM_STEPS,
        restore_from=RESTORE_FROM,
        save_dir=SAVE_DIR,
        img_mean=IMG_MEAN,
    )


if __name__ == '__main__':
    errors.run_script(main)

import time

from deeplab_vgg.vgg import NETWORKS
from deeplablib.network.flops import forward_flops, matmul_rate
from deeplablib.network.layers import Conv2D, DepthwiseConv2D
from deeplablib.utils.backend import keras


def test_convolutions_are_counted_by_hand():
    image = keras.Input((None, None, 3))
    net = Conv2D(4, 3, strides=2, name='a')(image)
    net = Conv2D(5, 3, dilation_rate=2, name='b')(net)
    net = keras.layers.BatchNormalization()(net)
    model = keras.Model(image, Conv2D(2, 1, name='c')(net))
    a, b, c = 3 * 3 * 3 * 4, 3 * 3 * 4 * 5, 5 * 2
    assert forward_flops(model, 9, 16) == 2 * (a + b + c) * 5 * 8


def test_a_dilated_depthwise_convolution_is_counted_whole():
    image = keras.Input((None, None, 3))
    for dilation in (1, 2):
        model = keras.Model(image, DepthwiseConv2D(5, dilation_rate=dilation)(image))
        assert forward_flops(model, 8, 16) == 2 * (5 * 5 * 3) * 8 * 16


def test_a_network_of_twice_the_width_does_four_times_the_work_within():
    def within(width):
        """All but the first convolution and the last, whose ends are colours and classes."""
        model = NETWORKS['vgg'].build(width=width)
        first, last = model.get_layer('conv1_1').filters, model.get_layer('fc7').filters
        return forward_flops(model, 64, 48) - 2 * (27 * first * 64 * 48 + last * 21 * 8 * 6)

    assert within(1 / 16) == 4 * within(1 / 32)


def test_the_rate_of_products_is_that_of_this_machine():
    start = time.monotonic()
    assert 1e8 < matmul_rate(seconds=0.1) < 1e16
    assert time.monotonic() - start < 20

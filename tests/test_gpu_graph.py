import pytest

from deeplablib.data.network_input import decode_image
from deeplablib.network.folding import fold_for_prediction
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.multi_scale import make_predictor
from deeplablib.utils.backend import tf
from tests import golden
from tests.gpu_kernels import without_gpu_kernel


@pytest.mark.parametrize(
    'encoder_name, precision',
    [
        ('res50', 'float32'),
        ('res50', 'bfloat16'),
        ('vgg', 'bfloat16'),
        ('vgg_aspp', 'float32'),
        ('lite0', 'bfloat16'),
    ],
)
def test_every_operation_of_a_prediction_has_a_gpu_kernel(encoder_name, precision):
    network = golden.NETWORKS[encoder_name]
    model = fold_for_prediction(network.build(width=1 / 16), precision)
    predict = make_predictor(model, network.to_score_map, scales=(1.0, 0.5))
    assert without_gpu_kernel(predict.get_concrete_function()) == []


def test_only_decoding_must_stay_on_the_cpu():
    decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])
    operations = without_gpu_kernel(decode.get_concrete_function())
    assert [operation.split('(')[0] for operation in operations] == ['DecodeJpeg']


def test_the_check_finds_an_operation_or_a_type_without_a_kernel():
    def graph(function, dtype):
        traced = tf.function(function, input_signature=[tf.TensorSpec([4], dtype)])
        return traced.get_concrete_function()

    assert without_gpu_kernel(graph(tf.unique, tf.float32)) == []
    assert without_gpu_kernel(graph(tf.strings.upper, tf.string)) == ['StringUpper()']

    def resize(pixels):
        return resize_bilinear(pixels[None, :, None, None], (2, 2))

    assert without_gpu_kernel(graph(resize, tf.float32)) == []
    assert without_gpu_kernel(graph(resize, tf.uint8)) == ['ResizeBilinear(T=4)']

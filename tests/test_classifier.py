"""The tag classifier and the cues that are made from it, on small networks and generated images."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

import deeplab_vgg.settings
from deeplab_efficientnet import settings as lite0
from deeplablib.data.images import IMG_MEAN
from deeplablib.data.score_maps import resize_bilinear
from deeplablib.network.convolution import has_dilated_gradients
from deeplablib.training import objective
from deeplablib.training.training_log import RunLog, read_log
from deeplablib.utils.backend import tf
from deeplablib.weights import checkpoints
from deeplablib.weights.load_model import load_tag_classifier
from selection import make_cams, train_classifier
from tests import deterministic, golden
from tests.command import refused, run_command
from tests.conversion import assert_same
from tests.training_run import make_samples, run_main

STEPS = 60
CONVOLUTIONS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}  # of the blocks of VGG16


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Six images of a rectangle each, of the colours of classes 1 to 3, and their tags."""
    folder = tmp_path_factory.mktemp('data')
    make_samples(folder, count=6)
    (folder / 'images.txt').write_text(''.join(f's{i}\n' for i in range(6)))
    (folder / 'tags.txt').write_text(''.join(f's{i} {1 + i % 3}\n' for i in range(6)))
    return folder


def train(data, run='run', *options, **changes):
    flags = {
        'data-dir': data,
        'data-list': data / 'images.txt',
        'tags': data / 'tags.txt',
        'out': data / run,
        'pretrain-file': '',
        'width': 1 / 64,
        'num-steps': 4,
        'save-interval': 2,
        'batch-size': 2,
        'crop-size': 33,
    }
    words = [f'--{name}={value}' for name, value in (flags | changes).items()]
    return run_command('selection.train_classifier', *words, *options)


def run_make_cams(data, model, out, *options, **changes):
    flags = {
        'data-dir': data,
        'data-list': data / 'images.txt',
        'tags': data / 'tags.txt',
        'out': data / out,
        'restore-from': model,
    }
    words = [f'--{name}={value}' for name, value in (flags | changes).items()]
    return run_command('selection.make_cams', *words, *options)


@pytest.fixture(scope='module')
def drawn(data):
    """A checkpoint of a classifier whose weights are drawn, large enough to respond."""
    network = train_classifier.NETWORKS['vgg']
    model = network.build_classifier(width=1 / 8)
    variables = network.variables(model)
    (data / 'drawn').mkdir()
    values = {name: deterministic.weight(name, v.shape) for name, v in variables.items()}
    checkpoints.write(data / 'drawn/model', values)
    return data / 'drawn/model'


@pytest.fixture(scope='module')
def trained(data):
    result = train(data, 'trained', frozen=0)
    assert result.code == 0, result.error
    return data / 'trained'


# Training


def test_a_run_leaves_log_and_checkpoints_under_the_original_names(data, trained):
    assert read_log(trained / 'log.txt')[0] == [0, 1, 2, 3, 4]
    values = checkpoints.read(trained)
    names = [f'conv{b}_{i + 1}' for b, count in CONVOLUTIONS.items() for i in range(count)]
    expected = {f'{name}_{kind}' for name in names for kind in ('weights', 'bias')}
    expected |= {'classifier_weights'}
    assert set(values) == expected | {f'{name}/Momentum' for name in expected}
    assert values['classifier_weights'].shape == (1, 1, 8, 20)


def test_first_blocks_keep_their_weights(data):
    train(data, 'frozen', frozen=3, **{'learning-rate': 0.1})
    first, last = (checkpoints.read(data / f'frozen/model.ckpt-{step}') for step in (2, 4))
    for name in first:
        if name.endswith('weights'):
            changed = not np.array_equal(first[name], last[name])
            assert changed == (name[4] in '45' or name.startswith('classifier')), name


@pytest.mark.parametrize('name, settings', [('vgg', deeplab_vgg.settings), ('lite0', lite0)])
def test_what_suits_a_network_is_the_default(name, settings):
    args = vars(train_classifier.get_arguments(['--encoder-name', name, '--crop-size', '64']))
    expected = settings.CLASSIFIER | {'crop_size': 64, 'input_height': 64}
    assert {flag: args[flag] for flag in expected} == expected


def test_on_a_frozen_encoder_it_is_solved_and_its_cues_are_propagated(data):
    network = train_classifier.NETWORKS['lite0']
    variables = network.variables(network.build_classifier(num_tags=1, width=1 / 16))
    (data / 'lite0').mkdir()
    values = {name: deterministic.weight(name, v.shape) for name, v in variables.items()}
    values = {name: abs(v) if 'variance' in name else v for name, v in values.items()}
    del values[network.tag_kernel]
    checkpoints.write(data / 'lite0/init', values)
    flags = {'encoder-name': 'lite0', 'pretrain-file': data / 'lite0/init', 'width': 1 / 16}
    valid = ('--valid-list', data / 'images.txt')
    result = train(data, 'solved', *valid, **flags, frozen=5)
    assert result.code == 0 and 'mean average precision 100.0' in result.out, result.error
    solved = checkpoints.read(data / 'solved')
    assert all(np.array_equal(solved[name], values[name]) for name in values)
    result = run_make_cams(data, data / 'solved', 'propagated')
    assert result.code == 0, result.error
    cues = sorted(path.name for path in (data / 'propagated').glob('*.png'))
    assert cues == [f's{i}_{i % 3}.png' for i in range(6)]
    refused(
        run_make_cams(data, data / 'solved', 'no', '--scales', '1'), 'give --no-propagation too'
    )


def test_masks_are_not_read_and_tags_of_other_images_are_passed_over(data):
    lines = [f'/JPEGImages/s{i}.jpg /SegmentationClassAug/not_there.png\n' for i in range(6)]
    (data / 'masks.txt').write_text(''.join(lines))
    (data / 'more_tags.txt').write_text((data / 'tags.txt').read_text() + 'elsewhere 7\n')
    given = {'data-list': data / 'masks.txt', 'tags': data / 'more_tags.txt', 'num-steps': 1}
    result = train(data, 'no_mask', **given)
    assert result.code == 0, result.error
    assert 'note: no image has these tags, and they are not learnt: boat, bottle, bus' in result.out


def test_interrupted_run_goes_on_as_if_it_had_not_been(data, trained, monkeypatch):
    def add_then_stop(log, step, *values):
        add(log, step, *values)
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    add = RunLog.add
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, 'add', add_then_stop)
        assert train(data, 'stopped', frozen=0, **{'save-interval': 100}).code == 143
    result = train(data, 'stopped', frozen=0)
    assert result.code == 0 and 'model.ckpt-1' in result.out
    assert_same(checkpoints.read(data / 'stopped'), checkpoints.read(trained))
    assert read_log(data / 'stopped/log.txt') == read_log(trained / 'log.txt')
    (data / 'swapped.txt').write_text((data / 'tags.txt').read_text().replace('s1 2', 's1 3'))
    refused(train(data, 'stopped', frozen=0, tags=data / 'swapped.txt'), 'settings: tags ')


def test_bfloat16_trains_float32_variables_or_is_refused(data, drawn):
    given = {'precision': 'bfloat16', 'num-steps': 1, 'width': 1 / 8, 'pretrain-file': drawn}
    result = train(data, 'bfloat16', **given)
    cues = run_make_cams(data, drawn, 'bfloat16_cues', precision='bfloat16')
    if not has_dilated_gradients('bfloat16'):
        for each in (result, cues):
            refused(each, 'bfloat16: this CPU does not compute in it; take float32, a GPU, or')
        return
    assert result.code == cues.code == 0
    for name, value in checkpoints.read(data / 'bfloat16').items():
        assert value.dtype == np.float32 and np.isfinite(value).all(), name
    run_make_cams(data, drawn, 'float32_cues')
    for i in range(6):
        maps = [
            np.array(Image.open(data / f'{folder}_cues/s{i}_{i % 3}.png')).astype(int)
            for folder in ('bfloat16', 'float32')
        ]
        assert abs(maps[0] - maps[1]).mean() < 8, 'of 255'


def test_loss_is_the_sigmoid_cross_entropy_of_the_pooled_map():
    network = train_classifier.NETWORKS['vgg']
    model = network.build_classifier(num_tags=3, width=1 / 64)
    model.get_layer('classifier').kernel.assign(np.random.default_rng(0).normal(size=(1, 1, 8, 3)))
    images = np.random.default_rng(1).normal(0, 50, (2, 33, 40, 3)).astype(np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 1]], np.uint8)
    loss = objective.tag_map_loss(model, images, [labels], [tf.constant(6.0)])

    logits = model(images).numpy().mean((1, 2))
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.log(np.where(labels, probabilities, 1 - probabilities)).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize('name', ['vgg', 'res50', 'lite0'])
def test_map_has_a_cell_for_sixteen_pixels_and_no_dilation(name):
    model = train_classifier.NETWORKS[name].build_classifier(num_tags=2, width=1 / 64)
    assert model(np.zeros((1, 65, 47, 3), np.float32)).shape == (1, 5, 3, 2)
    rates = [getattr(layer, 'dilation_rate', (1, 1)) for layer in model.layers]
    assert set(rates) == {(1, 1)}
    kernels = {v.path: tuple(v.shape) for v in model.weights if 'classifier' not in v.path}
    of_network = train_classifier.NETWORKS[name].build(width=1 / 64).weights
    assert kernels.items() <= {v.path: tuple(v.shape) for v in of_network}.items()


def test_it_learns_to_tell_the_classes_and_where_they_are(data, drawn):
    held_out = {'valid-list': data / 'images.txt', 'save-interval': STEPS}
    more = {'width': 1 / 8, 'num-steps': STEPS, 'batch-size': 6, 'frozen': 0}
    result = train(data, 'learnt', **held_out, **more, **{'pretrain-file': drawn})
    assert result.code == 0, result.error
    assert f'step {STEPS}: validation 1.0000, the best so far' in result.out
    assert run_make_cams(data, data / 'learnt', 'learnt_cues', '--scales', '2', '3').code == 0
    differences = []
    for i in range(6):
        cue = np.array(Image.open(data / f'learnt_cues/s{i}_{i % 3}.png')) / 255
        inside = np.array(Image.open(data / f'SegmentationClassAug/s{i}.png')) == 1 + i % 3
        differences.append(cue[inside].mean() - cue[~inside].mean())
    assert np.mean(differences) > 0.1, differences


# A segmentation from a classifier, and one where the other is wanted


@pytest.mark.parametrize('name', ['vgg', 'res50'])
def test_its_encoder_starts_a_segmentation(data, name):
    network = train_classifier.NETWORKS[name]
    checkpoints.write(data / name, network.variables(network.build_classifier(width=1 / 64)))
    flags = {'encoder_name': name, 'learning_rate': 0, 'num_steps': 1, 'weight_decay': 0}
    result = run_main(data, f'from_{name}', pretrain_file=data / name, **flags)
    assert result.code == 0, result.error
    values, given = checkpoints.read(data / f'from_{name}/model'), checkpoints.read(data / name)
    encoder = [n for n in given if 'classifier' not in n]
    assert len(encoder) >= 26
    for variable in encoder:
        np.testing.assert_array_equal(values[variable], given[variable], err_msg=variable)
    fresh = 'note: this is a tag classifier' in result.out
    assert fresh == (name == 'vgg')
    assert fresh == ('anew: fc6_weights, fc6_bias, fc7_weights, fc7_bias\n' in result.out)


def test_each_kind_of_checkpoint_is_refused_where_the_other_is_wanted(data, trained):
    segmentation = golden.narrow_checkpoint(data / 'segmentation', 'vgg', 1 / 64)
    message = f'{segmentation}: not a tag classifier; python -m selection.train_classifier'
    refused(run_make_cams(data, segmentation, 'wrong'), message)
    scripts = {
        'test_vocspsm_vgg': ('--data-dir', data, '--data-list', data / 'images.txt'),
        'predict': (data / 'JPEGImages/s0.jpg',),
    }
    for script, arguments in scripts.items():
        result = run_command(script, *arguments, '--restore-from', trained)
        refused(result, 'model.ckpt-4: a tag classifier, which labels no pixels')


# Cues


def half_pixel_weights(old, new):
    """Bilinear interpolation from old to new samples with half-pixel centres: [new, old]."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - abs(place[:, None] - np.arange(old)), 0)


def test_cam_is_the_sum_over_scales_and_mirror_images(data, drawn):
    out = 'by_hand'
    assert run_make_cams(data, drawn, out, '--scales', '0.5', '1', '1.5').code == 0
    model = load_tag_classifier(train_classifier.NETWORKS, drawn)[1]
    image = tf.io.decode_jpeg((data / 'JPEGImages/s1.jpg').read_bytes()).numpy()
    height, width = image.shape[:2]
    total = np.zeros((height, width))
    for mirrored in (False, True):
        source = image[:, ::-1] if mirrored else image
        source = source[..., ::-1] - np.array(IMG_MEAN, np.float32)
        for scale in (0.5, 1, 1.5):
            scaled = resize_bilinear(source, (int(height * scale), int(width * scale)))
            response = np.maximum(model(scaled[None])[0, ..., 1], 0)
            rows, columns = response.shape
            part = (
                half_pixel_weights(rows, height) @ response @ half_pixel_weights(columns, width).T
            )
            total += part[:, ::-1] if mirrored else part
    assert total.max() > 0
    cue = np.array(Image.open(data / out / 's1_1.png'))
    assert np.abs(cue - 255 * total / total.max()).max() < 0.51


def test_mirrored_image_has_the_mirrored_cam(drawn):
    cam = make_cams.make_cam_function(load_tag_classifier(train_classifier.NETWORKS, drawn)[1])
    image = np.random.default_rng(0).integers(0, 256, (45, 37, 3), np.uint8)
    tags = np.arange(20) < 3
    maps = cam(image, tags)
    assert maps.shape == (45, 37, 3) and maps.numpy().max() == 1
    np.testing.assert_allclose(cam(image[:, ::-1], tags)[:, ::-1], maps, atol=1e-5)


def test_cues_are_made_of_tags_only_and_resumed(data, drawn):
    (data / 'some_tags.txt').write_text('s0 1 3\ns1\ns2 20\n')
    (data / 'some.txt').write_text('s0\ns1\ns2\n')
    given = {'data-list': data / 'some.txt', 'tags': data / 'some_tags.txt', 'scales': 1}
    result = run_make_cams(data, drawn, 'some', **given)
    assert result.code == 0 and 'note: 1 images have no tags' in result.out
    out = data / 'some'
    assert sorted(path.name for path in out.glob('*.png')) == ['s0_0.png', 's0_2.png', 's2_19.png']
    cue = Image.open(out / 's0_2.png')
    assert cue.mode == 'L' and cue.size == Image.open(data / 'JPEGImages/s0.jpg').size
    before = (out / 's2_19.png').stat().st_mtime_ns
    content = (out / 's0_0.png').read_bytes()
    (out / 's0_0.png').unlink()
    resumed = run_make_cams(data, drawn, 'some', '--resume', **given)
    assert '1 of 2 images are done already' in resumed.out
    assert (out / 's0_0.png').read_bytes() == content
    assert (out / 's2_19.png').stat().st_mtime_ns == before


def test_a_map_that_is_nowhere_positive_is_empty(drawn):
    model = load_tag_classifier(train_classifier.NETWORKS, drawn)[1]
    kernel = model.get_layer('classifier').kernel
    kernel.assign(-abs(kernel))
    image = np.random.default_rng(0).integers(0, 256, (33, 40, 3), np.uint8)
    assert (
        not make_cams.make_cam_function(model, scales=(1,))(image, np.arange(20) < 2).numpy().any()
    )


# Bad input


def test_bad_input_to_the_classifier_is_named(data):
    (data / 'alike.txt').write_text(''.join(f's{i} 1\n' for i in range(6)))
    refused(train(data, 'bad', tags=data / 'alike.txt'), 'all images have the same tags; a class')
    (data / 'five.txt').write_text(''.join(f's{i} {1 + i % 3}\n' for i in range(5)))
    refused(train(data, 'bad', tags=data / 'five.txt'), 'images.txt, line 6: no tags for s5')
    (data / 'gone.txt').write_text('s0\ngone\n')
    result = train(data, 'bad', **{'valid-list': data / 'gone.txt'})
    refused(result, 'gone.txt, line 2: no tags for gone')
    refused(train(data, 'bad', frozen=6), 'value 6 of --frozen: expected 0 to 5')


def test_bad_input_to_the_cams_is_named(data, drawn):
    refused(run_make_cams(data, data / 'nowhere', 'bad'), 'nowhere: no such checkpoint')
    refused(run_make_cams(data, drawn, 'bad', scales=0), 'value 0 of --scales: must be positive')

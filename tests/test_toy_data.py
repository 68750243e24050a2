from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplablib.data.image_lists import read_list
from deeplablib.data.sample_check import check_samples
from deeplablib.data.voc import CLASSES
from experiments.toy_data import make_cue, make_data
from selection.make_tags import tags_of_file
from tests.command import run_command

IMAGES = {'initial': 3, 'train': 12, 'val': 2}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    make_data(folder, seed=7, images=IMAGES, size=64, jobs=1)
    return folder


def contents(folder):
    paths = sorted(path for path in Path(folder).rglob('*') if path.suffix)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_every_list_names_images_with_masks_that_fit(data):
    seen = set()
    for split, count in IMAGES.items():
        samples = read_list(data / f'{split}.txt', data)
        check_samples(samples, data, need_masks=True)
        names = (data / f'ImageSets/Segmentation/{split}.txt').read_text().split()
        assert names == [sample.name for sample in samples] and len(names) == count
        assert seen.isdisjoint(names), 'splits share no image'
        seen.update(names)


def test_tags_cues_and_saliency_fit_the_masks(data):
    tags, of_masks = (
        {path.stem: tags_of_file(CLASSES, path) for path in (data / folder).iterdir()}
        for folder in ('Annotations', 'SegmentationClassAug')
    )
    assert tags == of_masks
    assert len({tag for ids in tags.values() for tag in ids}) >= 10, 'many classes'
    for name, ids in tags.items():
        assert 1 <= len(ids) <= 3
        cues = {path.name for path in (data / 'cues').glob(f'{name}_*.png')}
        assert cues == {f'{name}_{i - 1}.png' for i in ids}
        for path in [*(data / 'cues' / cue for cue in cues), data / f'saliency/{name}.png']:
            with Image.open(path) as image:
                assert image.mode == 'L' and image.size == (64, 64)


def test_the_seed_and_the_number_of_an_image_alone_decide_what_is_drawn(data, tmp_path):
    fewer = {split: 2 for split in IMAGES}
    for folder, seed in (('again', 7), ('other', 8)):
        (tmp_path / folder).mkdir()
        make_data(tmp_path / folder, seed, fewer, 64, jobs=1)
    drawn, again = contents(data), contents(tmp_path / 'again')
    images = [name for name in again if not name.endswith('.txt')]
    assert all(again[name] == drawn[name] for name in images)
    other = contents(tmp_path / 'other')
    assert other['JPEGImages/val_000000.jpg'] != drawn['JPEGImages/val_000000.jpg']


def test_an_object_of_which_one_pixel_is_seen_has_a_cue():
    mask, clutter = np.zeros((64, 64), np.uint8), np.zeros((64, 64))
    mask[5, 5] = 3
    for seed in range(20):
        cue = make_cue(np.random.default_rng(seed), mask, 3, clutter)
        assert cue.shape == mask.shape and cue.max() > 250


def test_bad_flags_are_refused(tmp_path):
    for flag, value in (('--train', '0'), ('--size', '8'), ('--seed', '-1')):
        result = run_command('experiments.toy_data', '--out', tmp_path / 'toy', flag, value)
        assert result.code == 2 and 'Traceback' not in result.error
    assert not (tmp_path / 'toy').exists()

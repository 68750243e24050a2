"""Small training runs of main.py on generated samples."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from tests.command import run_command

COLOURS = np.array([[90, 90, 90], [220, 60, 50], [40, 80, 210], [60, 200, 70]])


def make_samples(folder, count=4, height=40, width=33, palette=False):
    """Write images of one coloured rectangle, their masks (classes 0 to 3), and list.txt."""
    rng = np.random.default_rng(0)
    for name in ('JPEGImages', 'SegmentationClassAug'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        mask = np.zeros((height, width), np.uint8)
        top, left = rng.integers(0, (height // 2, width // 2))
        mask[top : top + height // 2, left : left + width // 2] = 1 + i % 3
        image = COLOURS[mask] + rng.normal(0, 12, (height, width, 3))
        mask[top, left : left + 2 + i] = 255
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
            folder / f'JPEGImages/s{i}.jpg', quality=95
        )
        mask = Image.fromarray(mask)
        if palette:
            mask.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
        mask.save(folder / f'SegmentationClassAug/s{i}.png')
        lines.append(f'/JPEGImages/s{i}.jpg /SegmentationClassAug/s{i}.png\n')
    (folder / 'list.txt').write_text(''.join(lines))


def batch_settings(size, batch_size=1, **changes):
    """The flags of main.py that make batches; size: (height, width) of the crops."""
    flags = {'input_height': size[0], 'input_width': size[1], 'batch_size': batch_size}
    flags |= {'grad_update_every': 1, 'random_seed': 1234, 'shuffle': True, 'ignore_label': 255}
    return SimpleNamespace(**flags | {'random_scale': True, 'random_mirror': True} | changes)


def flags_of(folder, run='run', **changes):
    """The command line of a small run that keeps everything it writes in folder/run.

    changes: of flags; None leaves one out.
    """
    flags = {
        'data_dir': folder,
        'data_list': folder / 'list.txt',
        'encoder_name': 'vgg',
        'pretrain_file': '',
        'width': 1 / 64,
        'num_classes': 4,
        'num_steps': 4,
        'save_interval': 2,
        'batch_size': 2,
        'input_height': 33,
        'input_width': 33,
        'learning_rate': 1e-3,
        'modeldir': folder / run / 'model',
        'logfile': folder / run / 'log.txt',
        'logdir': folder / run / 'log',
        'out_dir': folder / run / 'output',
    }
    return [f'--{name}={value}' for name, value in (flags | changes).items() if value is not None]


def run_main(folder, run='run', **changes):
    """Run main.py with flags_of in this process; returns a tests.command.Result."""
    return run_command('main', *flags_of(folder, run, **changes))

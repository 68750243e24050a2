"""Dense-CRF post-processing of the scores that a test script saved with --save-scores.

python test_vocspsm_resnet.py --save-scores ./scores
python crf_vocspsm.py --scores ./scores --save-dir ./result_crf
"""

import argparse
from pathlib import Path

from deeplablib.data.classes import add_classes, default_classes
from deeplablib.data.image_lists import check_files_of, read_list
from deeplablib.data.sample_check import check_outputs, check_samples
from deeplablib.data.score_maps import read_score_map
from deeplablib.data.tags import read_allowed
from deeplablib.prediction import crf
from deeplablib.prediction.metrics import report
from deeplablib.utils import errors, parallel
from deeplablib.utils.errors import InputError
from deeplablib.utils.files import make_output_folder

# Change these to your own paths; each is the default of a flag (--help).
DATA_DIRECTORY = './VOC2012/'
DATA_LIST_PATH = './dataset/val.txt'
SCORES_DIR = './scores/'
SAVE_DIR = './result_crf/'


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(flag, default, help):
        parser.add_argument(flag, default=default, help=f'{help} (default: %(default)s)')

    add('--scores', SCORES_DIR, 'folder of score files, NAME.npz')
    add('--data-dir', DATA_DIRECTORY, 'folder that the paths of the list start from')
    add('--data-list', DATA_LIST_PATH, 'list of images, "IMAGE", "IMAGE MASK" or "NAME" a line')
    add('--save-dir', SAVE_DIR, 'where label maps go, NAME.png')
    parser.add_argument(
        '--tags', help="keep only each image's own classes and background: file or folder of tags"
    )
    add_classes(parser, None, "VOC's where the scores are of 21 classes")
    parallel.add_jobs(parser)
    parallel.add_resume(parser)
    crf.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Label the list and, when it names masks, print the IoU table."""
    args = get_arguments()
    parameters = crf.parameters_from(args)
    parallel.check_workers(args.jobs)
    samples = read_list(args.data_list, args.data_dir)
    if not Path(args.scores).is_dir():
        raise InputError(f'{args.scores}: no such folder of scores')
    check_files_of(samples, Path(args.scores), 'scores', '.npz')
    num_classes = read_score_map(Path(args.scores) / f'{samples[0].name}.npz')[0].shape[-1]
    classes = args.classes or default_classes(num_classes)
    if len(classes) != num_classes:
        raise InputError(f'--classes: {len(classes)} names, but scores of {num_classes} classes')
    check_samples(samples, args.data_dir, num_classes)
    check_outputs(samples, args.save_dir)
    allowed_by_image = read_allowed(args.tags, classes, samples) if args.tags else None
    save_dir = make_output_folder(args.save_dir)

    waiting = samples
    if args.resume:
        waiting = parallel.left_to_do(samples, lambda s: (save_dir / f'{s.name}.png').is_file())
    crf.crf_samples(
        waiting,
        Path(args.scores),
        save_dir,
        parameters,
        prune=args.prune,
        allowed_by_image=allowed_by_image,
        jobs=args.jobs,
    )
    report(samples, save_dir, classes)


if __name__ == '__main__':
    errors.run_script(main)

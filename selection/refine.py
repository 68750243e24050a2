"""Refined masks: the network's scores, restricted to the image's tags, after the CRF.

python test_vocspsm_resnet.py --data-list ./dataset/train.txt --save-scores ./result/scores
python -m selection.refine --scores ./result/scores --out ./result/refined

Known: predictions are restricted to the image's tags. Reconstructed: that the CRF's labels are the
candidates. OUT/scores.csv holds the scores of each mask (selection.measures) for selection.masks.
"""

from functools import partial
from pathlib import Path

from deeplablib import crf, errors
from deeplablib.crf import crf_labels
from deeplablib.crf_samples import check_scores, read_probabilities
from deeplablib.files import locked, make_output_folder
from deeplablib.images import read_image, read_mask, write_mask
from deeplablib.parallel import for_each
from selection.arguments import add_work_flags, read_samples, step_parser
from selection.measures import COLUMNS, measure
from selection.table import write_table

TABLE = 'scores.csv'


def refine(samples, allowed, scores, out, parameters, prune=0.0, resume=False, jobs=-1):
    """Save the refined mask of each image as OUT/NAME.png, and the table OUT/scores.csv.

    samples: list of Sample. allowed: dict from image name to bool [classes]. scores: folder of
    score files. out: an existing folder. parameters, prune: as for crf.crf_labels.
    resume: keep the masks that are there; they are only scored. jobs: as for parallel.for_each.
    Raises InputError for every missing score file, and for one that does not fit its image.
    """
    scores, out = Path(scores), Path(out)
    check_scores(samples, scores)
    work = partial(_refine_one, scores, out, parameters, prune, resume)
    items = [(sample, allowed[sample.name]) for sample in samples]
    with locked(out):
        rows = list(for_each(work, items, 'refining', jobs))
        names = [sample.name for sample in samples]
        columns = ['crf_agreement', *COLUMNS[1:]]
        write_table(out / TABLE, columns, dict(zip(names, rows, strict=True)))


def _refine_one(scores, out, parameters, prune, resume, item):
    sample, allowed = item
    image = read_image(sample.image)
    size = image.shape[:2]
    probabilities = read_probabilities(scores / f'{sample.name}.npz', size, allowed)
    path = out / f'{sample.name}.png'
    if resume and path.is_file():
        labels = read_mask(path, size=size)
    else:
        labels = crf_labels(image, probabilities, parameters, prune)
        write_mask(path, labels)
    return measure(labels, probabilities, allowed)


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/refined', 'where masks and scores.csv go')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    add_work_flags(parser)
    crf.add_arguments(parser)
    return parser.parse_args()


def main():
    """Refine the list."""
    args = get_arguments()
    parameters = crf.parameters_from(args)
    samples, allowed = read_samples(args)
    out = make_output_folder(args.out)
    refine(samples, allowed, args.scores, out, parameters, args.prune, args.resume, args.jobs)
    print(f'The refined masks and their scores have been saved to {out}')


if __name__ == '__main__':
    errors.run(main)

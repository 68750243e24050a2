"""Score masks that are there already, such as the annotations that a round was trained on.

python -m selection.score --masks ./result/proxies --scores ./result/scores --out ./result/kept.csv

Reconstructed (selection.measures). Refined masks have their scores from selection.refine: the
agreement with the network ranks what the network was given, not what it gives.
"""

from functools import partial
from pathlib import Path

from deeplablib import errors, parallel
from deeplablib.crf_samples import read_probabilities
from deeplablib.files import make_output_folder
from deeplablib.images import read_mask
from deeplablib.samples import check_files_of
from selection.arguments import read_samples, step_parser
from selection.measures import COLUMNS, measure
from selection.table import write_table


def score(samples, allowed, masks, scores, out, jobs=-1):
    """Write the scores of a folder of masks.

    samples: list of Sample. allowed: dict from image name to bool [classes]. masks: folder of
    NAME.png. scores: folder of score files of the network. out: path of the table, CSV.
    jobs: as for parallel.for_each. Raises InputError for every missing or unfitting file.
    """
    masks, scores = Path(masks), Path(scores)
    check_files_of(samples, scores, 'scores', '.npz')
    check_files_of(samples, masks, 'mask')
    names = [sample.name for sample in samples]
    items = [(name, allowed[name]) for name in names]
    rows = parallel.for_each(partial(_score_one, masks, scores), items, 'scoring', jobs)
    columns = ['annotation_agreement', *COLUMNS[1:]]
    write_table(out, columns, dict(zip(names, rows, strict=True)))


def _score_one(masks, scores, item):
    name, allowed = item
    mask = read_mask(masks / f'{name}.png')
    probabilities = read_probabilities(scores / f'{name}.npz', mask.shape, allowed)
    return measure(mask, probabilities, allowed)


def get_arguments():
    """Parse the command line."""
    parser = step_parser(__doc__, './result/scores.csv', 'where the table goes')
    parser.add_argument('--masks', required=True, help='folder of masks, NAME.png')
    parser.add_argument('--scores', required=True, help='folder of score files, NAME.npz')
    parallel.add_jobs(parser)
    return parser.parse_args()


def main():
    """Score the list."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    make_output_folder(Path(args.out).parent)
    score(samples, allowed, args.masks, args.scores, args.out, args.jobs)
    print(f'The scores of {len(samples)} masks have been saved to {args.out}')


if __name__ == '__main__':
    errors.run(main)

"""Score masks that are there already, such as the annotations that a round was trained on.

python -m selection.score --masks ./result/proxies --scores ./result/scores --out ./result/kept.csv

Reconstructed (selection.shared.mask_quality). Refined masks have their scores from
selection.refine: the agreement with the network ranks what the network was given, not what it
gives.
"""

from functools import partial
from pathlib import Path

from deeplablib.data.image_lists import check_files_of
from deeplablib.data.images import read_mask
from deeplablib.data.score_maps import read_probabilities
from deeplablib.run import errors, parallel
from deeplablib.run.errors import InputError
from deeplablib.run.files import make_output_folder
from selection.shared.mask_quality import OF_ANNOTATION, measure
from selection.shared.quality_table import read_table, write_table
from selection.shared.step_flags import add_work_flags, read_samples, step_parser

SAVE_EVERY = 500  # images, some ten seconds of work


def score(samples, allowed, masks, scores, out, resume=False, jobs=-1):
    """Write the scores of a folder of masks.

    samples: list of Sample. allowed: dict from image name to bool [classes]. masks: folder of
    NAME.png. scores: folder of score files of the network. out: path of the table, CSV, which is
    saved again and again on the way. resume: keep the scores that are in it.
    jobs: as for parallel.for_each. Raises InputError for every missing or unfitting file.
    """
    masks, scores = Path(masks), Path(scores)
    check_files_of(samples, scores, 'scores', '.npz')
    check_files_of(samples, masks, 'mask')
    rows = {}
    if resume and Path(out).is_file():
        columns, rows = read_table(out)
        if tuple(columns) != OF_ANNOTATION:
            raise InputError(f'{out}: a table of other scores; choose another --out')
    items = [(s.name, allowed[s.name]) for s in samples if s.name not in rows]
    made = parallel.for_each(partial(_score_one, masks, scores), items, 'scoring', jobs)
    for (name, _), row in zip(items, made, strict=True):
        rows[name] = row
        if len(rows) % SAVE_EVERY == 0:
            write_table(out, OF_ANNOTATION, rows)
    write_table(out, OF_ANNOTATION, rows)


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
    add_work_flags(parser)
    return parser.parse_args()


def main():
    """Score the list."""
    args = get_arguments()
    samples, allowed = read_samples(args)
    make_output_folder(Path(args.out).parent)
    score(samples, allowed, args.masks, args.scores, args.out, args.resume, args.jobs)
    print(f'The scores of {len(samples)} masks have been saved to {args.out}')


if __name__ == '__main__':
    errors.run(main)

"""A look at a selection: one HTML page that needs no other file.

python -m selection.report --table ./result/refined/scores.csv --masks ./result/refined \
    --annotations ./result/proxies --out ./result/report.html

It shows the distribution of the mask quality, what is kept of each class, and the best, the
borderline and the worst masks. The flags of the choice are those of selection.masks.
"""

import argparse
from pathlib import Path

import numpy as np

from deeplablib.data.image_lists import check_files_of
from deeplablib.run import errors
from deeplablib.run.files import make_output_folder, replacing
from selection.masks import cut, select_masks
from selection.report.page import report_page
from selection.shared.selection_flags import add_selection_flags, mask_paths, read_quality
from selection.shared.step_flags import read_samples, step_parser


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/report.html', 'where the page goes')
    parser.prog = 'python -m selection.report'
    add_selection_flags(parser, need_table=True)
    parser.add_argument('--annotations', help='folder of what the network was trained on, NAME.png')
    return parser.parse_args()


def main() -> None:
    """Write the page."""
    args = get_arguments()
    samples, allowed_by_image = read_samples(args)
    shown = np.array([allowed_by_image[sample.name] for sample in samples])
    quality, masks = read_quality(args, samples), mask_paths(args, samples)
    kept = select_masks(quality, shown, args.fraction, args.threshold, args.class_minimum)
    check_files_of(samples, Path(args.masks), 'mask')
    annotations = None
    if args.annotations:
        check_files_of(samples, Path(args.annotations), 'annotation')
        annotations = [Path(args.annotations) / path.name for path in masks]
    page = report_page(
        samples,
        shown=shown,
        quality=quality,
        kept=kept,
        masks=masks,
        level=cut(quality, args.fraction, args.threshold),
        title=f'Selection by {args.measure}',
        annotations=annotations,
    )
    make_output_folder(Path(args.out).parent)
    with replacing(args.out) as temporary:
        temporary.write_text(page, encoding='utf-8')
    print(f'The report has been saved to {args.out}')


if __name__ == '__main__':
    errors.run(main)

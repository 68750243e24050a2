r"""A look at a selection: one HTML page that needs no other file.

python -m selection.show_selection --table ./result/refined/scores.csv --masks ./result/refined \
    --annotations ./result/proxies --out ./result/report.html

The page shows the distribution of the mask quality, what is kept of each class, and the best, the
borderline and the worst masks. The flags of the choice are those of selection.select_masks.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.utils import errors
from deeplablib.utils.files import check_output_file, replacing
from selection.select_masks import cut, select_masks
from selection.selection_page import report_page
from selection.shared.selection_flags import add_selection_flags, mask_paths, read_quality
from selection.shared.step_flags import read_samples, step_parser


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/report.html', 'where the page goes')
    add_selection_flags(parser)
    parser.add_argument('--annotations', help='folder of what the network was trained on, NAME.png')
    args = parser.parse_args()
    if not args.table:
        parser.error('give --table')
    return args


def main() -> None:
    """Write the page."""
    args = get_arguments()
    check_output_file(args.out)
    samples, allowed_by_image = read_samples(args)
    shown = np.array([allowed_by_image[sample.name] for sample in samples])
    page = page_of_selection(args, samples, shown)
    with replacing(args.out) as temporary:
        temporary.write_text(page, encoding='utf-8', errors='surrogateescape')
    print(f'The report has been saved to {args.out}')


def page_of_selection(
    args: argparse.Namespace, samples: Sequence[Sample], shown: npt.NDArray[np.bool_]
) -> str:
    """The page of a selection."""
    quality, masks = read_quality(args, samples), mask_paths(args, samples)
    kept = select_masks(quality, shown, args.fraction, args.threshold, args.class_minimum)
    check_files_of(samples, Path(args.masks), 'mask')
    annotations = None
    if args.annotations:
        check_files_of(samples, Path(args.annotations), 'annotation')
        annotations = [Path(args.annotations) / path.name for path in masks]
    return report_page(
        samples,
        shown=shown,
        quality=quality,
        kept=kept,
        masks=masks,
        level=cut(quality, args.fraction, args.threshold),
        title=f'Selection by {args.measure}',
        classes=args.classes,
        annotations=annotations,
    )


if __name__ == '__main__':
    errors.run_script(main)

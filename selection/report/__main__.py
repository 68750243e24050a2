r"""A look at a selection, or at cues: one HTML page that needs no other file.

python -m selection.report --table ./result/refined/scores.csv --masks ./result/refined \
    --annotations ./result/proxies --out ./result/report.html
python -m selection.report --cues ./cues --masks ./result/proxies --out ./result/cues.html

The first page shows the distribution of the mask quality, what is kept of each class, and the best,
the borderline and the worst masks. The flags of the choice are those of selection.masks. The second
shows some photographs of each class, their cues, and the annotations that were made of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample, check_files_of
from deeplablib.run import errors
from deeplablib.run.files import check_output_file, replacing
from selection.masks import cut, select_masks
from selection.report.cue_page import cue_page
from selection.report.page import report_page
from selection.shared.cues import cue_paths
from selection.shared.selection_flags import add_selection_flags, mask_paths, read_quality
from selection.shared.step_flags import read_samples, step_parser


def get_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = step_parser(__doc__, './result/report.html', 'where the page goes')
    parser.prog = 'python -m selection.report'
    add_selection_flags(parser, without_table='give --cues')
    parser.add_argument('--annotations', help='folder of what the network was trained on, NAME.png')
    parser.add_argument(
        '--cues',
        type=Path,
        help='folder of cues, NAME_<class id - 1>.png: show them and --masks, the annotations that '
        'were made of them',
    )
    args = parser.parse_args()
    if bool(args.cues) == bool(args.table):
        parser.error('give --table, or --cues')
    return args


def main() -> None:
    """Write the page."""
    args = get_arguments()
    check_output_file(args.out)
    samples, allowed_by_image = read_samples(args)
    shown = np.array([allowed_by_image[sample.name] for sample in samples])
    make_page = page_of_cues if args.cues else page_of_selection
    page = make_page(args, samples, shown)
    with replacing(args.out) as temporary:
        temporary.write_text(page, encoding='utf-8', errors='surrogateescape')
    print(f'The report has been saved to {args.out}')


def page_of_cues(
    args: argparse.Namespace, samples: Sequence[Sample], shown: npt.NDArray[np.bool_]
) -> str:
    """The page of cues and the annotations that were made of them."""
    masks = mask_paths(args, samples)
    cues = [
        cue_paths(args.cues, sample.name, tags) for sample, tags in zip(samples, shown, strict=True)
    ]
    paths = [path for of_image in cues for path in of_image.values()]
    errors.raise_all([f'no cue at {path}' for path in paths if not path.is_file()])
    check_files_of(samples, Path(args.masks), 'annotation')
    return cue_page(samples, shown, cues, masks, title='Cues and annotations', classes=args.classes)


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
    errors.run(main)

"""Draws KNN accuracy over training, for one or several runs (Figure 3 of the paper).

    python tools/knn_curve.py work_dirs/aimclr work_dirs/skeletonclr --names AimCLR SkeletonCLR --out knn.png
    python tools/knn_curve.py RUN --no-evaluate         # only what was logged while training

RUN is the work directory of a pre-training. Its saved checkpoints epoch_N.pth are evaluated for every k; their
results are kept in RUN/knn_curve.json, so that an interrupted call goes on where it stopped. knn.csv beside the picture
holds all figures. configs/schedules/keep_checkpoints.py lets a training keep its checkpoints.
"""

import argparse
import os

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Work directories, how they are called and how many neighbours vote."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work directories of pre-trainings')
    parser.add_argument(
        '--k',
        type=int,
        nargs='+',
        default=[1, 5, 20],
        help='numbers of neighbours, the first one for the curve over training (default: 1 5 20)',
    )
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='of the runs; default: those of their folders'
    )
    parser.add_argument(
        '--out',
        type=cli.output_file,
        default='knn.png',
        help='picture to write: .png, .svg or .pdf',
    )
    parser.add_argument('--no-evaluate', action='store_true', help='evaluate no checkpoints')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args()
    args.names = args.names or [os.path.basename(os.path.abspath(run)) for run in args.runs]
    if len(args.names) != len(args.runs) or len(set(args.names)) < len(args.runs):
        parser.error(
            f'names {args.names}: {len(args.runs)} runs need as many different ones; give --names'
        )
    if min(args.k) < 1:
        parser.error(f'--k {min(args.k)}: every k must be at least 1')
    args.k = list(dict.fromkeys(args.k))
    return args


def main() -> None:
    """Writes picture and table and prints the last epochs."""
    args = parse_args()
    from rich.console import Console

    from aimclr_mm.evaluation import knn_curve
    from aimclr_mm.visualization.curves import draw_knn_curves
    from aimclr_mm.visualization.figures import picture_format, save_figure

    picture_format(args.out)  # a wrong ending is reported before the work begins
    points = [
        point
        for name, run in zip(args.names, args.runs)
        for point in knn_curve.run_points(name, run, args.k, not args.no_evaluate)
    ]
    table = os.path.splitext(args.out)[0] + '.csv'
    save_figure(draw_knn_curves(points, args.k), args.out)
    knn_curve.write_csv(points, table)
    Console().print(knn_curve.summary(points, args.k))
    print(f'{args.out}\n{table}')


if __name__ == '__main__':
    cli.run(main)

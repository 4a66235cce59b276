"""Draws a training: loss against its chance level, mean cosine between embeddings, KNN accuracy.

    python tools/plot.py work_dirs/aimclr_ntu60_xsub_joint          # writes training.png there

Pictures of what it learnt: tools/embedding.py and tools/knn_curve.py.
"""

import argparse
import os

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Work directory and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('run', metavar='WORK_DIR', help='work directory of a training')
    parser.add_argument(
        '--out',
        type=cli.output_file,
        help='picture to write: .png, .svg or .pdf (default: training.png in WORK_DIR)',
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Writes the picture and prints where it is."""
    args = parse_args()
    from aimclr_mm.utils.training_log import read_history
    from aimclr_mm.visualization.curves import draw_training
    from aimclr_mm.visualization.figures import save_figure

    path = args.out or os.path.join(args.run, 'training.png')
    save_figure(draw_training(read_history(args.run)), path)
    print(path)


if __name__ == '__main__':
    cli.run(main)

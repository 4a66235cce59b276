"""Writes one HTML page about a run: curves, metrics, confusion matrix, embedding, configuration, environment.

    python tools/test.py CONFIG CHECKPOINT --out WORK_DIR/eval/result.json --dump WORK_DIR/eval
    python tools/report.py WORK_DIR
    python tools/report.py WORK_DIR --out report.html --ann-file data/ntu60/ntu60_3d.pkl    # with names of classes

The page holds all that it shows and loads nothing from elsewhere. What is missing is named there with the command
that makes it. Metrics, features and scores are looked for in all folders below WORK_DIR.
"""

import argparse
import os
import sys

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Work directory, where the page goes and where the names of classes are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('run', metavar='WORK_DIR', help='work directory of a training')
    parser.add_argument(
        '--out', type=cli.output_file, help='page to write (default: WORK_DIR/report.html)'
    )
    parser.add_argument('--ann-file', help='annotation file that tells the names of the classes')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Writes the page and prints where it is, and on stderr what was left out."""
    args = parse_args()
    from aimclr_mm.visualization.report import write_report

    out = args.out or os.path.join(args.run, 'report.html')
    for note in write_report(args.run, out, args.ann_file):
        print(f'note: {note}', file=sys.stderr)
    print(out)


if __name__ == '__main__':
    cli.run(main)

"""Fuses the streams of one evaluation, "3s" in the paper.

    python tools/fuse.py JOINT/linear.npz BONE/linear.npz MOTION/linear.npz             # logits, 0.6, 0.6 and 0.4
    python tools/fuse.py JOINT/features.npz BONE/features.npz --weights 1 1 --k 1 20    # nearest neighbours

The files are those of tools/test.py --dump. Score files give the accuracy of the weighted sum of logits, feature files
that of nearest neighbours by the weighted sum of cosine similarities.
"""

import argparse
import json

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Files, weights and where the result goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', metavar='FILE', help='.npz files, one a stream')
    parser.add_argument(
        '--weights',
        type=float,
        nargs='+',
        help='one a file; 0.6 0.6 0.4 for joint, bone and motion if there are three files',
    )
    parser.add_argument(
        '--k', type=int, nargs='+', help='neighbours, for feature files (default: 1)'
    )
    parser.add_argument('--out', type=cli.output_file, help='write the metrics to this JSON file')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Fuses the files and prints the metrics."""
    args = parse_args()
    from aimclr_mm.evaluation.fusion import fuse_files
    from aimclr_mm.utils.files import atomic_write

    metrics = fuse_files(args.files, args.weights, args.k)
    for name, value in metrics.items():
        print(f'{name}: {value:.2f}')
    if args.out:
        with atomic_write(args.out) as file:
            json.dump(dict(files=args.files, weights=args.weights, metrics=metrics), file, indent=2)


if __name__ == '__main__':
    cli.run(main)

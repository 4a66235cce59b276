"""Measures the parts that exist to be fast, beside another implementation in the same run.

    python tools/benchmark.py prepare --peer MMACTION2_CHECKOUT        # readers of NTU's files, on one core
    python tools/benchmark.py prepare --recordings 114480              # time and memory at the size of NTU-120

Rounds alternate between the two; the figures, as JSON, are medians, the spread and the ratio of each round's times.
"""
import argparse
import json
import os
import platform
import tempfile

from aimclr_mm import cli


def parse_args() -> argparse.Namespace:
    """What is measured, how often, and beside what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=['prepare'], help='what is measured')
    parser.add_argument('--peer', metavar='DIR', help='checkout of mmaction2 whose reader is run in alternation')
    parser.add_argument('--files', type=int, default=60, help='made-up recordings of 60 to 300 frames, 1 or 2 people')
    parser.add_argument('--rounds', type=int, default=5, help='how often each is run, after one run to warm up')
    parser.add_argument('--recordings', type=int, help='instead: prepare a data set of that many, with all cores')
    parser.add_argument('--out', help='JSON file of the figures')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints its figures."""
    args = parse_args()
    from aimclr_mm.benchmark import prepare
    from aimclr_mm.files import atomic_write
    with tempfile.TemporaryDirectory() as folder:
        if args.recordings:
            figures = prepare.whole_data_set(folder, args.files, args.recordings)
        else:
            figures = prepare.readers(folder, args.files, args.rounds, args.peer)
    figures = dict(part=args.part, machine=platform.processor() or platform.machine(), cores=os.cpu_count(),
                   **figures)
    print(json.dumps(figures, indent=2))
    if args.out:
        with atomic_write(args.out) as file:
            json.dump(figures, file, indent=2)


if __name__ == '__main__':
    cli.run(main)

"""Writes made-up recordings of movements, in the forms that one's own have, to try the other commands with.

    python tools/sample_recordings.py recordings                    # .npy, 25 Kinect joints in metres
    python tools/sample_recordings.py poses --form mmpose           # .json of mmpose, 17 COCO joints in pixels
    python tools/sample_recordings.py more --seed 1 --subjects 2    # other people

Files are FOLDER/<action>/C001P003R001.npy: camera, person and repetition of a performance of one of 14 actions.
"""

import argparse

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Folder, form and number."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=cli.output_folder, help='to write to')
    parser.add_argument(
        '--form', choices=['kinect', 'mmpose'], default='kinect', help='default: kinect'
    )
    parser.add_argument('--subjects', type=int, default=10, help='number of people (default: 10)')
    parser.add_argument(
        '--cameras', type=int, default=2, help='number of views, 1 to 3 (default: 2)'
    )
    parser.add_argument(
        '--repetitions', type=int, default=1, help='of each action by each person (default: 1)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='other people with another one (default: 0)'
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Writes them."""
    args = parse_args()
    from aimclr_mm.datasets.own_files.samples import write_samples

    count = write_samples(
        args.folder, args.form, args.subjects, args.cameras, args.repetitions, args.seed
    )
    print(f'{args.folder}: {count} recordings')


if __name__ == '__main__':
    cli.run(main)

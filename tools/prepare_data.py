"""Makes an annotation file in mmaction2's pose format from the original files of a data set.

    python tools/prepare_data.py synthetic
    python tools/prepare_data.py ntu60 nturgbd_skeletons_s001_to_s017.zip
    python tools/prepare_data.py utd_mhad Skeleton.zip --out data/utdmhad/utdmhad_3d.pkl

SOURCE is the folder of the files, the zip archive that was downloaded, or several of them. What can not be read is
reported and left out (--strict stops instead). The result is written as a whole; a command that was interrupted goes
on where it was when it is run again. docs/datasets.md tells for each data set where to get it and what comes out.
"""
import argparse

from aimclr_mm import cli


def parse_args() -> argparse.Namespace:
    """Data set, source, result, and the options of some data sets."""
    from aimclr_mm.datasets.readers import READERS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=list(READERS), help='data set')
    parser.add_argument('source', nargs='*', help='folders or zip archives with the original files')
    parser.add_argument('--out', help='annotation file to write; in data/ if not given')
    parser.add_argument('--workers', type=int, help='processes; one for each core if not given')
    parser.add_argument('--strict', action='store_true', help='stop at the first recording that cannot be used')
    parser.add_argument('--bodies', choices=['first', 'motion'], help='ntu60, ntu120: the first two bodies of each '
                        'frame (default) or the two that move most')
    parser.add_argument('--subjects', type=int, help='synthetic: number of subjects (10)')
    parser.add_argument('--cameras', type=int, help='synthetic: number of cameras (3)')
    parser.add_argument('--repetitions', type=int, help='synthetic: repetitions of an action (2)')
    parser.add_argument('--seed', type=int, help='synthetic: seed (0)')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def build_reader(args: argparse.Namespace):
    """The reader of the data set over the files of the source."""
    from aimclr_mm.datasets.readers import OPTIONS, READERS, list_files
    kind = READERS[args.name]
    if kind.needs_source and not args.source:
        raise ValueError(f'{args.name} needs SOURCE, the folder or the archive with the original files')
    options = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    unknown = [name for name in options if name not in kind.options]
    if unknown:
        raise ValueError(f'--{unknown[0]} is no option of {args.name}')
    return kind(list_files(args.source, kind.pattern), **options)


def main() -> None:
    """Makes the file and prints what is in it."""
    args = parse_args()
    from aimclr_mm.datasets.prepare import prepare
    folder = args.name.replace('_', '')
    out = args.out or f'data/{folder}/{folder}_3d.pkl'
    summary = prepare(build_reader(args), out, args.workers, args.strict)
    print(f'{out}:\n{summary}')


if __name__ == '__main__':
    cli.run(main)

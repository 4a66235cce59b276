"""Makes an annotation file in mmaction2's pose format from the original files of a data set.

    python tools/prepare_data.py synthetic                                      # generated, needs no SOURCE
    python tools/prepare_data.py ntu60 nturgbd_skeletons_s001_to_s017.zip
    python tools/prepare_data.py utd_mhad Skeleton.zip
    python tools/prepare_data.py custom manifest.csv --layout my_layout.yaml --out data/mine.pkl
    python tools/prepare_data.py mmaction2 ntu60_3d.pkl                         # a look at a file that is ready to use
    python tools/prepare_data.py official NTU60_frame50                         # the authors' prepared folders
    python tools/prepare_data.py official data/ntu60/ntu60_3d.pkl --out NTU60_frame50       # and back

SOURCE is the folder of the files, the zip archive that was downloaded, or several of them. What cannot be read is
reported and left out (--strict stops instead). The result is written as a whole; a command that was interrupted goes
on where it was when it is run again. docs/datasets.md tells for each data set where to get it and what comes out.
"""

import argparse
import os
import shutil

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Data set, source, result, and the options of some data sets."""
    from aimclr_mm.datasets.prepare import READERS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', choices=[*READERS, 'mmaction2'], help='data set or form')
    parser.add_argument('source', nargs='*', help='folders or zip archives with the original files')
    parser.add_argument('--out', help='file (or folder) to write; in data/ if not given')
    parser.add_argument('--workers', type=int, help='processes; one for each core if not given')
    parser.add_argument(
        '--strict', action='store_true', help='stop at the first recording that cannot be used'
    )
    parser.add_argument(
        '--layout', help='custom, folders, mmaction2: joint layout, a name or a YAML file'
    )
    parser.add_argument(
        '--bodies',
        choices=['first', 'motion'],
        help='ntu60, ntu120: the first two bodies of each '
        'frame (default) or the two that move most',
    )
    parser.add_argument(
        '--benchmark',
        help="official: the split that the files belong to, where their folder's name "
        'does not tell (xsub, xview, xset)',
    )
    parser.add_argument(
        '--subject',
        help="folders: regular expression whose one group is the subject's number in the "
        'name of a file',
    )
    parser.add_argument('--subjects', type=int, help='synthetic: number of subjects (10)')
    parser.add_argument('--cameras', type=int, help='synthetic: number of cameras (3)')
    parser.add_argument('--repetitions', type=int, help='synthetic: repetitions of an action (2)')
    parser.add_argument('--seed', type=int, help='synthetic: seed (0)')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args()
    if not args.source and (args.name == 'mmaction2' or READERS[args.name].needs_source):
        parser.error(f'{args.name} needs SOURCE, the folder or the archive with the original files')
    if args.source and args.name in READERS and not READERS[args.name].needs_source:
        parser.error(f'{args.name} is made up and takes no SOURCE, but {args.source[0]!r} is given')
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers is {args.workers}; it must be at least 1')
    return args


def reader_options(args: argparse.Namespace, known: tuple[str, ...]) -> dict:
    """The options that were given, all of which the data set must know."""
    from aimclr_mm.datasets.prepare import OPTIONS

    options = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f'--{unknown[0]} is no option of {args.name}')
    return options


def only_source(args: argparse.Namespace) -> str:
    """The one file or folder that is asked for."""
    if len(args.source) != 1:
        raise ValueError(f'{args.name} takes one SOURCE, not {len(args.source)}')
    return args.source[0]


def verify_pickle(args: argparse.Namespace) -> None:
    """Looks at a file that is ready to use, and copies it where a config expects it if --out is given."""
    from aimclr_mm.datasets.readers.pose_pickle import verify
    from aimclr_mm.utils.files import atomic_write, check_target

    path = only_source(args)
    if args.out:
        check_target(args.out)
    summary = verify(path, **reader_options(args, ('layout',)))
    print(f'{path}:\n{summary}')
    if summary.problems:
        raise ValueError(
            f'{path!r} has {len(summary.problems)} defects, the first of which are shown above'
        )
    if args.out:
        with open(path, 'rb') as source, atomic_write(args.out, 'wb') as target:
            shutil.copyfileobj(source, target)
        print(f'copied to {args.out}')


def export_official(args: argparse.Namespace) -> None:
    """Writes an annotation file as the authors' prepared folders."""
    from aimclr_mm.datasets.readers.released_export import export

    if not args.out:
        raise ValueError('--out is missing, the folder to write')
    reader_options(args, ())
    for split, count in export(only_source(args), args.out).items():
        print(f'{args.out}: {split} {count}')


def convert(args: argparse.Namespace) -> None:
    """Makes the annotation file and prints what is in it."""
    from aimclr_mm.datasets.prepare import READERS, prepare
    from aimclr_mm.datasets.readers import list_files
    from aimclr_mm.utils.files import atomic_write

    kind = READERS[args.name]
    folder = args.name.replace('_', '')
    out = args.out or os.path.join('data', folder, f'{folder}_3d.pkl')
    reader = kind(list_files(args.source, kind.pattern), **reader_options(args, kind.options))
    summary = prepare(reader, out, args.workers, args.strict)
    print(f'{out}:\n{summary}')
    if summary.problems:
        with atomic_write(f'{out}.skipped.txt') as file:
            file.writelines(f'{problem}\n' for problem in summary.problems)
        print(f'what was skipped, and why, is in {out}.skipped.txt')
    elif os.path.exists(f'{out}.skipped.txt'):  # of an earlier run
        os.remove(f'{out}.skipped.txt')


def main() -> None:
    """Chooses between the three ways."""
    args = parse_args()
    if args.name == 'mmaction2':
        verify_pickle(args)
    elif args.name == 'official' and len(args.source) == 1 and args.source[0].endswith('.pkl'):
        export_official(args)
    else:
        convert(args)


if __name__ == '__main__':
    cli.run(main)

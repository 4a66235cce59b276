"""Convert the original files of a dataset to an annotation file in mmaction2's pose format.

    python tools/prepare_data.py synthetic                          # generated; takes no SOURCE
    python tools/prepare_data.py ntu60 nturgbd_skeletons_s001_to_s017.zip
    python tools/prepare_data.py utd_mhad Skeleton.zip
    python tools/prepare_data.py custom manifest.csv --layout my_layout.yaml --out data/mine.pkl
    python tools/prepare_data.py mmaction2 ntu60_3d.pkl             # verify an annotation file
    python tools/prepare_data.py utd_mhad Skeleton.zip --map-to ntu25 --out data/utd25.pkl
    python tools/prepare_data.py nw_ucla nwucla_all_sqe.zip --level  # views of tilted cameras
    python tools/prepare_data.py official NTU60_frame50             # prepared for the released code
    python tools/prepare_data.py official data/ntu60/ntu60_3d.pkl --out NTU60_frame50    # and back
    python tools/prepare_data.py padded NTU60_CS.npz                # prepared for other projects
    python tools/prepare_data.py video clips --estimator rtmlib --weights rtmpose.onnx yolox.onnx
    python tools/prepare_data.py samples recordings                 # generated, as single files
    python tools/prepare_data.py samples poses --form mmpose --subjects 2

SOURCE is the folder of the files, the downloaded zip archive, or several of them. Recordings that
cannot be read are reported and left out (--strict stops instead). The result is written atomically;
an interrupted command resumes when it is repeated. docs/datasets.md says where to get each dataset
and how many sequences to expect.

`video` estimates the poses in videos and writes one recording per video, which `folders` and
`custom` read. The weights are files that you name.

`samples` writes generated recordings of 14 actions in formats supported for your own data, named by
camera, subject and repetition: FOLDER/<action>/C001P003R001.npy.
"""

import argparse
import os
import shutil
import signal

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from aimclr_mm.apis import cli
from aimclr_mm.datasets.own_files.estimators import ESTIMATORS
from aimclr_mm.datasets.own_files.estimators import LAYOUTS as ESTIMATOR_LAYOUTS
from aimclr_mm.datasets.own_files.samples import FORMS, write_samples
from aimclr_mm.datasets.own_files.video import write_recordings
from aimclr_mm.datasets.prepare import READERS, prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.datasets.readers.pose_pickle import map_pickle, verify
from aimclr_mm.datasets.readers.released_export import export
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.files import atomic_write, check_target
from aimclr_mm.utils.terminal import say

LAYOUT = dict(metavar='LAYOUT', help='joint layout: a name or a YAML file')
SOURCES = {  # help of SOURCE, by dataset
    'official': 'prepared folders, or one annotation file to convert to them',
    'custom': 'the manifest, a CSV, JSON or JSON lines file',
    'folders': 'folder whose folders are the classes',
    'padded': 'folder with xsub or xview as 2s-AGCN prepares it, or NTU60_CS.npz of CTR-GCN',
}
READER_OPTIONS = {  # of the readers that take them
    'missing': cli.SHARED['--missing'],
    'unit': cli.SHARED['--unit'],
    'layout': LAYOUT,
    'bodies': dict(
        choices=['first', 'motion'],
        help='the first two bodies of each frame (default) or the two with the most motion',
    ),
    'benchmark': dict(
        help='split of the files (xsub, xview, xset), if their folder is not named after it'
    ),
    'subject': dict(
        metavar='REGEX',
        help='regular expression with one group, the number of the subject in a file name',
    ),
}


def parse_args() -> argparse.Namespace:
    """Parse the dataset and its options."""
    parser = cli.Parser(__doc__)
    for name, reader in READERS.items():
        run = convert_official if name == 'official' else convert
        verb = parser.add_verb(name, run, reader.__doc__.splitlines()[0])
        _add_conversion(verb, name)

    verb = parser.add_verb(
        'mmaction2', verify_pickle, 'Verify an annotation file of mmaction2 or PYSKL.'
    )
    verb.add_argument('source', metavar='SOURCE', help='annotation file')
    verb.add_argument('--layout', **LAYOUT)
    verb.add_shared('--map-to')
    verb.add_shared('--out', help='copy the file there, mapped with --map-to, if it is valid')

    verb = parser.add_verb('video', estimate_videos, 'Estimate the poses in videos.')
    verb.add_argument('source', nargs='+', metavar='SOURCE', help='videos, or folders of them')
    verb.add_argument(
        '--estimator', choices=list(ESTIMATORS), default='rtmlib', help='(default: rtmlib)'
    )
    verb.add_argument(
        '--weights',
        nargs='+',
        required=True,
        metavar='FILE',
        help='weights: ONNX files of RTMPose and of YOLOX, or a .task file of MediaPipe',
    )
    verb.add_argument('--layout', **LAYOUT)
    verb.add_argument(
        '--out',
        type=cli.output_folder,
        default='recordings',
        metavar='FOLDER',
        help='folder to write (default: recordings)',
    )

    verb = parser.add_verb('samples', make_samples, 'Write generated recordings as single files.')
    verb.add_argument('folder', type=cli.output_folder, help='folder to write')
    verb.add_argument(
        '--form',
        choices=FORMS,
        default='kinect',
        help='file format: .npy or .csv in meters, or the .json files of mmpose, OpenPose or '
        'MediaPipe (default: kinect)',
    )
    for option, default in dict(subjects=10, cameras=2, repetitions=1, seed=0).items():
        verb.add_shared(f'--{option}', default=default)
    return parser.parse_args()


def _add_conversion(verb: cli.Parser, name: str) -> None:
    """Add the arguments of a dataset."""
    reader = READERS[name]
    verb.set_defaults(source=[])
    if reader.needs_source:
        verb.add_argument(
            'source',
            nargs='+',
            metavar='SOURCE',
            help=SOURCES.get(name, 'folders or zip archives of original files'),
        )
    verb.add_argument(
        '--out',
        metavar='FILE',
        help='file (or folder) to write; default: data/<dataset>/<dataset>_3d.pkl, with the name '
        'of the dataset without underscores',
    )
    verb.add_shared('--workers', help='number of processes; default: one for each core')
    verb.add_argument(
        '--strict', action='store_true', help='stop at the first recording that cannot be used'
    )

    if not reader.preprocessed:
        verb.add_shared('--map-to')
        verb.add_argument(
            '--level',
            action='store_true',
            help='turn what each camera saw until people stand upright on average, for cameras '
            'that look down or up',
        )
    for option in reader.options:
        if option in READER_OPTIONS:
            verb.add_argument(f'--{option}', **READER_OPTIONS[option])
        else:
            verb.add_shared(f'--{option}')


def convert(args: argparse.Namespace) -> None:
    """Write the annotation file of a dataset and print its summary."""
    kind = READERS[args.verb]
    folder = args.verb.replace('_', '')
    out = args.out or os.path.join('data', folder, f'{folder}_3d.pkl')
    given = {name: getattr(args, name) for name in kind.options}
    options = {name: value for name, value in given.items() if value is not None}

    reader = kind(list_files(args.source, kind.pattern), **options)
    reader.map_to = getattr(args, 'map_to', None)
    reader.level = getattr(args, 'level', False)
    summary = prepare(reader, out, args.workers, args.strict)
    say(f'{out}:', *str(summary).split('\n'))

    skipped = f'{out}.skipped.txt'
    if summary.problems:
        with atomic_write(skipped) as file:
            file.writelines(f'{problem}\n' for problem in summary.problems)
        say(f'skipped recordings and the reasons are listed in {skipped}')
    elif os.path.exists(skipped):  # of an earlier run
        os.remove(skipped)


def convert_official(args: argparse.Namespace) -> None:
    """Convert the released code's prepared folders, or an annotation file to such folders."""
    if not (len(args.source) == 1 and args.source[0].endswith('.pkl')):
        convert(args)
        return

    if not args.out:
        raise ValueError('--out is missing, the folder to write')
    if args.benchmark is not None:
        raise ValueError('--benchmark is for the conversion of prepared folders')
    for split, count in export(args.source[0], args.out).items():
        say(f'{args.out}: {split} {count}')


def verify_pickle(args: argparse.Namespace) -> None:
    """Verify an annotation file, and copy it if ``--out`` is given."""
    if args.out:
        check_target(args.out)
    elif args.map_to:
        raise ValueError('--out is missing, the file to write')
    options = {} if args.layout is None else dict(layout=args.layout)
    summary = verify(args.source, **options)
    say(f'{args.source}:', *str(summary).split('\n'))
    if summary.problems:
        raise ValueError(
            f'{args.source!r} has {len(summary.problems)} defects; the first are shown above'
        )

    if args.map_to:
        map_pickle(args.source, args.out, args.map_to, args.layout)
        say(f'mapped to {args.map_to} in {args.out}')
    elif args.out:
        with open(args.source, 'rb') as source, atomic_write(args.out, 'wb') as target:
            shutil.copyfileobj(source, target)
        say(f'copied to {args.out}')


def estimate_videos(args: argparse.Namespace) -> None:
    """Write a recording of each video."""
    layout = get_layout(args.layout or ESTIMATOR_LAYOUTS[args.estimator])
    kind = ESTIMATORS[args.estimator]
    written, problems = write_recordings(args.source, args.out, lambda: kind(args.weights, layout))
    say(f'{args.out}: {len(written)} recordings of layout {layout.name}')
    for problem in problems:
        say(f'skipped: {problem}')


def make_samples(args: argparse.Namespace) -> None:
    """Write generated recordings."""
    count = write_samples(
        args.folder, args.form, args.subjects, args.cameras, args.repetitions, args.seed
    )
    say(f'{args.folder}: {count} recordings')


def main() -> None:
    """Run the conversion of the command line."""
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    cli.run(main)

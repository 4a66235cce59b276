"""Makes an annotation file in mmaction2's pose format.

    python tools/prepare_data.py synthetic --out data/synthetic/synthetic_3d.pkl
    python tools/prepare_data.py utd_mhad Skeleton.zip --out data/utdmhad/utdmhad_3d.pkl

synthetic   made-up actions of an articulated skeleton; needs no source
utd_mhad    SOURCE is the skeleton archive of UTD-MHAD or the folder of its .mat files
"""
import argparse

from aimclr_mm import cli


def parse_args() -> argparse.Namespace:
    """Data set, source, result, and the size of the synthetic set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=['synthetic', 'utd_mhad'], help='data set')
    parser.add_argument('source', nargs='?', help='archive or folder with the original files')
    parser.add_argument('--out', required=True, help='annotation file to write')
    parser.add_argument('--subjects', type=int, default=10, help='synthetic: number of subjects')
    parser.add_argument('--cameras', type=int, default=3, help='synthetic: number of cameras')
    parser.add_argument('--repetitions', type=int, default=2, help='synthetic: repetitions of an action')
    parser.add_argument('--seed', type=int, default=0, help='synthetic: seed')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def main() -> None:
    """Makes the file and prints what is in it."""
    args = parse_args()
    from aimclr_mm.datasets import synthetic, utd_mhad, write_pickle
    if args.name == 'synthetic':
        data = synthetic.make_dataset(args.subjects, args.cameras, args.repetitions, args.seed)
    elif args.source is None:
        raise ValueError(f'{args.name} needs SOURCE, the archive or folder with the original files')
    else:
        data = utd_mhad.read_utd_mhad(args.source)
    write_pickle(data, args.out)
    annotations = data['annotations']
    splits = ', '.join(f'{name} {len(names)}' for name, names in data['split'].items())
    print(f'{args.out}: {len(annotations)} sequences, {len({a["label"] for a in annotations})} classes, '
          f'{sum(a["total_frames"] for a in annotations)} frames; {splits}')


if __name__ == '__main__':
    cli.run(main)

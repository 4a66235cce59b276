"""Draws sequences, and what a config and a checkpoint make of them; see docs/pictures.md.

    python tools/visualize.py sequence wave.npy --out wave.gif                      # or a film strip: wave.png
    python tools/visualize.py augmentations wave.npy --config CONFIG --out augmentations.png
    python tools/visualize.py eadm wave.npy --config CONFIG --checkpoint CHECKPOINT --out eadm.png
    python tools/visualize.py neighbors CONFIG CHECKPOINT --query NAME --out neighbors.png

A FILE is a recording in any format that is read elsewhere, or a file or folder of several, of which --name chooses
one. Pictures are .png, .svg or .pdf.
"""

import argparse

from aimclr_mm.apis import cli

MOST_QUERIES = 8


def _sequence_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('file', metavar='FILE', help='recording, annotation file or folder')
    parser.add_argument(
        '--name', metavar='FRAME_DIR', help='which of several sequences; the first if not given'
    )


def _config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--config', required=True, help='config file of a pre-training')
    cli.add_config_options(parser)


def _drawing_options(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument(
        '--out', required=True, type=cli.output_file, metavar='FILE', help=f'to write: {out}'
    )
    parser.add_argument(
        '--frames',
        type=int,
        metavar='K',
        help='poses of a film strip (default: 8, or all of fewer)',
    )
    parser.add_argument(
        '--elev',
        type=float,
        default=10.0,
        metavar='DEGREES',
        help='height of the viewer, for 3-D skeletons (default: 10)',
    )
    parser.add_argument(
        '--azim',
        type=float,
        default=20.0,
        metavar='DEGREES',
        help='how far the viewer walks round; 0 is the place of the sensor (default: 20)',
    )
    parser.add_argument(
        '--up',
        choices=['y', 'z', '-y'],
        default='y',
        help='axis of the data that points up (default: y, as in Kinect data)',
    )
    if not any(action.dest == 'debug' for action in parser._actions):
        parser.add_argument('--debug', action='store_true', help='show the traceback of an error')


def parse_args() -> argparse.Namespace:
    """The verb and its options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    pictures = '.png, .svg or .pdf'
    sequence = verbs.add_parser('sequence', help='an animation or a film strip of a sequence')
    _sequence_options(sequence)
    sequence.add_argument(
        '--layout', default='ntu25', help='joint layout: a name, or a .yaml file (default: ntu25)'
    )
    sequence.add_argument(
        '--fps', type=float, default=30.0, help='frames a second of a GIF (default: 30)'
    )
    _drawing_options(sequence, f'.gif for an animation, {pictures} for a film strip')
    augmentations = verbs.add_parser(
        'augmentations', help='what each augmentation and each view does to a sequence'
    )
    _sequence_options(augmentations)
    _config_options(augmentations)
    augmentations.add_argument('--seed', type=int, default=0, help='of what is drawn (default: 0)')
    _drawing_options(augmentations, pictures)
    eadm = verbs.add_parser('eadm', help='what EADM drops of a sequence')
    _sequence_options(eadm)
    eadm.add_argument('--checkpoint', required=True, help="its checkpoint; or 'random'")
    eadm.add_argument('--stream', help='the stream to take from a checkpoint of several')
    eadm.add_argument(
        '--device', help='such as cpu or cuda:0; a GPU where there is one if not given'
    )
    _config_options(eadm)
    _drawing_options(eadm, pictures)
    neighbors = verbs.add_parser('neighbors', help='nearest neighbours that mining would choose')
    cli.add_encoder_options(neighbors)
    neighbors.add_argument(
        '--ann-file', help="annotation file; that of the config's training data if not given"
    )
    neighbors.add_argument(
        '--query', nargs='+', metavar='FRAME_DIR', help='names of queries; drawn if not given'
    )
    neighbors.add_argument('--queries', type=int, default=3, help='how many are drawn (default: 3)')
    neighbors.add_argument('-k', type=int, default=3, help='neighbours of each (default: 3)')
    neighbors.add_argument('--seed', type=int, default=0, help='of the draw (default: 0)')
    _drawing_options(neighbors, pictures)
    args = parser.parse_args()
    if getattr(args, 'seed', 0) < 0:
        parser.error(f'--seed {args.seed}: it must not be negative')
    return args


def read_one(path: str, name: str | None, layout) -> dict:
    """The sequence of a file that is wanted."""
    from aimclr_mm.apis import read_recordings
    from aimclr_mm.visualization.skeletons import find_name

    recordings = read_recordings(path, layout)
    return recordings[
        0 if name is None else find_name([r['frame_dir'] for r in recordings], name, repr(path))
    ]


def title_of(recording: dict) -> str:
    """Name and, if known, label."""
    return recording['frame_dir'] + (f', {recording["label"]}' if recording.get('label') else '')


def draw_sequence(args: argparse.Namespace, view) -> None:
    """An animation or a film strip."""
    from aimclr_mm.skeletons import get_layout
    from aimclr_mm.visualization.skeletons import Strip, animate, draw_strips, durations

    animated = args.out.lower().endswith('.gif')
    if animated:
        durations(1, args.fps)  # a wrong rate is reported before the work begins
    layout = get_layout(args.layout)
    recording = read_one(args.file, args.name, layout)
    if animated:
        animate(recording, layout, args.out, args.fps, title_of(recording), view)
    else:
        draw_strips([Strip(recording, title_of(recording))], layout, args.out, args.frames, view)


def draw_augmentations(args: argparse.Namespace, view) -> None:
    """A film strip for each augmentation and each view."""
    from aimclr_mm.visualization.skeletons import augmentation_strips, config_layout, draw_strips

    cfg = cli.compose_config(args)
    layout = config_layout(cfg)
    strips = augmentation_strips(read_one(args.file, args.name, layout), cfg, args.seed)
    draw_strips(strips, layout, args.out, args.frames, view, same_scale=True)


def draw_eadm(args: argparse.Namespace, view) -> None:
    """What EADM drops."""
    from aimclr_mm.visualization.figures import save_figure
    from aimclr_mm.visualization.skeletons import draw_drops, eadm_drops, find_eadm

    encoder = cli.open_encoder(args)
    find_eadm(encoder.model)
    drops = eadm_drops(read_one(args.file, args.name, encoder.layout), encoder.cfg, encoder.model)
    save_figure(draw_drops(drops, encoder.layout, args.frames, view), args.out)
    print(
        f'spatial mask: {100 * drops.joints.mean():.1f} %, temporal mask: {100 * drops.share.mean():.1f} %'
    )


def draw_neighbors(args: argparse.Namespace, view) -> None:
    """Queries and their neighbours."""
    from aimclr_mm.visualization.skeletons import (
        BORDERS,
        choose_queries,
        draw_strips,
        load_keys,
        neighbor_strips,
        training_data,
    )

    if len(args.query or []) > MOST_QUERIES or args.query is None and args.queries > MOST_QUERIES:
        raise ValueError(
            f'{len(args.query or []) or args.queries} queries; a picture holds at most {MOST_QUERIES}'
        )
    encoder = cli.open_encoder(args)
    model = load_keys(encoder.model, args.checkpoint, args.stream)
    data = training_data(encoder.cfg, args.ann_file)
    names = [str(data.get_data_info(i)['frame_dir']) for i in range(len(data))]
    queries = choose_queries(names, args.query, args.queries, args.seed)
    strips = neighbor_strips(model, data, queries, args.k)
    columns = args.k + 1 if args.k < 5 else 4
    draw_strips(
        strips, encoder.layout, args.out, args.frames or 4, view, columns=columns, borders=BORDERS
    )
    for strip in strips:
        print(('' if strip.title.startswith('query') else '    ') + strip.title.replace('\n', '  '))


def main() -> None:
    """Draws what is asked for and prints where it is."""
    args = parse_args()
    from aimclr_mm.visualization.figures import picture_format
    from aimclr_mm.visualization.skeletons import View

    if not (args.verb == 'sequence' and args.out.lower().endswith('.gif')):
        picture_format(args.out)  # a wrong ending is reported before the work begins
    view = View(args.elev, args.azim, args.up)
    dict(
        sequence=draw_sequence,
        augmentations=draw_augmentations,
        eadm=draw_eadm,
        neighbors=draw_neighbors,
    )[args.verb](args, view)
    print(args.out)


if __name__ == '__main__':
    cli.run(main)

"""Draw sequences, augmentations, EADM and mined neighbors; docs/pictures.md shows examples.

    python tools/visualize.py sequence wave.npy --out wave.gif          # film strip: --out wave.png
    python tools/visualize.py augmentations wave.npy --config CONFIG --out augmentations.png
    python tools/visualize.py eadm wave.npy --config CONFIG --checkpoint CHECKPOINT --out eadm.png
    python tools/visualize.py neighbors CONFIG CHECKPOINT --query NAME --out neighbors.png

FILE is a recording in any supported format, or a file or folder of several, of which --name selects
one. Pictures are .png, .svg or .pdf.
"""

import argparse
import signal

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from aimclr_mm.apis import cli, read_recordings
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.terminal import say
from aimclr_mm.visualization.figures import picture_format, save_figure
from aimclr_mm.visualization.skeletons import (
    BORDERS,
    Strip,
    View,
    animate,
    augmentation_strips,
    choose_queries,
    config_layout,
    draw_drops,
    draw_strips,
    durations,
    eadm_drops,
    find_eadm,
    find_name,
    load_keys,
    neighbor_strips,
    training_data,
)

MAX_QUERIES = 8
PICTURES = '.png, .svg or .pdf'


def parse_args() -> argparse.Namespace:
    """Parse the verb and its options."""
    parser = cli.Parser(__doc__)
    _add_sequence(parser)
    _add_augmentations(parser)
    _add_eadm(parser)
    _add_neighbors(parser)
    return parser.parse_args()


def _add_sequence(parser: cli.Parser) -> None:
    verb = parser.add_verb('sequence', draw_sequence, 'animation or film strip of a sequence')
    _add_recording(verb)
    verb.add_argument(
        '--layout', default='ntu25', help='joint layout: a name, or a .yaml file (default: ntu25)'
    )
    verb.add_argument(
        '--fps', type=float, default=30.0, help='frames per second of a GIF (default: 30)'
    )
    _add_drawing(verb, f'.gif for an animation, {PICTURES} for a film strip')


def _add_augmentations(parser: cli.Parser) -> None:
    verb = parser.add_verb(
        'augmentations', draw_augmentations, 'each augmentation and each view of a sequence'
    )
    _add_recording(verb)
    _add_config(verb)
    verb.add_shared('--seed', default=0, help='seed of the augmentations')
    _add_drawing(verb, PICTURES)


def _add_eadm(parser: cli.Parser) -> None:
    verb = parser.add_verb('eadm', draw_eadm, 'joints and frames of a sequence that EADM drops')
    _add_recording(verb)
    _add_config(verb)
    verb.add_argument(
        '--checkpoint', required=True, help="checkpoint file, or 'random' for an untrained encoder"
    )
    verb.add_shared('--stream', '--readout', '--device')
    _add_drawing(verb, PICTURES)


def _add_neighbors(parser: cli.Parser) -> None:
    verb = parser.add_verb('neighbors', draw_neighbors, 'nearest neighbors that mining selects')
    verb.add_shared(*cli.ENCODER)
    verb.add_shared('--ann-file', help="annotation file; default: that of the config's training")
    verb.add_argument(
        '--query', nargs='+', metavar='FRAME_DIR', help='names of queries; default: random ones'
    )
    verb.add_argument(
        '--queries', type=int, default=3, help='number of random queries (default: 3)'
    )
    verb.add_shared('-k', default=3)
    verb.add_shared('--seed', default=0, help='seed of random queries')
    _add_drawing(verb, PICTURES)


def _add_recording(verb: cli.Parser) -> None:
    verb.add_argument('file', metavar='FILE', help='recording, annotation file or folder')
    verb.add_argument(
        '--name', metavar='FRAME_DIR', help='which of several sequences; default: the first'
    )


def _add_config(verb: cli.Parser) -> None:
    verb.add_argument('--config', required=True, help='config file of a pre-training')
    verb.add_shared(*cli.CONFIG_OPTIONS)


def _add_drawing(verb: cli.Parser, formats: str) -> None:
    verb.add_shared('--out', required=True, help=f'file to write: {formats}')
    verb.add_argument(
        '--frames', type=int, metavar='N', help='poses of a film strip (default: at most 8)'
    )
    verb.add_argument(
        '--elev',
        type=float,
        default=10.0,
        metavar='DEGREES',
        help='elevation of the camera, for 3D skeletons (default: 10)',
    )
    verb.add_argument(
        '--azim',
        type=float,
        default=20.0,
        metavar='DEGREES',
        help='azimuth of the camera; 0 is the position of the sensor (default: 20)',
    )
    verb.add_argument(
        '--up',
        choices=['y', 'z', '-y'],
        help='axis of the data that points up; default: -y for the layouts of MediaPipe and Azure '
        'Kinect, else y',
    )


def read_one(path: str, name: str | None, layout) -> dict:
    """Return the sequence of a file with a name, or its first one."""
    recordings = read_recordings(path, layout)
    if name is None:
        return recordings[0]
    return recordings[find_name([r['frame_dir'] for r in recordings], name, repr(path))]


def title_of(recording: dict) -> str:
    """Return the name of a recording with its label if known."""
    label = recording.get('label')
    if not label:
        return recording['frame_dir']
    return f'{recording["frame_dir"]}, {f"class {label}" if label.isdigit() else label}'


def draw_sequence(args: argparse.Namespace) -> None:
    """Draw an animation or a film strip."""
    animated = args.out.lower().endswith('.gif')
    if animated:
        durations(1, args.fps)  # reports an invalid rate before the work begins
    else:
        picture_format(args.out)

    layout = get_layout(args.layout)
    recording = read_one(args.file, args.name, layout)
    title, view = title_of(recording), view_of(args)
    if animated:
        animate(recording, layout, args.out, args.fps, title, view)
    else:
        draw_strips([Strip(recording, title)], layout, args.out, args.frames, view)


def draw_augmentations(args: argparse.Namespace) -> None:
    """Draw a film strip of each augmentation and each view."""
    picture_format(args.out)
    cfg = cli.compose_config(args)
    layout = config_layout(cfg)
    strips = augmentation_strips(read_one(args.file, args.name, layout), cfg, args.seed)
    draw_strips(strips, layout, args.out, args.frames, view_of(args), same_scale=True)


def draw_eadm(args: argparse.Namespace) -> None:
    """Draw the joints and frames that EADM drops; print their share."""
    picture_format(args.out)
    encoder = cli.open_encoder(args)
    find_eadm(encoder.model)
    recording = read_one(args.file, args.name, encoder.layout)
    drops = eadm_drops(recording, encoder.cfg, encoder.model)

    save_figure(draw_drops(drops, encoder.layout, args.frames, view_of(args)), args.out)
    spatial, temporal = 100 * drops.joints.mean(), 100 * drops.share.mean()
    say(f'spatial mask: {spatial:.1f} %, temporal mask: {temporal:.1f} %')


def draw_neighbors(args: argparse.Namespace) -> None:
    """Draw and print queries and their neighbors."""
    picture_format(args.out)
    count = args.queries if args.query is None else len(args.query)
    if count > MAX_QUERIES:
        raise ValueError(f'{count} queries; a picture holds at most {MAX_QUERIES}')

    encoder = cli.open_encoder(args)
    model = load_keys(encoder.model, args.checkpoint, args.stream)
    data = training_data(encoder.cfg, args.ann_file)
    names = [str(data.get_data_info(i)['frame_dir']) for i in range(len(data))]
    queries = choose_queries(names, args.query, args.queries, args.seed)
    strips = neighbor_strips(model, data, queries, args.k)

    draw_strips(
        strips,
        encoder.layout,
        args.out,
        args.frames or 4,
        view_of(args),
        columns=args.k + 1 if args.k < 5 else 4,
        borders=BORDERS,
    )
    for strip in strips:
        indent = '' if strip.title.startswith('query') else '    '
        say(indent + strip.title.replace('\n', '  '))


def view_of(args: argparse.Namespace) -> View:
    """Return the camera of the command line."""
    return View(args.elev, args.azim, args.up)


def main() -> None:
    """Draw and print the path of the picture."""
    args = parse_args()
    args.run(args)
    say(args.out)


if __name__ == '__main__':
    cli.run(main)

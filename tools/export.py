"""Export an encoder for other programs, or convert weights from and to the released code.

    python tools/export.py onnx CONFIG CHECKPOINT --out encoder.onnx
    python tools/export.py pt2 CONFIG CHECKPOINT --stream bone --out encoder.pt2
    python tools/export.py encoder joint.pth bone.pth motion.pth --streams joint bone motion \\
        --out streams.pth
    python tools/export.py onnx CONFIG CLASSIFIER.pth --probabilities --out classifier.onnx
    python tools/export.py from_released ntu60_xsub_joint.pt work_dirs/released/joint.pth
    python tools/export.py to_released work_dirs/aimclr_ntu60_xsub_joint/epoch_300.pth released.pt

onnx, pt2      The encoder with its preprocessing as one graph that needs neither mmaction2 nor this
               package: keypoint (N, M, T, V, C) float32, raw coordinates of any number of sequences
               and frames, to embedding (N, C) float32. The file is compared with the encoder before
               it takes its place; the table shows the largest relative difference and median times.
               --probabilities adds the classes of a classification head, --classifier those of a
               classifier of tools/embed.py few_shot, as a second output.
               docs/deployment.md shows how to use it.
encoder        The encoder alone, without optimizer, memory bank and key encoder, of one training or
               of one for each stream; for a config of one stream or of type CrossStream.
from_released  A checkpoint of AimCLR's, SkeletonCLR's or CrosSCLR's released code for this package:
to_released    and back; pre-trainings and classifiers, of one or several streams. Each tensor is
               accounted for and keeps its values. Checkpoints of CrosSCLR need --backbone-only.
"""

import argparse
import os
import signal

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
from rich.console import Console

from aimclr_mm.apis import cli
from aimclr_mm.apis.export import check_suffix, export
from aimclr_mm.checkpoints.loading import encoder_state
from aimclr_mm.checkpoints.released import Conversion, convert, describe
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.models import STREAMS
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.terminal import say
from aimclr_mm.version import __version__


def parse_args() -> argparse.Namespace:
    """Parse the verb and its options."""
    parser = cli.Parser(__doc__)
    for name, text in dict(onnx='write an ONNX file', pt2='write a file of torch.export').items():
        verb = parser.add_verb(name, export_encoder, text)
        verb.add_shared(*cli.ENCODER, '--missing')
        verb.add_shared('--out', default=f'encoder.{name}')
        verb.add_shared('--ann-file')
        scores = verb.add_mutually_exclusive_group()
        scores.add_argument(
            '--probabilities',
            action='store_true',
            help='write the probabilities of the classification head of the checkpoint too',
        )
        scores.add_argument(
            '--classifier',
            metavar='FILE',
            help='write the probabilities of a classifier of tools/embed.py few_shot --save too',
        )
        verb.set_defaults(device='cpu')

    verb = parser.add_verb(
        'encoder', write_encoder, 'write the encoder of trainings without the rest'
    )
    verb.add_argument('checkpoint', nargs='+', metavar='CHECKPOINT', help='checkpoint files')
    verb.add_argument(
        '--streams', nargs='+', choices=STREAMS, metavar='STREAM', help='stream of each of them'
    )
    verb.add_argument('--half', action='store_true', help='store weights in float16: half the size')
    verb.add_shared('--out', default='encoder.pth')

    texts = dict(
        from_released='convert a checkpoint of the released code',
        to_released='convert a checkpoint for the released code',
    )
    for name, text in texts.items():
        verb = parser.add_verb(name, convert_checkpoint, text)
        verb.add_argument('source', metavar='IN', help='checkpoint file')
        verb.add_argument('target', metavar='OUT', help='file to write')
        verb.add_argument('--force', action='store_true', help='overwrite OUT')
        verb.set_defaults(backbone_only=False)
        if name == 'from_released':
            verb.add_argument(
                '--backbone-only',
                action='store_true',
                help='leave out the projection heads and queues of a pre-training',
            )
    return parser.parse_args()


def export_encoder(args: argparse.Namespace) -> None:
    """Export an encoder and print how its file compares with it."""
    if not args.out.endswith(f'.{args.verb}'):
        raise ValueError(f'{args.out!r}: the suffix must be .{args.verb}')
    check_suffix(args.out)
    encoder = cli.open_encoder(args)
    classifier = None
    if args.probabilities or args.classifier:
        classifier = cli.open_classifier(encoder, args)
    elif args.ann_file:
        raise ValueError('--ann-file has the names of classes; give --probabilities too')
    with Console(stderr=True).status(f'Exporting to {args.out}'):
        rows = export(encoder, args.out, args.checkpoint, classifier)

    say(f'{"keypoint (N, M, T, V, C)":<26}{"difference":>12}{"encoder":>13}{"file":>13}')
    for row in rows:
        times = f'{row.encoder_ms:>10.2f} ms{row.file_ms:>10.2f} ms'
        say(f'{str(row.shape):<26}{row.difference:>12.1e}{times}')
    say(f'{args.out}: written')
    if classifier is None and cli.has_head(args):
        say('left out: the classification head of the checkpoint; --probabilities writes it too')


def write_encoder(args: argparse.Namespace) -> None:
    """Write the encoders of one training or of one for each stream to one file."""
    streams = args.streams or []
    if len(set(streams)) != len(streams) or len(streams or [None]) != len(args.checkpoint):
        raise ValueError(
            f'{len(args.checkpoint)} checkpoints and {len(streams)} streams; give each of several '
            'checkpoints a stream of its own'
        )

    state = {}
    for filename, stream in zip(args.checkpoint, streams or [None]):
        prefix = '' if stream is None else f'streams.{stream}.'
        for name, value in encoder_state(load_checkpoint_file(filename), filename).items():
            is_half = args.half and value.is_floating_point()
            state[prefix + name] = (value.half() if is_half else value).contiguous()

    meta = dict(aimclr_mm_version=__version__)
    with atomic_write(args.out, 'wb') as file:
        torch.save(dict(meta=meta, state_dict=state), file)
    say(f'{args.out}: {len(state)} tensors, {os.path.getsize(args.out) / 1e6:.1f} MB')


def convert_checkpoint(args: argparse.Namespace) -> None:
    """Convert a checkpoint and print what was found, written and left out."""
    check_target(args.source, args.target, args.force)
    result, others = read_and_convert(args.source, args.verb, args.backbone_only)

    say(*describe(result.content, result.sizes))
    if result.left_out:
        say(f'left out (heads and queues): {len(result.left_out)} tensors')
    if others:
        say(f'left out (not weights): {", ".join(others)}')

    checkpoint = result.state
    if args.verb == 'from_released':
        meta = dict(
            aimclr_mm_version=__version__,
            converted_from='released format',
            backbone_only=args.backbone_only,
        )
        checkpoint = dict(state_dict=result.state, meta=meta)
    with atomic_write(args.target, 'wb') as file:
        torch.save(checkpoint, file)
    say(f'written: {args.target}, {len(result.state)} tensors')


def check_target(source: str, target: str, force: bool) -> None:
    """Raise ValueError if OUT is IN, a folder, or exists and ``force`` is not given."""
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(f'IN and OUT are the same file {source!r}; give another name')
    if os.path.isdir(target):
        raise ValueError(f'OUT {target!r} is a folder; give the name of a file')
    if os.path.exists(target) and not force:
        raise ValueError(f'OUT {target!r} exists; give another name, or --force to overwrite it')


def read_and_convert(
    source: str, direction: str, backbone_only: bool
) -> tuple[Conversion, list[str]]:
    """Read a checkpoint and convert its weights.

    Args:
        source: checkpoint file.
        direction: ``from_released`` or ``to_released``.
        backbone_only: see :func:`aimclr_mm.checkpoints.released.convert`.

    Returns:
        The conversion, and the names of what the checkpoint holds besides the weights.

    Raises:
        ValueError: if it cannot be converted; the message names the file.
    """
    checkpoint = load_checkpoint_file(source)
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict):
        raise ValueError(
            f'{source!r}: its state_dict is a {type(state).__name__}, not a dict of tensors'
        )

    try:
        result = convert(state, backbone_only)
    except ValueError as error:
        raise ValueError(f'{source!r}: {error}') from error
    if result.content.ours == (direction == 'from_released'):
        kind, other = (
            ('this package', 'to') if result.content.ours else ('the released code', 'from')
        )
        raise ValueError(f'{source!r} is in the format of {kind}; use {other}_released')

    others = [] if state is checkpoint else [str(key) for key in checkpoint if key != 'state_dict']
    return result, others


def main() -> None:
    """Run the verb of the command line."""
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    cli.run(main)

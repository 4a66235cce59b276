"""Converts checkpoints of the released code (AimCLR, SkeletonCLR, CrosSCLR) to ours and ours to theirs.

    python tools/convert_weights.py ntu60_xsub_joint.pt work_dirs/released/joint.pth
    python tools/test.py configs/aimclr_ntu60_xsub_joint.py work_dirs/released/joint.pth
    python tools/convert_weights.py work_dirs/aimclr_ntu60_xsub_joint/epoch_300.pth ours_for_the_released_code.pt

Pre-trainings and classifiers (linear evaluation, finetuning), of one stream or of several. Every tensor is accounted
for, and none changes its value. What was trained with CrosSCLR's released code is converted with --backbone-only.
"""

import argparse
import os

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write


def parse_args() -> argparse.Namespace:
    """Files and direction."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', help='checkpoint file')
    parser.add_argument('target', metavar='OUT', help='file to write')
    parser.add_argument(
        '--to', choices=['ours', 'released'], help='format of OUT (default: the one IN is not in)'
    )
    parser.add_argument(
        '--backbone-only',
        action='store_true',
        help='leave out projection heads and queues of a released pre-training',
    )
    parser.add_argument('--force', action='store_true', help='write over OUT if it exists')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args()


def check_target(source: str, target: str, force: bool) -> None:
    """Raises ValueError where OUT is IN, a folder, or exists and ``force`` is not given."""
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(f'IN and OUT are the same file {source!r}; give another name')
    if os.path.isdir(target):
        raise ValueError(f'OUT {target!r} is a folder; give the name of a file')
    if os.path.exists(target) and not force:
        raise ValueError(f'OUT {target!r} exists; give another name, or --force to write over it')


def convert_file(source: str, direction: str | None, backbone_only: bool):
    """Reads and converts a checkpoint.

    Args:
        source: its file.
        direction: ``ours``, ``released`` or None for the format that it is not in.
        backbone_only: see :func:`aimclr_mm.checkpoints.released.convert`.

    Returns:
        The conversion, and the names of what stands beside the weights.

    Raises:
        ValueError: if it cannot be converted; the message names the file.
    """
    from aimclr_mm.checkpoints.released import convert
    from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file

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
    if direction == ('ours' if result.content.ours else 'released'):
        raise ValueError(f'{source!r} is in the format {direction!r} already')
    return result, [] if state is checkpoint else [
        str(name) for name in checkpoint if name != 'state_dict'
    ]


def main() -> None:
    """Converts and says what was found, what was written and what was left out."""
    args = parse_args()
    check_target(args.source, args.target, args.force)

    import torch

    from aimclr_mm.checkpoints.released import describe
    from aimclr_mm.version import __version__

    result, beside = convert_file(args.source, args.to, args.backbone_only)
    print('\n'.join(describe(result.content, result.sizes)))
    if result.left_out:
        print(f'left out (heads and queues): {len(result.left_out)} tensors')
    if beside:
        print(f'left out (no weights): {", ".join(beside)}')
    content = result.state
    if not result.content.ours:
        content = dict(
            state_dict=content,
            meta=dict(
                aimclr_mm_version=__version__,
                converted_from='released format',
                backbone_only=args.backbone_only,
            ),
        )
    with atomic_write(args.target, 'wb') as file:
        torch.save(content, file)
    print(f'written: {args.target}, {len(result.state)} tensors')


if __name__ == '__main__':
    cli.run(main)

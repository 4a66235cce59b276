"""Exports a trained encoder with its preprocessing, for programs without mmaction2 and without this package.

    python tools/export.py CONFIG CHECKPOINT --out encoder.onnx
    python tools/export.py CONFIG CHECKPOINT --out encoder.pt2
    python tools/export.py CONFIG CHECKPOINT --stream bone --out encoder.onnx

The graph takes keypoint (N, M, T, V, C) float32, raw coordinates of any number of sequences and frames, and gives
embedding (N, C) float32. The file is read back (onnxruntime, torch.export) and compared with the encoder on made-up
sequences before it takes its place; the table shows the largest relative difference and median times.
docs/deployment.md shows how it is used.
"""

import argparse

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Encoder and the file to write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_encoder_options(parser)
    parser.add_argument(
        '--out',
        type=cli.output_file,
        default='encoder.onnx',
        help='.onnx, or .pt2 for torch.export; default: encoder.onnx',
    )
    parser.set_defaults(device='cpu')
    return parser.parse_args()


def main() -> None:
    """Opens, exports, compares."""
    args = parse_args()
    from rich.console import Console

    from aimclr_mm.apis.export import check_suffix, export

    check_suffix(args.out)
    encoder = cli.open_encoder(args)
    with Console(stderr=True).status(f'Exporting to {args.out}'):
        rows = export(encoder, args.out, args.checkpoint)
    print(f'{"keypoint (N, M, T, V, C)":<26}{"difference":>12}{"encoder":>13}{"file":>13}')
    for row in rows:
        print(
            f'{str(row.shape):<26}{row.difference:>12.1e}{row.encoder_ms:>10.2f} ms{row.file_ms:>10.2f} ms'
        )
    print(f'{args.out}: written')


if __name__ == '__main__':
    cli.run(main)

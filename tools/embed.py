"""Embeds recordings: one representation each, with names and labels, as .npz.

    python tools/embed.py CONFIG CHECKPOINT recordings/ --out embeddings.npz
    python tools/embed.py CONFIG CHECKPOINT a.npy b.json c.skeleton --out embeddings.npz
    python tools/embed.py CONFIG CHECKPOINT data/utdmhad/utdmhad_3d.pkl --out embeddings.npz

A source is a file (.npy, .npz, .csv, .txt, .json, .skeleton, .mat), a manifest, an annotation file (.pkl) or a folder
of these; the names of folders in it are the labels. The joints must be those of the config's layout. The file holds
features (N, C), names, labels (empty where not known), sources and the fingerprint of the encoder; tools/search.py
and tools/few_shot.py take it, and so does tools/embedding.py, which draws it.
"""

import argparse

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Encoder, recordings and the file to write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_encoder_options(parser)
    parser.add_argument(
        'sources', nargs='+', metavar='SOURCE', help='files and folders of recordings'
    )
    parser.add_argument(
        '--out', type=cli.output_file, default='embeddings.npz', help='default: embeddings.npz'
    )
    return parser.parse_args()


def main() -> None:
    """Reads, embeds, writes."""
    args = parse_args()
    encoder = cli.open_encoder(args)
    embedded = encoder.embed_recordings(args.sources)
    embedded.save(args.out)
    labels = sorted(set(embedded.labels) - {''})
    shown = ', '.join(labels[:8]) + (', ...' if len(labels) > 8 else '')
    count, channels = embedded.features.shape
    print(
        f'{args.out}: {count} sequences, {channels} channels, '
        + (f'{len(labels)} labels ({shown})' if labels else 'no labels')
    )


if __name__ == '__main__':
    cli.run(main)

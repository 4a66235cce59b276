"""Finds the movements of a gallery that are most like those of a query.

    python tools/search.py CONFIG CHECKPOINT query.npy --gallery recordings/
    python tools/search.py CONFIG CHECKPOINT query.npy --gallery embeddings.npz -k 10 --out neighbors.csv
    python tools/search.py CONFIG CHECKPOINT query.npy --gallery recordings/ --picture neighbors.png

The gallery is files and folders of recordings, or embeddings of them that tools/embed.py wrote, which is faster from the
second search on. Similarity is the cosine between representations, 1 for the same movement. The picture shows the
query and its neighbours as film strips; a recording in the gallery that is the query itself is left out with --others.
"""

import argparse
import csv

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write

MOST = 8  # queries in a picture


def parse_args() -> argparse.Namespace:
    """Encoder, query, gallery and what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_encoder_options(parser)
    parser.add_argument(
        'query', nargs='+', metavar='QUERY', help='recordings to find others like them'
    )
    parser.add_argument(
        '--gallery',
        nargs='+',
        required=True,
        metavar='SOURCE',
        help='recordings, or embeddings of them',
    )
    parser.add_argument('-k', type=int, default=5, help='number of neighbours (default: 5)')
    parser.add_argument(
        '--others', action='store_true', help='leave out what has the name of the query'
    )
    parser.add_argument(
        '--out', type=cli.output_file, metavar='FILE', help='write the neighbours as CSV'
    )
    parser.add_argument(
        '--picture', type=cli.output_file, metavar='FILE', help='draw them: .png, .svg or .pdf'
    )
    args = parser.parse_args()
    if args.k < 1:
        parser.error(f'-k {args.k}: it must be at least 1')
    return args


def find(queries, gallery, k: int, others: bool) -> list[list[tuple[int, float]]]:
    """For each query its k neighbours: rows of the gallery and similarities."""
    from aimclr_mm.apis import nearest

    if k > len(gallery.names):
        raise ValueError(f'-k {k}: the gallery holds {len(gallery.names)} sequences')
    found = nearest(
        queries.features, gallery.features, min(k + int(others), len(gallery.names))
    )  # the query takes a place
    rows = []
    for name, indices, similarities in zip(queries.names, found.indices, found.similarities):
        kept = [
            (int(i), float(s))
            for i, s in zip(indices, similarities)
            if not (others and gallery.names[i] == name)
        ]
        rows.append(kept[:k])
    return rows


def draw(encoder, queries, gallery, found: list[list[tuple[int, float]]], path: str) -> None:
    """Film strips of each query and its neighbours."""
    from aimclr_mm.apis import read_recordings
    from aimclr_mm.visualization.skeletons import Strip, draw_strips

    wanted = {*queries.sources, *(gallery.sources[i] for row in found for i, _ in row)}
    recordings = {
        r['frame_dir']: r
        for source in sorted(wanted)
        for r in read_recordings(source, encoder.layout)
    }
    strips = []
    for name, row in zip(queries.names, found):
        strips.append(Strip(recordings[name], f'query: {name}'))
        for i, similarity in row:
            label = f', {gallery.labels[i]}' if gallery.labels[i] else ''
            strips.append(
                Strip(recordings[gallery.names[i]], f'{similarity:.3f}  {gallery.names[i]}{label}')
            )
    draw_strips(strips, encoder.layout, path)


def main() -> None:
    """Embeds, searches, prints, writes."""
    args = parse_args()
    if args.picture:
        from aimclr_mm.visualization.figures import picture_format

        picture_format(args.picture)  # a wrong ending is reported before the work begins
    encoder = cli.open_encoder(args)
    queries, gallery = encoder.embed_recordings(args.query), encoder.embed_recordings(args.gallery)
    if args.picture and len(queries.names) > MOST:
        raise ValueError(
            f'--picture: there are {len(queries.names)} queries; a picture holds at most {MOST}'
        )
    found = find(queries, gallery, args.k, args.others)
    table = [
        (name, rank, gallery.names[i], gallery.labels[i], f'{similarity:.4f}')
        for name, row in zip(queries.names, found)
        for rank, (i, similarity) in enumerate(row, 1)
    ]
    width = max(len(row[2]) for row in table)
    for query, rank, name, label, similarity in table:
        print(
            (f'{query}\n' if rank == 1 else '')
            + f'{rank:4}  {similarity}  {name:{width}}  {label}'.rstrip()
        )
    if args.out:
        with atomic_write(args.out) as file:
            csv.writer(file, lineterminator='\n').writerows(
                [('query', 'rank', 'name', 'label', 'similarity'), *table]
            )
    if args.picture:
        draw(encoder, queries, gallery, found, args.picture)
        print(args.picture)


if __name__ == '__main__':
    cli.run(main)

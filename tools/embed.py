"""Embed recordings, search among embeddings and classify from a few examples.

    python tools/embed.py embed CONFIG CHECKPOINT recordings/ --out embeddings.npz
    python tools/embed.py embed CONFIG CHECKPOINT data/utdmhad/utdmhad_3d.pkl
    python tools/embed.py search CONFIG CHECKPOINT query.npy --gallery recordings/
    python tools/embed.py search CONFIG CHECKPOINT query.npy --gallery embeddings.npz -k 10 \\
        --out neighbors.csv --picture neighbors.png
    python tools/embed.py few_shot CONFIG CHECKPOINT --examples gestures/ --save gestures.npz
    python tools/embed.py few_shot CONFIG CHECKPOINT --classifier gestures.npz --classify new/ \\
        --out predictions.csv

Recordings are files (.npy, .npz, .csv, .txt, .json, .skeleton, .mat), manifests, annotation files
(.pkl) or folders of these; the names of the folders in a folder are the labels. Joints are mapped
to the config's layout from the one that the format tells (.skeleton, .mat, .pkl) or --layout names.
`embed` writes features (N, C), names, labels (empty if unknown), sources and the fingerprint of the
encoder; the other verbs take this file instead of recordings, and `tools/analyze.py tsne` draws it.
Similarity is the cosine of two embeddings.
"""

import argparse
import csv

import numpy as np

from aimclr_mm.apis import (
    EmbeddingClassifier,
    EmbeddingInferencer,
    cli,
    fit_classifier,
    leave_one_out,
    nearest,
)
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.visualization.figures import picture_format
from aimclr_mm.visualization.skeletons import Strip, draw_strips

MAX_QUERIES = 8  # in a picture

# indices into the gallery and cosine similarities, most similar first
Neighbors = list[tuple[int, float]]


def parse_args() -> argparse.Namespace:
    """Parse the verb and its options."""
    parser = cli.Parser(__doc__)
    _add_embed(parser)
    _add_search(parser)
    _add_few_shot(parser)
    args = parser.parse_args()

    if args.verb == 'few_shot' and not args.classify and not args.save:
        parser.error('nothing to do: give --classify SOURCE, --save FILE, or both')
    if args.verb == 'few_shot' and args.out and not args.classify:
        parser.error('--out is for predictions; give --classify SOURCE too')
    return args


def _add_embed(parser: cli.Parser) -> None:
    verb = parser.add_verb('embed', embed, 'write the embeddings of recordings to a .npz file')
    verb.add_shared(*cli.ENCODER, '--layout')
    verb.add_argument('sources', nargs='+', metavar='SOURCE', help='files and folders to embed')
    verb.add_shared('--out', default='embeddings.npz')


def _add_search(parser: cli.Parser) -> None:
    verb = parser.add_verb('search', search, 'find the most similar sequences of a gallery')
    verb.add_shared(*cli.ENCODER, '--layout')
    verb.add_argument('query', nargs='+', metavar='QUERY', help='recordings to search for')
    verb.add_argument(
        '--gallery',
        nargs='+',
        required=True,
        metavar='SOURCE',
        help='recordings to search in, or a file of their embeddings',
    )
    verb.add_shared('-k', default=5)
    verb.add_argument(
        '--others', action='store_true', help='skip sequences with the name of the query'
    )
    verb.add_shared('--out', help='CSV file of the neighbors to write')
    verb.add_argument(
        '--picture',
        type=cli.output_file,
        metavar='FILE',
        help='film strips of queries and neighbors to write: .png, .svg or .pdf',
    )


def _add_few_shot(parser: cli.Parser) -> None:
    verb = parser.add_verb('few_shot', few_shot, 'classify recordings from a few examples')
    verb.add_shared(*cli.ENCODER, '--layout')
    origin = verb.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        '--examples',
        nargs='+',
        metavar='SOURCE',
        help='labeled recordings, or a file of their embeddings',
    )
    origin.add_argument('--classifier', metavar='FILE', help='classifier written by --save')
    verb.add_argument(
        '--classify',
        nargs='+',
        metavar='SOURCE',
        help='recordings to classify, or a file of their embeddings',
    )
    verb.add_argument(
        '--strength',
        type=float,
        default=100.0,
        help='inverse of the regularization; lower it if some labels are wrong (default: 100)',
    )
    verb.add_argument(
        '--save', type=cli.output_file, metavar='FILE', help='.npz file of the classifier to write'
    )
    verb.add_shared('--out', help='CSV file of the predictions to write')


def embed(args: argparse.Namespace) -> None:
    """Embed recordings and write the result."""
    encoder = cli.open_encoder(args)
    embedded = encoder.embed_recordings(args.sources, args.layout)
    embedded.save(args.out)

    count, channels = embedded.features.shape
    labels = sorted(set(embedded.labels) - {''})
    shown = ', '.join(labels[:8]) + (', ...' if len(labels) > 8 else '')
    summary = f'{len(labels)} labels ({shown})' if labels else 'no labels'
    print(f'{args.out}: {count} sequences, {channels} channels, {summary}')


def search(args: argparse.Namespace) -> None:
    """Print the nearest neighbors of each query; write them as CSV and as a picture."""
    if args.picture:
        picture_format(args.picture)  # reports an unknown suffix before the work begins
    encoder = cli.open_encoder(args)
    queries = encoder.embed_recordings(args.query, args.layout)
    gallery = encoder.embed_recordings(args.gallery, args.layout)
    if args.picture and len(queries.names) > MAX_QUERIES:
        raise ValueError(
            f'--picture: there are {len(queries.names)} queries; a picture holds at most '
            f'{MAX_QUERIES}'
        )

    found = find_neighbors(queries, gallery, args.k, args.others)
    table = [
        (name, rank, gallery.names[i], gallery.labels[i], f'{similarity:.4f}')
        for name, neighbors in zip(queries.names, found)
        for rank, (i, similarity) in enumerate(neighbors, 1)
    ]

    width = max(len(row[2]) for row in table)
    for query, rank, name, label, similarity in table:
        if rank == 1:
            print(query)
        print(f'{rank:4}  {similarity}  {name:{width}}  {label}'.rstrip())
    if args.out:
        write_csv(args.out, ('query', 'rank', 'name', 'label', 'similarity'), table)
    if args.picture:
        draw_neighbors(encoder, queries, gallery, found, args)
        print(args.picture)


def find_neighbors(
    queries: EmbeddingSet, gallery: EmbeddingSet, k: int, others: bool
) -> list[Neighbors]:
    """Return the k nearest neighbors of each query, without its namesakes if ``others``."""
    count = len(gallery.names)
    if k > count:
        raise ValueError(f'-k {k}: the gallery holds {count} sequences')

    # one more, as the query itself may be among them
    found = nearest(queries.features, gallery.features, min(k + int(others), count))
    rows = []
    for name, indices, similarities in zip(queries.names, found.indices, found.similarities):
        pairs = [(int(i), float(s)) for i, s in zip(indices, similarities)]
        kept = [pair for pair in pairs if not (others and gallery.names[pair[0]] == name)]
        rows.append(kept[:k])
    return rows


def draw_neighbors(
    encoder: EmbeddingInferencer,
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    found: list[Neighbors],
    args: argparse.Namespace,
) -> None:
    """Draw a film strip of each query and of its neighbors."""
    files = {*queries.sources, *(gallery.sources[i] for row in found for i, _ in row)}
    recordings = {
        recording['frame_dir']: recording
        for file in sorted(files)
        for recording in encoder.read(file, args.layout)
    }

    strips = []
    for query, neighbors in zip(queries.names, found):
        strips.append(Strip(recordings[query], f'query: {query}'))
        for i, similarity in neighbors:
            name = gallery.names[i]
            label = f', {gallery.labels[i]}' if gallery.labels[i] else ''
            strips.append(Strip(recordings[name], f'{similarity:.3f}  {name}{label}'))
    draw_strips(strips, encoder.layout, args.picture)


def few_shot(args: argparse.Namespace) -> None:
    """Fit or load a classifier, save it, and classify recordings."""
    encoder = cli.open_encoder(args)
    if args.examples:
        classifier = fit(encoder, args)
    else:
        classifier = EmbeddingClassifier.load(args.classifier)
        encoder.check_fingerprint(classifier.encoder, args.classifier)

    if args.save:
        classifier.save(args.save)
        print(f'classifier: {args.save}')
    if args.classify:
        classify(encoder, classifier, args)


def fit(encoder: EmbeddingInferencer, args: argparse.Namespace) -> EmbeddingClassifier:
    """Fit a classifier to labeled recordings; print its leave-one-out accuracy."""
    examples = encoder.embed_recordings(args.examples, args.layout)
    if unknown := [name for name, label in zip(examples.names, examples.labels) if not label]:
        raise ValueError(
            f'example {unknown[0]!r} has no label ({len(unknown)} of {len(examples.names)}); put '
            'examples into folders named by class, or list them in a manifest with a column label'
        )
    classifier = fit_classifier(examples.features, examples.labels, args.strength)
    classifier.encoder = encoder.fingerprint

    classes, counts = np.unique(examples.labels, return_counts=True)
    print('examples: ' + ', '.join(f'{name} {count}' for name, count in zip(classes, counts)))
    if counts.min() > 1:
        accuracy = leave_one_out(examples.features, examples.labels, args.strength)
        print(f'leave-one-out accuracy on the examples: {accuracy:.1f} %')
    return classifier


def classify(
    encoder: EmbeddingInferencer, classifier: EmbeddingClassifier, args: argparse.Namespace
) -> None:
    """Print the predicted class of recordings, and the accuracy if some have labels."""
    queries = encoder.embed_recordings(args.classify, args.layout)
    probabilities = classifier.probabilities(queries.features)
    best = probabilities.argmax(axis=1)
    rows = [
        (name, str(classifier.classes[b]), f'{p[b]:.3f}')
        for name, b, p in zip(queries.names, best, probabilities)
    ]

    width = max(map(len, queries.names))
    for (name, predicted, probability), label in zip(rows, queries.labels):
        note = f'  (labeled {label})' if label and label != predicted else ''
        print(f'{name:{width}}  {probability}  {predicted}{note}')

    correct = [label == row[1] for row, label in zip(rows, queries.labels) if label]
    if correct:
        print(f'accuracy on the {len(correct)} labeled recordings: {100 * np.mean(correct):.1f} %')
    if args.out:
        write_csv(args.out, ('name', 'predicted', 'probability'), rows)


def write_csv(path: str, header: tuple[str, ...], rows: list[tuple]) -> None:
    """Write a table with a header as CSV."""
    with atomic_write(path) as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])


def main() -> None:
    """Run the verb of the command line."""
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    cli.run(main)

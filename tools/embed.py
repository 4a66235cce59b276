"""Embed recordings, search among embeddings, classify from a few examples, predict classes.

    python tools/embed.py embed CONFIG CHECKPOINT recordings/ --out embeddings.npz
    python tools/embed.py embed CONFIG CHECKPOINT data/utdmhad/utdmhad_3d.pkl
    python tools/embed.py search CONFIG CHECKPOINT query.npy --gallery recordings/
    python tools/embed.py search CONFIG CHECKPOINT query.npy --gallery embeddings.npz -k 10 \\
        --out neighbors.csv --picture neighbors.png
    python tools/embed.py few_shot CONFIG CHECKPOINT --examples gestures/ --save gestures.npz
    python tools/embed.py few_shot CONFIG CHECKPOINT --examples gestures/ --unlabeled new/ \\
        --classify new/
    python tools/embed.py few_shot CONFIG CHECKPOINT --classifier gestures.npz --classify new/ \\
        --out predictions.csv
    python tools/embed.py predict CONFIG CLASSIFIER.pth new/ --out predictions.json
    python tools/embed.py predict CONFIG CHECKPOINT long.npy --classifier gestures.npz \\
        --window 2 --stride 0.5 --out segments.csv --timeline timeline.csv timeline.png

Recordings are files (.npy, .npz, .csv, .txt, .json, .skeleton, .mat), manifests, annotation files
(.pkl) or folders of these; the names of the folders in a folder are the labels. Joints are mapped
to the config's layout from the one that the format tells (.skeleton, .mat, .pkl) or --layout names.
`embed` writes features (N, C), names, labels (empty if unknown), sources and the fingerprint of the
encoder; the other verbs take this file instead of recordings, and `tools/analyze.py tsne` draws it.
Similarity is the cosine of two embeddings.

`predict` takes the classification head of a checkpoint that was trained with labels, or a
classifier of `few_shot`. --window cuts recordings into overlapping windows: `embed` writes one row
for each, `search` finds windows, which do not overlap, and `predict` merges windows to segments of
equal class.
"""

import argparse
import os
import signal
from collections.abc import Callable
from functools import partial

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import numpy as np
import torch

from aimclr_mm.apis import (
    EmbeddingClassifier,
    EmbeddingInferencer,
    Prediction,
    Windows,
    cli,
    fit_classifier,
    leave_one_out,
    merge_predictions,
    nearest,
    predict,
)
from aimclr_mm.apis.prediction import write_csv, write_predictions, write_probabilities
from aimclr_mm.apis.windows import overlap, split_name
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.evaluation.whitening import whiten
from aimclr_mm.utils.terminal import say
from aimclr_mm.visualization.figures import picture_format
from aimclr_mm.visualization.timeline import Timeline, draw_timelines

MAX_QUERIES = 8  # in a picture
MAX_TIMELINES = 12  # recordings in a picture

# indices into the gallery and cosine similarities, most similar first
Neighbors = list[tuple[int, float]]


def parse_args() -> argparse.Namespace:
    """Parse the verb and its options."""
    parser = cli.Parser(__doc__)
    _add_embed(parser)
    _add_search(parser)
    _add_few_shot(parser)
    _add_predict(parser)
    args = parser.parse_args()

    if getattr(args, 'window', None) is None:
        unused = {'--stride': 'stride', '--timeline': 'timeline'}
        for option, name in unused.items():
            if getattr(args, name, None) is not None:
                parser.error(f'{option} is for windows; give --window SECONDS too')
    if args.verb == 'few_shot' and not args.classify and not args.save:
        parser.error('nothing to do: give --classify SOURCE, --save FILE, or both')
    if args.verb == 'few_shot' and args.unlabeled and not args.examples:
        parser.error('--unlabeled is for a new classifier; give --examples SOURCE too')
    if args.verb == 'few_shot' and args.out and not args.classify:
        parser.error('--out is for predictions; give --classify SOURCE too')
    return args


def _add_embed(parser: cli.Parser) -> None:
    verb = parser.add_verb('embed', embed, 'write the embeddings of recordings to a .npz file')
    verb.add_shared(*cli.ENCODER, '--layout', '--missing', '--unit')
    verb.add_argument('sources', nargs='+', metavar='SOURCE', help='files and folders to embed')
    _add_windows(verb)
    verb.add_shared('--out', default='embeddings.npz')


def _add_search(parser: cli.Parser) -> None:
    verb = parser.add_verb('search', search, 'find the most similar sequences of a gallery')
    verb.add_shared(*cli.ENCODER, '--layout', '--missing', '--unit')
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
        '--whitened',
        action='store_true',
        help='whiten the embeddings by those of the gallery; better with an encoder that was '
        'trained on other data, such as a shipped one',
    )
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
    _add_windows(verb)
    _add_timeline(verb, 'similarity of each window to the queries')


def _add_few_shot(parser: cli.Parser) -> None:
    verb = parser.add_verb('few_shot', few_shot, 'classify recordings from a few examples')
    verb.add_shared(*cli.ENCODER, '--layout', '--missing', '--unit')
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
        '--unlabeled',
        nargs='+',
        metavar='SOURCE',
        help='recordings without labels, such as those to classify, or a file of their embeddings; '
        'the embeddings are whitened by these and the examples',
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


def _add_predict(parser: cli.Parser) -> None:
    verb = parser.add_verb('predict', predict_classes, 'predict the classes of recordings')
    verb.add_shared(*cli.ENCODER, '--layout', '--missing', '--unit')
    verb.add_argument('sources', nargs='+', metavar='SOURCE', help='files and folders to classify')
    verb.add_argument(
        '--classifier',
        metavar='FILE',
        help='classifier written by few_shot --save; default: the classification head of the '
        'checkpoint',
    )
    verb.add_shared(
        '--ann-file',
        help='annotation file with the names of the classes of the classification head; default: '
        'those that the checkpoint states',
    )
    verb.add_shared('--out', help='CSV or JSON file of the predictions to write')
    _add_windows(verb)
    _add_timeline(verb, 'probability of each class in each window')


def _add_windows(verb: cli.Parser) -> None:
    verb.add_argument(
        '--window',
        type=float,
        metavar='SECONDS',
        help='cut recordings into windows of this length; default: whole recordings',
    )
    verb.add_argument(
        '--stride',
        type=float,
        metavar='SECONDS',
        help='time from one window to the next (default: a quarter of the window)',
    )
    verb.add_argument(
        '--fps', type=float, default=30.0, help='frames per second of the recordings (default: 30)'
    )


def _add_timeline(verb: cli.Parser, text: str) -> None:
    verb.add_argument(
        '--timeline',
        type=cli.output_file,
        nargs='+',
        metavar='FILE',
        help=f'{text}, as .csv and as a picture (.png, .svg, .pdf)',
    )


def windows_of(args: argparse.Namespace) -> Windows | None:
    """Return the windows of the command line; None for whole recordings."""
    if args.window is None:
        return None
    stride = args.window / 4 if args.stride is None else args.stride
    return Windows(args.window, stride, args.fps)


def check_timeline(paths: list[str] | None) -> None:
    """Raise ValueError for a file that is neither CSV nor a picture."""
    for path in paths or ():
        if os.path.splitext(path)[1].lower() != '.csv':
            picture_format(path)


def embed(args: argparse.Namespace) -> None:
    """Embed recordings and write the result."""
    encoder = cli.open_encoder(args)
    embedded = encoder.embed_recordings(args.sources, args.layout, windows_of(args))
    embedded.save(args.out)

    count, channels = embedded.features.shape
    labels = sorted(set(embedded.labels) - {''})
    shown = ', '.join(labels[:8]) + (', ...' if len(labels) > 8 else '')
    summary = f'{len(labels)} labels ({shown})' if labels else 'no labels'
    say(f'{args.out}: {count} sequences, {channels} channels, {summary}')


def search(args: argparse.Namespace) -> None:
    """Print the nearest neighbors of each query; write them as CSV and as a picture."""
    if args.picture:
        picture_format(args.picture)  # reports an unknown suffix before the work begins
    check_timeline(args.timeline)
    encoder = cli.open_encoder(args)
    queries = encoder.embed_recordings(args.query, args.layout)
    gallery = encoder.embed_recordings(args.gallery, args.layout, windows_of(args))
    if args.picture and len(queries.names) > MAX_QUERIES:
        raise ValueError(
            f'--picture: there are {len(queries.names)} queries; a picture holds at most '
            f'{MAX_QUERIES}'
        )

    if args.whitened:
        rows = (torch.from_numpy(part.features) for part in (gallery, queries))
        gallery.features, queries.features = (part.numpy() for part in whiten(*rows))
    found = find_neighbors(queries, gallery, args.k, args.others)
    table = [
        (name, rank, gallery.names[i], gallery.labels[i], f'{similarity:.4f}')
        for name, neighbors in zip(queries.names, found)
        for rank, (i, similarity) in enumerate(neighbors, 1)
    ]

    width = max(len(row[2]) for row in table)
    for query, rank, name, label, similarity in table:
        if rank == 1:
            say(query)
        say(f'{rank:4}  {similarity}  {name:{width}}  {label}'.rstrip())
    if args.out:
        write_csv(args.out, ('query', 'rank', 'name', 'label', 'similarity'), table)
    if args.picture:
        draw_neighbors(encoder, queries, gallery, found, args)
        say(args.picture)
    if args.timeline:
        write_similarities(queries, gallery, args.timeline)


def find_neighbors(
    queries: EmbeddingSet, gallery: EmbeddingSet, k: int, others: bool
) -> list[Neighbors]:
    """Return the k nearest neighbors of each query.

    Without the query itself and windows of it if ``others``; of windows that overlap, only the most
    similar one.
    """
    count = len(gallery.names)
    if k > count:
        raise ValueError(f'-k {k}: the gallery holds {count} sequences')

    has_windows = any(split_name(str(name))[1] is not None for name in gallery.names)
    # one more, as the query itself may be among them
    wanted = count if has_windows else min(k + int(others), count)
    found = nearest(queries.features, gallery.features, wanted)
    rows = []
    for name, indices, similarities in zip(queries.names, found.indices, found.similarities):
        kept: Neighbors = []
        for i, similarity in zip(indices, similarities):
            other = str(gallery.names[i])
            is_query = others and split_name(other)[0] == split_name(str(name))[0]
            if is_query or any(overlap(other, str(gallery.names[j])) for j, _ in kept):
                continue
            kept.append((int(i), float(similarity)))
            if len(kept) == k:
                break
        rows.append(kept)
    return rows


def write_similarities(queries: EmbeddingSet, gallery: EmbeddingSet, paths: list[str]) -> None:
    """Write the similarity of each window to each query, as CSV and as pictures."""
    found = nearest(queries.features, gallery.features, len(gallery.names))
    similarities = np.empty_like(found.similarities)  # (Q, G) in the order of the gallery
    np.put_along_axis(similarities, found.indices, found.similarities, axis=1)
    spans = [split_name(str(name)) for name in gallery.names]

    timelines = []
    for name in dict.fromkeys(recording for recording, start, _ in spans if start is not None):
        rows = [i for i, (recording, _, _) in enumerate(spans) if recording == name]
        times = np.array([spans[i][1:] for i in rows])
        curves = {str(q): similarities[j, rows] for j, q in enumerate(queries.names)}
        timelines.append(Timeline(name, times, curves))
    table = [
        (query, line.title, f'{start:.3f}', f'{end:.3f}', f'{value:.4f}')
        for line in timelines
        for query, values in line.curves.items()
        for (start, end), value in zip(line.times, values)
    ]
    head = ('query', 'name', 'start', 'end', 'similarity')
    write_timeline(paths, lambda path: write_csv(path, head, table), timelines, 'similarity')


def write_timeline(
    paths: list[str],
    write_table: Callable[[str], None],
    timelines: list[Timeline],
    ylabel: str,
) -> None:
    """Write timelines as CSV and as pictures, by the extension of each file."""
    for path in paths:
        if os.path.splitext(path)[1].lower() == '.csv':
            write_table(path)
        else:
            if len(timelines) > MAX_TIMELINES:
                say(f'{path}: the first {MAX_TIMELINES} of {len(timelines)} recordings')
            draw_timelines(timelines[:MAX_TIMELINES], ylabel, path)
        say(path)


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
        for windows in {None, windows_of(args)}
        for recording in encoder.read(file, args.layout, windows)
    }
    names = [*queries.names, *(gallery.names[i] for row in found for i, _ in row)]
    if unknown := [str(name) for name in names if name not in recordings]:
        raise ValueError(
            f'--picture: {unknown[0]!r} is not found in its source; give --window, --stride and '
            '--fps as the gallery was embedded with'
        )

    from aimclr_mm.visualization.skeletons import Strip, draw_strips  # here: a slow import

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
        say(f'classifier: {args.save}')
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
    unlabeled = None
    if args.unlabeled:
        unlabeled = encoder.embed_recordings(args.unlabeled, args.layout).features
    settings = args.strength, unlabeled
    classifier = fit_classifier(examples.features, examples.labels, *settings)
    classifier.encoder = encoder.fingerprint

    classes, counts = np.unique(examples.labels, return_counts=True)
    say('examples: ' + ', '.join(f'{name} {count}' for name, count in zip(classes, counts)))
    if counts.min() > 1:
        accuracy = leave_one_out(examples.features, examples.labels, *settings)
        say(f'leave-one-out accuracy on the examples: {accuracy:.1f} %')
    return classifier


def classify(
    encoder: EmbeddingInferencer, classifier: EmbeddingClassifier, args: argparse.Namespace
) -> None:
    """Print and write the predicted class of recordings."""
    queries = encoder.embed_recordings(args.classify, args.layout)
    predictions = predict(queries, classifier)
    print_predictions(predictions)
    if args.out:
        write_predictions(predictions, args.out)


def print_predictions(predictions: list[Prediction]) -> None:
    """Print the predicted class of recordings or segments, and the accuracy if some have labels."""
    width = max(len(prediction.name) for prediction in predictions)
    correct = []
    for prediction in predictions:
        ((predicted, probability),) = prediction.top()
        span = ''.join(f'{seconds:>10}' for seconds in prediction.span)
        is_known = prediction.label and prediction.start is None
        if is_known:
            correct.append(prediction.label == predicted)
        note = f'  (labeled {prediction.label})' if is_known and not correct[-1] else ''
        say(f'{prediction.name:{width}}{span}  {probability:.3f}  {predicted}{note}')
    if correct:
        say(f'accuracy on the {len(correct)} labeled recordings: {100 * np.mean(correct):.1f} %')


def predict_classes(args: argparse.Namespace) -> None:
    """Print the predicted class of each recording or segment; write them."""
    check_timeline(args.timeline)
    encoder = cli.open_encoder(args)
    classifier = cli.open_classifier(encoder, args)
    embedded = encoder.embed_recordings(args.sources, args.layout, windows_of(args))

    predictions = predict(embedded, classifier)
    found = predictions if args.window is None else merge_predictions(predictions)
    print_predictions(found)
    if args.out:
        write_predictions(found, args.out)
        say(args.out)
    if args.timeline:
        write_table = partial(write_probabilities, predictions)
        write_timeline(args.timeline, write_table, timelines_of(predictions, found), 'probability')


def timelines_of(windows: list[Prediction], segments: list[Prediction]) -> list[Timeline]:
    """Return the probabilities of windows as curves, with the segments found, by recording."""
    timelines = []
    for name in dict.fromkeys(window.name for window in windows):
        own = [window for window in windows if window.name == name]
        scores = np.array([window.probabilities for window in own])  # (W, K)
        bars = [(s.start, s.end, s.top()[0][0]) for s in segments if s.name == name]
        times = np.array([(window.start, window.end) for window in own])
        curves = {str(c): scores[:, k] for k, c in enumerate(own[0].classes)}
        timelines.append(Timeline(name, times, curves, bars))
    return timelines


def main() -> None:
    """Run the verb of the command line."""
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    cli.run(main)

"""Turn logs, features and scores of finished runs into pictures, numbers and a report.

    python tools/analyze.py curves work_dirs/aimclr_ntu60_xsub_joint
    python tools/analyze.py knn work_dirs/aimclr work_dirs/skeletonclr --names AimCLR SkeletonCLR
    python tools/analyze.py tsne joint/features.npz bone/features.npz motion/features.npz
    python tools/analyze.py tsne features.npz --class-ids 3 7 9 --ann-file data/ntu60/ntu60_3d.pkl
    python tools/analyze.py fuse joint/linear.npz bone/linear.npz motion/linear.npz
    python tools/analyze.py fuse joint/features.npz bone/features.npz --weights 1 1 --k 1 20
    python tools/analyze.py report work_dirs/aimclr_ntu60_xsub_joint

curves  Loss against its chance level, mean cosine of embeddings and KNN accuracy of a training.
knn     KNN accuracy over training (Figure 3). Saved checkpoints epoch_N.pth are evaluated for each
        k (configs/schedules/keep_checkpoints.py keeps them); RUN/knn_curve.json caches the results,
        so an interrupted command can be repeated. The numbers are in a .csv file of the same name.
tsne    Projection of the embeddings of some classes to the plane, and the NMI of k-means on the
        normalized embeddings (Figure 2). A seed chooses the same classes for each method. The
        numbers are in a .json file of the same name. Takes files of tools/test.py --dump or of
        tools/embed.py embed.
fuse    Fusion of streams ("3s" in the paper): the weighted sum of the logits of score files, or of
        the cosine similarities of feature files. Takes files of tools/test.py --dump.
report  One self-contained HTML page about a run: curves, metrics, confusion matrix, embedding,
        configuration, environment. Metrics, features and scores are searched in all folders below
        WORK_DIR; for missing parts the page shows the command that makes them.
"""

import argparse
import json
import os
import signal
import sys

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import numpy as np
from rich.console import Console

from aimclr_mm.apis import cli
from aimclr_mm.evaluation import EmbeddingSet, FeatureSet, knn_curve
from aimclr_mm.evaluation import fuse as fuse_features
from aimclr_mm.evaluation.fusion import fuse_files
from aimclr_mm.models import STREAMS
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.terminal import say
from aimclr_mm.utils.training_log import read_history
from aimclr_mm.visualization import embedding
from aimclr_mm.visualization.figures import picture_format, save_figure

PICTURE = 'picture to write: .png, .svg or .pdf'


def parse_args() -> argparse.Namespace:
    """Parse the verb and its options."""
    parser = cli.Parser(__doc__)

    verb = parser.add_verb('curves', curves, 'draw loss, mean cosine and KNN accuracy of a run')
    verb.add_shared('work_dir')
    verb.add_shared('--out', help=f'{PICTURE} (default: WORK_DIR/training.png)')

    _add_knn(parser)
    _add_tsne(parser)

    verb = parser.add_verb('fuse', fuse, 'fuse the streams of one evaluation')
    verb.add_argument('files', nargs='+', metavar='FILE', help='.npz files, one for each stream')
    verb.add_shared('--weights')
    verb.add_argument(
        '--k', type=int, nargs='+', help='numbers of neighbors, for feature files (default: 1)'
    )
    verb.add_shared('--out', help='JSON file of the metrics to write')

    verb = parser.add_verb('report', report, 'write one HTML page about a run')
    verb.add_shared('work_dir', '--ann-file')
    verb.add_shared('--out', help='page to write (default: WORK_DIR/report.html)')

    return parser.parse_args()


def _add_knn(parser: cli.Parser) -> None:
    verb = parser.add_verb('knn', knn, 'draw KNN accuracy over training')
    verb.add_argument('runs', nargs='+', metavar='RUN', help='work directories of pre-trainings')
    verb.add_argument(
        '--k',
        type=cli.integer(1),
        nargs='+',
        default=[1, 5, 20],
        help='numbers of neighbors, the first one for the curve over training (default: 1 5 20)',
    )
    verb.add_argument(
        '--names',
        nargs='+',
        metavar='NAME',
        help='names of the runs; default: those of their folders',
    )
    verb.add_shared('--out', default='knn.png', help=PICTURE)
    verb.add_argument(
        '--no-evaluate',
        action='store_true',
        help='draw only the logged values; evaluate no checkpoints',
    )


def _add_tsne(parser: cli.Parser) -> None:
    verb = parser.add_verb('tsne', tsne, 'draw the embeddings of some classes and their NMI')
    verb.add_argument(
        'files', nargs='+', metavar='FILE', help='.npz files of features, one for each stream'
    )
    verb.add_shared('--weights')
    chosen = verb.add_mutually_exclusive_group()
    chosen.add_argument(
        '--classes',
        type=int,
        default=10,
        metavar='N',
        help='number of random classes (default: 10)',
    )
    chosen.add_argument('--class-ids', type=int, nargs='+', metavar='ID', help='draw these classes')
    chosen.add_argument(
        '--class-names',
        nargs='+',
        metavar='NAME',
        help='draw these classes; needs --ann-file, or embeddings with labels',
    )
    verb.add_shared('--seed', default=0, help='seed of random classes, k-means and the projection')
    verb.add_argument(
        '--method',
        choices=['tsne', 'umap'],
        default='tsne',
        help='projection; umap needs umap-learn',
    )
    verb.add_shared('--ann-file')
    verb.add_shared('--out', default='embedding.png', help=PICTURE)


def curves(args: argparse.Namespace) -> None:
    """Draw the logged curves of a training."""
    from aimclr_mm.visualization.curves import draw_training  # here: a slow import

    path = args.out or os.path.join(args.work_dir, 'training.png')
    save_figure(draw_training(read_history(args.work_dir)), path)
    say(path)


def knn(args: argparse.Namespace) -> None:
    """Draw KNN accuracy over training, write it as CSV and print the last epochs."""
    from aimclr_mm.visualization.curves import draw_knn_curves  # here: a slow import

    names = args.names or [os.path.basename(os.path.abspath(run)) for run in args.runs]
    if len(names) != len(args.runs) or len(set(names)) < len(names):
        raise ValueError(
            f'names {names}: {len(args.runs)} runs need as many different ones; give --names'
        )
    picture_format(args.out)  # reports an unknown suffix before the work begins

    ks = list(dict.fromkeys(args.k))
    points = []
    for name, run in zip(names, args.runs):
        points += knn_curve.run_points(name, run, ks, not args.no_evaluate)

    table = os.path.splitext(args.out)[0] + '.csv'
    save_figure(draw_knn_curves(points, ks), args.out)
    knn_curve.write_csv(points, table)
    Console().print(knn_curve.summary(points, ks))
    say(args.out, table)


def tsne(args: argparse.Namespace) -> None:
    """Draw the embeddings of some classes; print and write their NMI."""
    picture_format(args.out)  # reports an unknown suffix before the work begins
    features, names = load_queries(args.files, args.weights)
    if args.ann_file:
        names = embedding.read_class_names(args.ann_file)
    classes = choose_classes(args, features.labels, names)

    drawn = np.isin(features.labels, list(classes))
    x, labels = features.features[drawn], features.labels[drawn]
    status = f'Projecting {len(x)} embeddings, clustering {len(drawn)}'
    with Console(stderr=True).status(status):
        positions = embedding.project(x, args.method, args.seed)
        result = dict(
            nmi=embedding.nmi(x, labels, args.seed),
            nmi_all=embedding.nmi(features.features, features.labels, args.seed),
            classes=[dict(id=number, name=name) for number, name in classes.items()],
            classes_all=len(np.unique(features.labels)),
            sequences=len(x),
            sequences_all=len(drawn),
            settings=dict(
                files=args.files,
                weights=args.weights or default_weights(args.files),
                seed=args.seed,
                method=args.method,
                **embedding.projection_settings(args.method, len(x), args.seed),
            ),
        )

    method = dict(tsne='t-SNE', umap='UMAP')[args.method]
    title = f'{method}, {len(classes)} classes, NMI {result["nmi"]:.3f}'
    save_figure(embedding.draw_embedding(positions, labels, classes, title), args.out)
    write_json(os.path.splitext(args.out)[0] + '.json', result)

    listed = [f'{number} ({name})' if names else str(number) for number, name in classes.items()]
    say(
        f'classes: {", ".join(listed)}',
        f'NMI, {len(classes)} classes, {len(x)} sequences: {result["nmi"]:.4f}',
        f'NMI, all {result["classes_all"]} classes, {len(drawn)} sequences: '
        f'{result["nmi_all"]:.4f}',
        args.out,
    )


def default_weights(files: list[str]) -> list[float] | None:
    """Return the weights of the paper for the files of three streams."""
    return list(STREAMS.values()) if len(files) == len(STREAMS) else None


def load_queries(
    files: list[str], weights: list[float] | None
) -> tuple[FeatureSet, list[str] | None]:
    """Return the test split of feature files, streams joined, and the class names if known."""
    names, sets = None, []
    for path in files:
        if EmbeddingSet.is_file(path):
            features, names = EmbeddingSet.load(path).labeled(path)
            sets.append(features)
        else:
            sets.append(FeatureSet.load(path))

    joined = fuse_features(sets, weights or default_weights(files))
    query = ~joined.gallery
    if not query.any():
        raise ValueError(
            f'{files[0]!r} holds no query sequences (test split); only those are drawn'
        )
    return FeatureSet(
        joined.features[query], joined.labels[query], joined.gallery[query], joined.names[query]
    ), names


def choose_classes(
    args: argparse.Namespace, labels: np.ndarray, names: list[str] | None
) -> dict[int, str]:
    """Return the classes to draw, by number, with their names in the legend."""
    ids = args.class_ids
    if args.class_names:
        ids = class_ids(args.class_names, names, args.ann_file or args.files[0])
    if ids:
        chosen = embedding.check_classes(labels, ids)
    else:
        chosen = embedding.choose_classes(labels, args.classes, args.seed)
        if len(chosen) < args.classes:
            say(f'--classes {args.classes}: the data have {len(chosen)}; all are drawn')

    if names and chosen[-1] >= len(names):
        raise ValueError(
            f'{args.ann_file!r} names {len(names)} classes, but a sequence is of class '
            f'{chosen[-1]}; give the annotation file of the data'
        )
    return {int(c): names[c] if names else f'class {c}' for c in chosen}


def class_ids(wanted: list[str], names: list[str] | None, source: str) -> list[int]:
    """Return the numbers of classes that are given by name."""
    if not names:
        raise ValueError('--class-names needs --ann-file, or embeddings of tools/embed.py')
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f'{source!r} has no class {unknown[0]!r}; it has {", ".join(names)}')
    return [names.index(name) for name in wanted]


def fuse(args: argparse.Namespace) -> None:
    """Print and write the metrics of fused streams."""
    metrics = fuse_files(args.files, args.weights, args.k)
    for name, value in metrics.items():
        say(f'{name}: {value:.2f}')
    if args.out:
        write_json(args.out, dict(files=args.files, weights=args.weights, metrics=metrics))


def report(args: argparse.Namespace) -> None:
    """Write the page; print its path, and on stderr the parts left out."""
    from aimclr_mm.visualization.report import write_report  # here: a slow import

    out = args.out or os.path.join(args.work_dir, 'report.html')
    for note in write_report(args.work_dir, out, args.ann_file):
        say(f'note: {note}', file=sys.stderr)
    say(out)


def write_json(path: str, content: dict) -> None:
    """Write an indented JSON file."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2) + '\n')


def main() -> None:
    """Run the verb of the command line."""
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    cli.run(main)

"""Draws embeddings of some classes and measures how well they cluster (Figure 2 of the paper).

    python tools/test.py CONFIG CHECKPOINT --dump work_dirs/joint
    python tools/embedding.py work_dirs/joint/features.npz --out embedding.png
    python tools/embedding.py joint/features.npz bone/features.npz motion/features.npz      # three streams
    python tools/embedding.py features.npz --class-ids 3 7 9 --ann-file data/ntu60/ntu60_3d.pkl
    python tools/embedding.py embeddings.npz                        # of one's own recordings, from tools/embed.py

The same --seed chooses the same classes of a data set for every method, so that pictures can be compared. NMI is
that of k-means on the normalised embeddings, not on the picture. embedding.json beside the picture holds the figures.
"""

import argparse
import json
import os

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write


def parse_args() -> argparse.Namespace:
    """Feature files, which classes are drawn and how."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'features', nargs='+', metavar='FEATURES.npz', help='feature files, one a stream'
    )
    parser.add_argument(
        '--weights',
        type=float,
        nargs='+',
        metavar='W',
        help='of the streams; default: those of the paper, 0.6 0.6 0.4, for three files (joint, bone, '
        'motion), equal ones otherwise',
    )
    chosen = parser.add_mutually_exclusive_group()
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
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of the choice of classes, of k-means and of the picture',
    )
    parser.add_argument(
        '--method', choices=['tsne', 'umap'], default='tsne', help='umap needs umap-learn'
    )
    parser.add_argument('--ann-file', help='annotation file that tells the names of the classes')
    parser.add_argument(
        '--out',
        type=cli.output_file,
        default='embedding.png',
        help='picture to write: .png, .svg or .pdf',
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args()
    if not 0 <= args.seed < 2**32:
        parser.error(f'--seed {args.seed}: it must lie in 0 to 2**32 - 1')
    return args


def choose(args: argparse.Namespace, labels, names: list[str] | None) -> dict[int, str]:
    """Classes to draw and what the legend calls them."""
    from aimclr_mm.visualization import embedding

    ids = args.class_ids
    if args.class_names and not names:
        raise ValueError('--class-names needs --ann-file, or embeddings that tools/embed.py wrote')
    if args.class_names:
        unknown = [name for name in args.class_names if name not in names]
        if unknown:
            raise ValueError(
                f'{args.ann_file or args.features[0]!r} has no class {unknown[0]!r}; it has '
                f'{", ".join(names)}'
            )
        ids = [names.index(name) for name in args.class_names]
    chosen = (
        embedding.check_classes(labels, ids)
        if ids
        else embedding.choose_classes(labels, args.classes, args.seed)
    )
    if not ids and len(chosen) < args.classes:
        print(f'{args.classes} classes are asked for, the data have {len(chosen)}: all are drawn')
    if names and chosen[-1] >= len(names):
        raise ValueError(
            f'{args.ann_file!r} names {len(names)} classes, but a sequence is of class {chosen[-1]}; '
            'give the annotation file of the data'
        )
    return {int(c): names[c] if names else f'class {c}' for c in chosen}


def load_queries(paths: list[str], weights: list[float] | None):
    """Features (Q, C), labels (Q,) and names of classes, if known, of the test split, of all streams together."""
    from aimclr_mm.evaluation import EmbeddingSet, FeatureSet, fuse

    names, sets = None, []
    for path in paths:
        if EmbeddingSet.is_file(path):
            features, names = EmbeddingSet.load(path).labelled(path)
            sets.append(features)
        else:
            sets.append(FeatureSet.load(path))
    joined = fuse(sets, weights)
    if joined.gallery.all():
        raise ValueError(
            f'{paths[0]!r} holds no query sequences (test split); only those are drawn'
        )
    return joined.features[~joined.gallery], joined.labels[~joined.gallery], names


def main() -> None:
    """Writes picture and figures and prints the figures."""
    args = parse_args()
    import numpy as np
    from rich.console import Console

    from aimclr_mm.models import STREAMS
    from aimclr_mm.visualization import embedding, figures

    figures.picture_format(args.out)  # a wrong ending is reported before the work begins
    weights = args.weights or (
        list(STREAMS.values()) if len(args.features) == len(STREAMS) else None
    )
    features, labels, names = load_queries(args.features, weights)
    names = embedding.read_class_names(args.ann_file) if args.ann_file else names
    classes = choose(args, labels, names)
    drawn = np.isin(labels, list(classes))
    with Console(stderr=True).status(
        f'Projecting {drawn.sum()} embeddings, clustering {len(labels)}'
    ):
        places = embedding.project(features[drawn], args.method, args.seed)
        nmi = embedding.nmi(features[drawn], labels[drawn], args.seed)
        nmi_all = embedding.nmi(features, labels, args.seed)

    result = dict(
        nmi=nmi,
        nmi_all=nmi_all,
        classes=[dict(id=number, name=name) for number, name in classes.items()],
        classes_all=len(np.unique(labels)),
        sequences=int(drawn.sum()),
        sequences_all=len(labels),
        settings=dict(
            files=args.features,
            weights=weights,
            seed=args.seed,
            method=args.method,
            **embedding.projection_settings(args.method, int(drawn.sum()), args.seed),
        ),
    )
    title = f'{dict(tsne="t-SNE", umap="UMAP")[args.method]}, {len(classes)} classes, NMI {result["nmi"]:.3f}'
    figures.save_figure(embedding.draw_embedding(places, labels[drawn], classes, title), args.out)
    with atomic_write(os.path.splitext(args.out)[0] + '.json') as file:
        file.write(json.dumps(result, indent=2) + '\n')
    listed = (f'{number} ({name})' if names else str(number) for number, name in classes.items())
    print(
        f'classes: {", ".join(listed)}\n'
        f'NMI, {len(classes)} classes, {drawn.sum()} sequences: {result["nmi"]:.4f}\n'
        f'NMI, all {result["classes_all"]} classes, {len(labels)} sequences: {result["nmi_all"]:.4f}\n{args.out}'
    )


if __name__ == '__main__':
    cli.run(main)

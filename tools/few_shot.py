"""Learns to tell movements apart from a handful of labelled recordings, and classifies others.

    python tools/few_shot.py CONFIG CHECKPOINT --examples gestures/ --classify new/
    python tools/few_shot.py CONFIG CHECKPOINT --examples gestures/ --save gestures.npz
    python tools/few_shot.py CONFIG CHECKPOINT --classifier gestures.npz --classify new/ --out predictions.csv

Examples are a folder with a folder for each class, a manifest with labels, an annotation file, or embeddings that
tools/embed.py wrote. From two examples a class on, the accuracy on examples that were left out one by one is printed;
where the recordings to classify have labels too, so is the accuracy on them.
"""

import argparse
import csv

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write


def parse_args() -> argparse.Namespace:
    """Encoder, examples or a classifier, and what is to be classified."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_encoder_options(parser)
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        '--examples', nargs='+', metavar='SOURCE', help='labelled recordings, or embeddings of them'
    )
    origin.add_argument('--classifier', metavar='FILE', help='classifier that --save wrote')
    parser.add_argument(
        '--classify', nargs='+', metavar='SOURCE', help='recordings, or embeddings of them'
    )
    parser.add_argument(
        '--strength',
        type=float,
        default=100.0,
        help='inverse of the regularisation; smaller where '
        'labels are wrong now and then (default: 100)',
    )
    parser.add_argument(
        '--save', type=cli.output_file, metavar='FILE', help='keep the classifier, as .npz'
    )
    parser.add_argument(
        '--out', type=cli.output_file, metavar='FILE', help='write the predictions as CSV'
    )
    args = parser.parse_args()
    if not args.classify and not args.save:
        parser.error('nothing to do: give --classify SOURCE, --save FILE, or both')
    if args.out and not args.classify:
        parser.error('--out is for predictions; give --classify SOURCE too')
    return args


def learn(encoder, args: argparse.Namespace):
    """A classifier from the examples."""
    import numpy as np

    from aimclr_mm.apis import fit_classifier, leave_one_out

    examples = encoder.embed_recordings(args.examples)
    if unknown := [name for name, label in zip(examples.names, examples.labels) if not label]:
        raise ValueError(
            f'example {unknown[0]!r} has no label ({len(unknown)} of {len(examples.names)}); put examples '
            'into folders named by class, or list them in a manifest with a column label'
        )
    classifier = fit_classifier(examples.features, examples.labels, args.strength)
    classifier.encoder = encoder.fingerprint
    classes, counts = np.unique(examples.labels, return_counts=True)
    print('examples: ' + ', '.join(f'{name} {count}' for name, count in zip(classes, counts)))
    if counts.min() > 1:
        print(
            f'accuracy on examples left out one by one: '
            f'{leave_one_out(examples.features, examples.labels, args.strength):.1f} %'
        )
    return classifier


def classify(encoder, classifier, args: argparse.Namespace) -> None:
    """Prints and writes what the classifier says of recordings."""
    queries = encoder.embed_recordings(args.classify)
    probabilities = classifier.probabilities(queries.features)
    best = probabilities.argmax(axis=1)
    rows = [
        (name, classifier.classes[b], f'{p[b]:.3f}')
        for name, b, p in zip(queries.names, best, probabilities)
    ]
    width = max(len(name) for name in queries.names)
    for (name, predicted, probability), label in zip(rows, queries.labels):
        note = '' if not label or label == str(predicted) else f'  (labelled {label})'
        print(f'{name:{width}}  {probability}  {predicted}{note}')
    known = [label == str(row[1]) for row, label in zip(rows, queries.labels) if label]
    if known:
        print(
            f'accuracy on the {len(known)} that are labelled: {100 * sum(known) / len(known):.1f} %'
        )
    if args.out:
        with atomic_write(args.out) as file:
            csv.writer(file, lineterminator='\n').writerows(
                [('name', 'predicted', 'probability'), *rows]
            )


def main() -> None:
    """Learns or loads a classifier, keeps it, and classifies."""
    args = parse_args()
    encoder = cli.open_encoder(args)
    if args.examples:
        classifier = learn(encoder, args)
    else:
        from aimclr_mm.apis import EmbeddingClassifier

        classifier = EmbeddingClassifier.load(args.classifier)
        encoder.check_fingerprint(classifier.encoder, args.classifier)
    if args.save:
        classifier.save(args.save)
        print(f'classifier: {args.save}')
    if args.classify:
        classify(encoder, classifier, args)


if __name__ == '__main__':
    cli.run(main)

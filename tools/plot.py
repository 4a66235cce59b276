"""Draws a training and what it learnt.

    python tools/plot.py work_dirs/aimclr_ntu60_xsub_joint
    python tools/plot.py WORK_DIR --config CONFIG --checkpoint CHECKPOINT

training.png: loss against its chance level, mean cosine between embeddings, KNN accuracy. embedding.png (with a
config and a checkpoint): t-SNE of the test split's features.
"""
import argparse
import os

from aimclr_mm import cli


def parse_args() -> argparse.Namespace:
    """Work directory, and what the embedding is drawn of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', metavar='WORK_DIR', help='work directory of a training; the pictures go there')
    parser.add_argument('--config', help='config of the training, for embedding.png')
    parser.add_argument('--checkpoint', help='its checkpoint, for embedding.png')
    cli.add_run_options(parser)
    args = parser.parse_args()
    if (args.config is None) != (args.checkpoint is None):
        parser.error('--config and --checkpoint belong together')
    return args


def main() -> None:
    """Writes the pictures and prints where they are."""
    args = parse_args()
    from aimclr_mm.evaluation import plots
    path = os.path.join(args.run, 'training.png')
    plots.plot_training(plots.read_scalars(args.run), path)
    print(path)
    if args.config:
        from aimclr_mm.evaluation.run import extract_features
        args.work_dir = args.work_dir or os.path.join(args.run, 'plot')
        features, labels, is_bank = extract_features(cli.load_config(args), args.checkpoint)
        path = os.path.join(args.run, 'embedding.png')
        plots.plot_embedding(features[~is_bank], labels[~is_bank], path)
        print(path)


if __name__ == '__main__':
    cli.run(main)

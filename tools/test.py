"""Evaluates a frozen encoder by nearest neighbours and linear classification, or a classifier by its accuracy.

    python tools/test.py configs/aimclr_ntu60_xsub_joint.py work_dirs/aimclr_ntu60_xsub_joint/epoch_300.pth
    python tools/test.py CONFIG CHECKPOINT --eval knn linear --out result.json
    python tools/test.py CONFIG random --eval knn           # an encoder that was never trained
    python tools/test.py CONFIG raw --eval knn              # the preprocessed coordinates themselves
    python tools/test.py CONFIG CHECKPOINT --seeds 0 1 2 --dump FOLDER

Features are computed once, for the training split (gallery) and the test split (queries) of the config's
test_dataloader; every evaluator works on those. A checkpoint of several streams is evaluated stream by stream and
fused. CONFIG is that of the training, or the one that a training left in its work directory.
"""

import argparse
import json
import os

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write


def parse_args() -> argparse.Namespace:
    """Command line of mmaction2's tools/test.py, and the choice of evaluators."""
    parser = cli.Parser(__doc__)
    parser.add_argument('config', help='config file, that of the pre-training')
    parser.add_argument(
        'checkpoint',
        help="checkpoint file; or 'random' or 'raw', to have something to compare with",
    )
    parser.add_argument(
        '--eval',
        nargs='+',
        default=['knn', 'linear'],
        metavar='NAME',
        help="evaluators: knn, linear (the paper's recipe), linear_large (batch 1024, rate 24); "
        'default: knn linear',
    )
    parser.add_argument('--out', type=cli.output_file, help='write the metrics to this JSON file')
    parser.add_argument(
        '--dump',
        type=cli.output_folder,
        metavar='FOLDER',
        help='write features and scores there, as .npz',
    )
    parser.add_argument(
        '--seeds',
        '--seed',
        type=int,
        nargs='+',
        default=[None],
        metavar='SEED',
        help='of the linear classifier: mean and spread; the first one also of the random encoder',
    )
    parser.add_run_options()
    return parser.parse_args()


def main() -> None:
    """Builds the runner, loads the encoder, evaluates and prints the metrics."""
    args = parse_args()
    cfg = cli.load_config(args)
    if args.work_dir is None:  # not in the folder of the training: mmengine writes its config there
        cfg.work_dir = os.path.join(cfg.work_dir, 'test')

    from aimclr_mm.evaluation.evaluate import evaluate

    metrics = evaluate(cfg, args.checkpoint, args.eval, list(dict.fromkeys(args.seeds)), args.dump)
    if metrics is None:  # not the first rank of a distributed run
        return
    for name, value in metrics.items():
        print(f'{name}: {value:.2f}')
    if args.out:
        result = dict(config=args.config, checkpoint=args.checkpoint, metrics=metrics)
        with atomic_write(args.out) as file:
            file.write(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    cli.run(main)

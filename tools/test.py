"""Evaluate frozen encoders by KNN, few labels and a linear probe, or classifiers by their accuracy.

    python tools/test.py configs/aimclr_ntu60_xsub_joint.py work_dirs/joint/epoch_300.pth
    python tools/test.py CONFIG raw random CHECKPOINT       # one table, with two baselines
    python tools/test.py CONFIG raw random generated-3s --eval knn few_shot linear  # few labels
    python tools/test.py CONFIG CHECKPOINT --eval knn linear --out result.json
    python tools/test.py CONFIG CHECKPOINT --seeds 0 1 2 --dump FOLDER

`random` is an untrained encoder, `raw` the preprocessed coordinates. Features are extracted once,
for the training split (gallery) and the test split (queries) of the config's test_dataloader; all
evaluators use them. CHECKPOINT is any file that holds the encoder: a pre-training, a backbone, a
classifier. One of several streams is evaluated stream by stream and fused, or --stream selects one.
CONFIG is that of the training, or the one that a training left in its work directory. The metrics
are kept in `test` in the work directory of the checkpoint, where `tools/analyze.py report` finds
them.
"""

import argparse
import json
import os
import signal
import sys

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from aimclr_mm.apis import cli
from aimclr_mm.evaluation.evaluate import evaluate
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.terminal import say

MAX_NAME = 200  # characters


def parse_args() -> argparse.Namespace:
    """Parse the options of mmaction2's tools/test.py and ours."""
    parser = cli.Parser(__doc__)
    parser.add_shared('config')
    parser.add_argument(
        'checkpoint',
        nargs='+',
        metavar='CHECKPOINT',
        help="checkpoint files; 'random' and 'raw' are baselines without training",
    )
    parser.add_argument(
        '--eval',
        nargs='+',
        default=['knn', 'linear'],
        metavar='NAME',
        help='evaluators: knn, knn_whitened (features whitened by those of the gallery), '
        'few_shot (classifiers from five labeled examples of each class, mean and spread over ten '
        'draws), few_shot_whitened, dtw (nearest neighbor by dynamic time warping, for raw only), '
        "linear (the paper's recipe), linear_whitened, linear_large (batch size 1024, learning "
        'rate 24); default: knn linear',
    )
    parser.add_shared('--stream', '--readout')
    parser.add_shared(
        '--out',
        help='JSON file of the metrics to write (default: in the work directory, for the report)',
    )
    parser.add_argument(
        '--dump',
        type=cli.output_folder,
        metavar='FOLDER',
        help='folder of features and scores to write (.npz); with several checkpoints one '
        'subfolder each',
    )
    parser.add_argument(
        '--seeds',
        '--seed',
        type=int,
        nargs='+',
        default=[None],
        metavar='N',
        help='seeds of the linear probe: mean and spread; the first also of the random encoder',
    )
    parser.add_run_options()
    return parser.parse_args()


def row_names(checkpoints: list[str]) -> list[str]:
    """Return the shortest path endings that distinguish the checkpoints, without suffix."""
    paths = [os.path.splitext(os.path.normpath(path))[0].split(os.sep) for path in checkpoints]
    for length in range(1, max(map(len, paths)) + 1):
        names = [os.path.join(*path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f'{" ".join(checkpoints)}: a checkpoint is given twice')


def result_folder(work_dir: str, checkpoints: list[str]) -> str:
    """Return the folder to write to: ``test`` in the work directory that has a checkpoint.

    Args:
        work_dir: work directory of the config, for checkpoints from elsewhere.
        checkpoints: as on the command line.
    """
    folders = [os.path.dirname(checkpoint) or '.' for checkpoint in checkpoints]
    trained = (
        folder
        for folder in folders
        if os.path.isfile(os.path.join(folder, 'last_checkpoint')) and os.access(folder, os.W_OK)
    )
    return os.path.join(next(trained, work_dir), 'test')


def table(results: dict[str, dict[str, float]]) -> str:
    """Return accuracies in percent as text: a row for each checkpoint, a column for each metric.

    A checkpoint of several streams has a row for each stream and one for their fusion. The standard
    deviation over seeds or draws, ``<metric>_std``, follows its metric as "± 0.12".
    """
    import pandas as pd  # here: a slow import

    rows: dict[str, dict[str, str]] = {}
    for name, metrics in results.items():
        for key, value in metrics.items():
            if key.endswith('_std'):
                continue
            *stream, evaluator, accuracy = key.split('/')  # joint/knn/top1, or knn/top1
            deviation = metrics.get(f'{key}_std')
            row = rows.setdefault(' '.join([name, *stream]), {})
            row[f'{evaluator}/{accuracy}'] = f'{value:.2f}' + (
                f' ± {deviation:.2f}' if deviation is not None else ''
            )
    return pd.DataFrame.from_dict(rows, orient='index').fillna('-').to_string()


def advice(results: dict[str, dict[str, float]], dims: int) -> list[str]:
    """Return a line on the encoders whose nearest neighbors those of raw coordinates beat.

    Args:
        results: metrics of each checkpoint, by its name.
        dims: coordinates of a joint, 2 or 3.
    """

    def accuracy(name: str) -> float:
        """Return the better one of plain and whitened neighbors; 0 if neither was evaluated."""
        metrics = results[name]
        keys = [f'{part}{k}/top1' for part in ('', 'fused/') for k in ('knn', 'knn_whitened')]
        return max(metrics.get(key, 0.0) for key in keys)

    trained = [name for name in results if name not in ('raw', 'random')]
    raw = accuracy('raw') if 'raw' in results else 0
    worse = [name for name in trained if accuracy(name) < raw]
    if not worse:
        return []

    shipped = 'generated-3s' if dims == 3 else 'generated-coco17'
    remedies = []
    if shipped not in results:
        remedies.append(f'the encoder {shipped} of the package')
    elif shipped not in worse:
        remedies.append(shipped)
    if not any('knn_whitened' in key for metrics in results.values() for key in metrics):
        remedies.append('whitened embeddings (--eval knn_whitened)')
    advised = f'try {", or ".join(remedies)}' if remedies else 'use raw coordinates'
    return [
        f'nearest neighbors of raw coordinates ({raw:.2f} %) are better than those of '
        f'{", ".join(worse)}: before training for longer, {advised}'
    ]


def main() -> None:
    """Evaluate the checkpoints, print and write the metrics."""
    args = parse_args()
    names = row_names(args.checkpoint)
    cfg = cli.load_config(args)
    if args.work_dir is None:  # not in the training's folder, where mmengine would write its config
        cfg.work_dir = result_folder(cfg.work_dir, args.checkpoint)
    several = len(names) > 1
    if several:
        cfg.runner_type = 'QuietRunner'

    results = {}
    for name, checkpoint in zip(names, args.checkpoint):
        dump = os.path.join(args.dump, name) if args.dump and several else args.dump
        seeds = list(dict.fromkeys(args.seeds))
        results[name] = evaluate(cfg, checkpoint, args.eval, seeds, dump, args.stream, args.readout)
    if None in results.values():  # not the first rank of a distributed run
        return

    found = [
        dict(checkpoint=checkpoint, metrics=metrics)
        for checkpoint, metrics in zip(args.checkpoint, results.values())
    ]
    if several:
        say(*table(results).split('\n'))
        layout = get_layout(cfg.model.data_preprocessor.get('layout', 'ntu25'))
        for line in advice(results, layout.dims):
            say(line, file=sys.stderr)
    else:
        for metric, value in found[0]['metrics'].items():
            say(f'{metric}: {value:.2f}')
    content = dict(results=found) if several else found[0]
    kept = os.path.join(cfg.work_dir, f'{"_".join(names)[:MAX_NAME]}.json'.replace(os.sep, '_'))
    with atomic_write(args.out or kept) as file:
        file.write(json.dumps(dict(config=args.config, **content), indent=2) + '\n')


if __name__ == '__main__':
    cli.run(main)

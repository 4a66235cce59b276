"""The main job on generated data: data set, pre-training, evaluation, table and pictures (`make demo`).

    make demo                    # results in work_dirs/demo
    make demo SEEDS="0 1 2"      # three runs, with mean and spread

What it runs are the commands of the README, one after the other; each is printed before it starts.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from statistics import mean, pstdev

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write

CONFIG = 'configs/aimclr_synthetic_xsub_joint.py'
DATA = 'data/synthetic/synthetic_3d.pkl'
QUIET = ('--cfg-options', 'log_level=WARNING')
METRICS = {'KNN top-1': 'knn/top1', 'linear top-1': 'linear/top1'}


def parse_args() -> argparse.Namespace:
    """Where the results go and which seeds are run."""
    parser = cli.Parser(__doc__)
    parser.add_argument(
        '--work-dir', type=cli.output_folder, default='work_dirs/demo', help='folder of the results'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='one run a seed')
    args = parser.parse_args()
    cli.check_seeds(parser, args.seeds)
    return args


def command(*arguments: str) -> None:
    """Runs one of the project's tools and ends with its exit code where it fails, after its message."""
    print('\n$ python', shlex.join(arguments), flush=True)
    code = subprocess.run([sys.executable, *arguments]).returncode
    if code:
        sys.exit(code if code > 0 else f'error: {arguments[0]} was ended by signal {-code}')


def evaluate(checkpoint: str, out: str, seed: int) -> dict[str, float]:
    """Metrics of a checkpoint, or of 'random' or 'raw'."""
    command(
        'tools/test.py',
        CONFIG,
        checkpoint,
        '--out',
        out,
        '--seed',
        str(seed),
        '--dump',
        out.removesuffix('.json'),
        '--work-dir',
        os.path.join(os.path.dirname(out), 'test'),
        *QUIET,
    )
    with open(out, encoding='utf-8') as file:
        return json.load(file)['metrics']


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Accuracy in per cent as Markdown, mean and spread over the seeds."""

    def cell(values: list[float]) -> str:
        return f'{mean(values):.1f}' + (f' ± {pstdev(values):.1f}' if len(values) > 1 else '')

    rows = [['representation', *METRICS]]
    rows += [
        [name, *(cell([run[metric] for run in runs]) for metric in METRICS.values())]
        for name, runs in results.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        '| ' + ' | '.join(text.ljust(width) for text, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    return '\n'.join(
        [lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]]
    )


def main() -> None:
    """Runs the commands and prints the table."""
    args = parse_args()
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from aimclr_mm.engine.optim_wrapper import has_fast_bfloat16

    amp = ['--amp'] if has_fast_bfloat16() else []
    started = time.time()
    command('tools/prepare_data.py', 'synthetic', '--out', DATA)
    results = {'raw coordinates': [], 'random encoder': [], 'pre-trained encoder': []}
    for seed in args.seeds:
        folder = os.path.join(args.work_dir, f'seed{seed}')
        command('tools/train.py', CONFIG, *amp, '--seed', str(seed), '--work-dir', folder)
        with open(os.path.join(folder, 'last_checkpoint'), encoding='utf-8') as file:
            checkpoint = file.read().strip()
        for name, what in zip(results, ('raw', 'random', checkpoint)):
            out = os.path.join(folder, name.replace(' ', '_') + '.json')
            results[name].append(evaluate(what, out, seed))
        command('tools/analyze.py', 'curves', folder)
        command(
            'tools/analyze.py',
            'tsne',
            os.path.join(folder, 'pre-trained_encoder', 'features.npz'),
            '--out',
            os.path.join(folder, 'embedding.png'),
        )
    text = table(results)
    with atomic_write(os.path.join(args.work_dir, 'table.md')) as file:
        file.write(text + '\n')
    pictures = ', '.join(
        os.path.join(args.work_dir, f'seed{args.seeds[0]}', name)
        for name in ('training.png', 'embedding.png')
    )
    print(
        f'\nAccuracy on {CONFIG}, seeds {args.seeds}, %:\n\n{text}\n\nPictures: {pictures}\n'
        f'Time: {time.time() - started:.0f} s'
    )


if __name__ == '__main__':
    cli.run(main)

"""Measure the parts that exist to be fast, in alternation with other implementations.

    python tools/benchmark.py views --official AIMCLR_CHECKOUT          # three views of a batch
    python tools/benchmark.py step --official AIMCLR_CHECKOUT --dtype float32 bfloat16
    python tools/benchmark.py step --profile                            # where its time goes
    python tools/benchmark.py step --sweep queue 8192 32768 131072      # how its cost grows
    python tools/benchmark.py step --variant model.backbone.type=AimCLRSTGCN   # gain of a setting
    python tools/benchmark.py epoch --official AIMCLR_CHECKOUT --samples 40091
    python tools/benchmark.py features --sweep share 0 0.2 1            # with mmaction2's ST-GCN
    python tools/benchmark.py linear --official AIMCLR_CHECKOUT         # 100 epochs
    python tools/benchmark.py start --samples 113945 --ranks 2          # time to the first batch
    python tools/benchmark.py prepare --peer MMACTION2_CHECKOUT         # readers of NTU's files
    python tools/benchmark.py prepare --recordings 114480               # at the size of NTU-120

The implementations take turns, round by round. The JSON on stdout has median, minimum and maximum,
and the ratio of the times of each round: how many times longer the peer takes than ours. Data are
random, in NTU's shape. Checkouts are only read: the released code (Levigty/AimCLR) runs in this
process, from where it is.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, fields, replace
from importlib import import_module

import torch
from benchmarks import measure, prepare
from benchmarks.settings import CONFIG, Settings
from mmengine.config import DictAction
from rich.table import Table

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.malloc import keep_freed_memory

PARTS = dict(  # help, and defaults that differ from those of Settings
    views=('views of a batch on the device', dict(rounds=7, threads=1)),
    step=('one training step', {}),
    epoch=('training with data', dict(rounds=2, samples=128, batch=64)),
    features=('representations of a data set', {}),
    linear=('linear evaluation', dict(samples=256)),
    start=('time to the first batch, and memory', dict(samples=5000, ranks=2)),
    prepare=("readers of NTU's files", dict(rounds=5)),
)
SWEEPS = dict(
    batch=[32, 64, 128, 256],
    queue=[8192, 16384, 32768, 65536, 131072],
    ranks=[1, 2],
    samples=[256, 512, 1024],
    share=[0.0, 0.2, 0.5, 1.0],
    frames=[25, 50, 100],
    people=[1, 2],
    workers=[0, 2],
)
SIZES = dict(
    batch='sequences per batch',
    frames='frames per sequence',
    people='people per sequence',
    samples='sequences of the data set; for linear those to train on',
    queue="length of the memory bank (default: the config's)",
)


def parse_args() -> argparse.Namespace:
    """Parse the part and its options."""
    parser = cli.Parser(__doc__)
    for name, (text, defaults) in PARTS.items():
        verb = parser.add_verb(name, measure_files if name == 'prepare' else measure_part, text)
        verb.add_shared('--out', help='JSON file to write')
        verb.add_argument('--threads', type=cli.integer(1), metavar='N', help='threads of torch')
        for option in ('rounds', 'warmup'):
            help_text = dict(rounds='measurements of each', warmup='runs before them')[option]
            verb.add_argument(f'--{option}', type=cli.integer(1), metavar='N', help=help_text)
        if name == 'prepare':
            _add_prepare(verb)
        else:
            _add_config(verb)
            _add_special(verb, name)
        general = {field.name: field.default for field in fields(Settings)}
        verb.set_defaults(**{**dict(rounds=general['rounds'], warmup=1), **defaults})
    return parser.parse_args()


def _add_prepare(verb: cli.Parser) -> None:
    verb.add_argument('--peer', metavar='DIR', help='checkout of mmaction2, whose reader is peer')
    verb.add_argument(
        '--files', type=cli.integer(1), default=60, metavar='N', help='recordings (default: 60)'
    )
    verb.add_argument(
        '--recordings',
        type=cli.integer(1),
        metavar='N',
        help='instead: prepare a data set of that size, with all cores',
    )


def _add_config(verb: cli.Parser) -> None:
    verb.add_argument('--config', default=CONFIG, help='config of the pre-training')
    verb.add_shared('--cfg-options', dest='options')
    verb.add_argument('--device', choices=['cpu', 'cuda'], help='default: a GPU if available')
    for option, text in SIZES.items():
        default = Settings.__dataclass_fields__[option].default
        verb.add_argument(
            f'--{option}', type=cli.integer(1), default=default, metavar='N', help=text
        )
    verb.add_argument(
        '--share',
        type=share,
        default=Settings.share,
        help='share of sequences with more than one person (default: 0.2)',
    )
    verb.add_argument(
        '--workers',
        type=cli.integer(0),
        metavar='N',
        help="workers of each data loader (default: the config's; peers 4)",
    )
    verb.add_argument(
        '--sweep',
        nargs='+',
        metavar=('NAME', 'VALUE'),
        help=f'measure once for each value of one of these: {", ".join(SWEEPS)}',
    )


def _add_special(verb: cli.Parser, part: str) -> None:
    """Add the options that not all parts have."""
    if part != 'start':
        verb.add_argument(
            '--variant',
            nargs='+',
            action='append',
            default=[],
            metavar='KEY=VALUE',
            dest='variants',
            help='compare with ours under these settings; can be repeated',
        )
    if part in ('views', 'step', 'epoch', 'linear'):
        verb.add_argument('--official', metavar='DIR', help='checkout of the released code')
    if part in ('step', 'epoch'):
        verb.add_argument('--dtype', nargs='+', choices=['float32', 'bfloat16'], help='of ours')
        verb.add_argument('--mining', action='store_true', help='second stage of the training')
    if part == 'step':
        verb.add_argument(
            '--profile', action='store_true', help='operators, traffic and limits of the machine'
        )
    if part in ('step', 'start'):
        verb.add_argument('--ranks', type=cli.integer(1), metavar='N', help='processes')
    if part == 'linear':
        verb.add_argument(
            '--epochs', type=cli.integer(1), metavar='N', help="the peers' epochs, of 100"
        )


def share(text: str) -> float:
    """argparse type: a number between 0 and 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{value}: it must lie between 0 and 1')
    return value


def choose_device(name: str | None) -> str:
    """Return the device, which is the one that mmengine chooses."""
    found = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and found == 'cpu':
        raise ValueError('--device cuda: torch sees no GPU on this machine')
    if name == 'cpu' and found == 'cuda':
        raise ValueError(
            '--device cpu: trainings take the GPU of this machine; hide it with '
            'CUDA_VISIBLE_DEVICES='
        )
    return found


def parse_variant(words: list[str]) -> dict:
    """Return the settings of one ``--variant KEY=VALUE ...``."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--variant', nargs='+', action=DictAction)
    return parser.parse_args(['--variant', *words]).variant


def build_settings(args: argparse.Namespace, folder: str) -> Settings:
    """Return the settings of the command line."""
    given = {field.name: getattr(args, field.name, None) for field in fields(Settings)}
    given.update(
        folder=folder,
        device=choose_device(args.device),
        variants=tuple(parse_variant(words) for words in given['variants'] or ()),
        dtype=given['dtype'] and tuple(dict.fromkeys(given['dtype'])),
    )
    return Settings(**{name: value for name, value in given.items() if value is not None})


def sweep_values(sweep: list[str]) -> list[int | float]:
    """Return the values of ``--sweep NAME VALUE ...``."""
    name, *values = sweep
    if name not in SWEEPS:
        raise ValueError(f'--sweep {name}: known are {", ".join(SWEEPS)}')
    try:
        return [type(SWEEPS[name][0])(value) for value in values] or SWEEPS[name]
    except ValueError as error:
        raise ValueError(f'--sweep {name}: {error}') from error


def measure_part(args: argparse.Namespace) -> dict:
    """Return the figures of a part; with ``--sweep`` a list of them in ``runs``."""
    part = import_module(f'benchmarks.{args.verb}')

    def run(**changes: int | float) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            settings = replace(build_settings(args, folder), **changes)
            return dict(settings={**asdict(settings), 'folder': None}, **part.measure(settings))

    if args.sweep is None:
        return run()
    name = args.sweep[0]
    return dict(sweep=name, runs=[run(**{name: value}) for value in sweep_values(args.sweep)])


def measure_files(args: argparse.Namespace) -> dict:
    """Return the figures of reading or preparing NTU's files."""
    with tempfile.TemporaryDirectory() as folder:
        if args.recordings:
            return prepare.whole_data_set(folder, args.files, args.recordings)
        return prepare.readers(folder, args.files, args.rounds, args.peer)


def show(result: dict) -> None:
    """Print the measurements as a table on stderr."""
    columns = ('', 'seconds', 'samples/s', 'MiB', 'times longer than ours')
    table = Table(*columns, title=result['part'])
    for run in result.get('runs', [result]):
        sweep = result.get('sweep')
        label = '' if sweep is None else f'{sweep} {run["settings"][sweep]}: '
        for name, row in run.get('measured', {}).items():
            table.add_row(label + name, *cells(name, row, run['ratio']))
    measure.STDERR.print(table)


def cells(name: str, row: dict, ratio: dict) -> tuple[str, str, str, str]:
    """Return seconds, rate, memory and ratios of one implementation as text."""
    rate, memory = row.get('samples_per_second'), row['peak_memory_mib']
    relative = row.get('memory_relative_to_arrays')
    arrays = '' if relative is None else f' ({relative["median"]:.2f} x arrays)'
    spread = '{median:.3g} ({min:.3g} to {max:.3g})'
    ratios = [
        f'{spread.format(**peers[name])} {ours}' for ours, peers in ratio.items() if name in peers
    ]
    return (
        spread.format(**row['seconds']),
        f'{rate["median"]:.4g}' if rate else '',
        '' if memory is None else f'{memory:.0f}{arrays}',
        '\n'.join(ratios),
    )


def main() -> None:
    """Run the benchmark; print and write its figures."""
    args = parse_args()
    keep_freed_memory()  # as tools/train.py and tools/test.py do; peers benefit too
    if args.threads is not None:
        torch.set_num_threads(args.threads)

    with measure.quiet():
        result = dict(part=args.verb, machine=measure.describe(), **args.run(args))
    show(result)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        with atomic_write(args.out) as file:
            file.write(text)


if __name__ == '__main__':
    cli.run(main)

"""Measures the parts that exist to be fast, beside another implementation in the same run.

    python tools/benchmark.py views --official AIMCLR_CHECKOUT              # three views of a batch, one core
    python tools/benchmark.py step --official AIMCLR_CHECKOUT --dtype float32 bfloat16      # one training step
    python tools/benchmark.py step --profile                                # where its time goes
    python tools/benchmark.py step --sweep queue 8192 32768 131072          # how its cost grows
    python tools/benchmark.py step --variant model.backbone.type=AimCLRSTGCN    # what a switch gains
    python tools/benchmark.py epoch --official AIMCLR_CHECKOUT --samples 40091              # training with data
    python tools/benchmark.py features --sweep share 0 0.2 1                # representations, beside mmaction2's ST-GCN
    python tools/benchmark.py linear --official AIMCLR_CHECKOUT             # linear evaluation, 100 epochs
    python tools/benchmark.py start --samples 113945 --ranks 2              # time to the first batch, and memory
    python tools/benchmark.py prepare --peer MMACTION2_CHECKOUT             # readers of NTU's files, on one core
    python tools/benchmark.py prepare --recordings 114480                   # time and memory at the size of NTU-120

All of them take turns, round by round; the figures, as JSON on stdout, are medians, the least and the largest, and the
ratio of each round's times: how many times longer the other one takes than ours. Data are made up, in NTU's shape. The
checkouts are only read: the released code (Levigty/AimCLR) runs in this process, from where it lies.
"""

import argparse
import json
import tempfile

from aimclr_mm.apis import cli

PARTS = dict(  # what differs from the defaults of benchmarks.settings.Settings
    views=dict(rounds=7, threads=1),
    step={},
    epoch=dict(rounds=2, samples=128, batch=64),
    features={},
    linear=dict(samples=256),
    start=dict(samples=5000, ranks=2),
    prepare=dict(rounds=5),
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

CONCERNS = dict(
    official=('views', 'step', 'epoch', 'linear'),
    dtype=('step', 'epoch'),
    mining=('step', 'epoch'),
    profile=('step',),
    ranks=('step', 'start'),
    epochs=('linear',),
    peer=('prepare',),
    recordings=('prepare',),
    variants=('views', 'step', 'epoch', 'features', 'linear'),
)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """How large the measured thing is; None stands for the default of the part."""
    sizes = parser.add_argument_group('sizes')
    for name, text in dict(
        batch='sequences of a batch',
        frames='frames of a sequence',
        people='people of a sequence',
        samples='sequences of the data set, for linear those to train on',
        queue="length of the memory queue (default: the config's)",
        workers="of each data loader (default: the config's; released and mmaction2 4)",
        ranks='processes',
        epochs="linear: the peers' epochs that are measured of 100",
    ).items():
        sizes.add_argument(f'--{name}', type=int, metavar='N', help=text)
    sizes.add_argument(
        '--share',
        type=float,
        help='share of sequences with more than one person; of the others the '
        'second is zero (default: 0.2)',
    )
    sizes.add_argument(
        '--mining', action='store_true', help='step, epoch: second stage of the training'
    )
    sizes.add_argument(
        '--sweep',
        nargs='+',
        metavar=('NAME', 'VALUE'),
        help=f'measure once for each value of one of these: {", ".join(SWEEPS)}',
    )


def parse_args() -> argparse.Namespace:
    """What is measured, how often, and beside what."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('part', choices=list(PARTS), help='what is measured')
    parser.add_argument(
        '--official', metavar='DIR', help='checkout of the released code to run in turns with ours'
    )
    parser.add_argument(
        '--config', help='config of the pre-training (default: configs/aimclr_ntu60_xsub_joint.py)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        dest='options',
        help='settings of the config to override',
    )
    parser.add_argument(
        '--variant',
        nargs='+',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        dest='variants',
        help='compare with ours under these settings; may be given several times',
    )
    parser.add_argument(
        '--dtype', nargs='+', choices=['float32', 'bfloat16'], help='step, epoch: of ours'
    )
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], help='default: a GPU where there is one'
    )
    parser.add_argument(
        '--threads', type=int, metavar='N', help='of torch (default: 1 for views, else all cores)'
    )
    parser.add_argument('--rounds', type=int, metavar='N', help='how often each is timed')
    parser.add_argument('--warmup', type=int, metavar='N', help='runs before that (default: 1)')
    parser.add_argument(
        '--profile', action='store_true', help="step: operators, traffic and the machine's ceilings"
    )
    parser.add_argument('--out', help='JSON file of the figures')
    add_sizes(parser)
    prepare = parser.add_argument_group('prepare')
    prepare.add_argument(
        '--peer', metavar='DIR', help='checkout of mmaction2 whose reader is run in turns'
    )
    prepare.add_argument(
        '--files',
        type=int,
        default=60,
        help='made-up recordings of 60 to 300 frames, 1 or 2 people',
    )
    prepare.add_argument(
        '--recordings', type=int, help='instead: prepare a data set of that many, with all cores'
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args()
    for name, parts in CONCERNS.items():
        if getattr(args, name) and args.part not in parts:
            parser.error(
                f'--{name.removesuffix("s") if name == "variants" else name} is of {", ".join(parts)}, not of '
                f'{args.part}'
            )
    if args.threads is not None and args.threads < 1:
        parser.error(f'--threads is {args.threads}; it must be at least 1')
    return args


def choose_device(name: str | None) -> str:
    """The device, as mmengine will choose it too."""
    import torch

    found = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and found == 'cpu':
        raise ValueError('--device cuda: torch sees no GPU on this machine')
    if name == 'cpu' and found == 'cuda':
        raise ValueError(
            '--device cpu: trainings take the GPU of this machine; hide it with CUDA_VISIBLE_DEVICES='
        )
    return found


def sweep_values(sweep: list[str]) -> list[int | float]:
    """The values of ``--sweep NAME VALUE ...``."""
    name, *values = sweep
    if name not in SWEEPS:
        raise ValueError(f'--sweep {name}: known are {", ".join(SWEEPS)}')
    try:
        return [type(SWEEPS[name][0])(value) for value in values] or SWEEPS[name]
    except ValueError as error:
        raise ValueError(f'--sweep {name}: {error}') from error


def parse_variant(words: list[str]) -> dict:
    """The settings of one ``--variant KEY=VALUE ...``."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--variant', nargs='+', action=DictAction)
    return parser.parse_args(['--variant', *words]).variant


def build_settings(args: argparse.Namespace, folder: str):
    """The settings of the command line; what it leaves out is that of the part, or the default."""
    from dataclasses import fields

    from benchmarks.settings import Settings

    given = {field.name: getattr(args, field.name, None) for field in fields(Settings)}
    given.update(
        folder=folder,
        device=choose_device(args.device),
        variants=tuple(parse_variant(words) for words in args.variants),
        dtype=None if args.dtype is None else tuple(dict.fromkeys(args.dtype)),
    )
    chosen = {
        **PARTS[args.part],
        **{name: value for name, value in given.items() if value is not None},
    }
    chosen.pop('threads', None)
    return Settings(**chosen)


def measure(args: argparse.Namespace) -> dict:
    """The figures of a part; with ``--sweep`` a list of them in ``runs``."""
    from dataclasses import asdict, replace
    from importlib import import_module

    if args.part == 'prepare':
        from .benchmarks import prepare

        with tempfile.TemporaryDirectory() as folder:
            if args.recordings:
                return prepare.whole_data_set(folder, args.files, args.recordings)
            return prepare.readers(
                folder, args.files, args.rounds or PARTS['prepare']['rounds'], args.peer
            )
    part = import_module(f'aimclr_mm.benchmark.{args.part}')

    def run(**changes: int | float) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            settings = replace(build_settings(args, folder), **changes)
            return dict(settings={**asdict(settings), 'folder': None}, **part.measure(settings))

    if args.sweep is None:
        return run()
    name = args.sweep[0]
    return dict(sweep=name, runs=[run(**{name: value}) for value in sweep_values(args.sweep)])


def show(figures: dict) -> None:
    """Prints what was measured as a table on stderr."""
    from benchmarks.timing import STDERR
    from rich.table import Table

    table = Table(
        '', 'seconds', 'samples/s', 'MiB', 'times longer than ours', title=figures['part']
    )
    for run in figures.get('runs', [figures]):
        label = (
            f'{figures["sweep"]} {run["settings"][figures["sweep"]]}: ' if 'runs' in figures else ''
        )
        for name, row in run.get('measured', {}).items():
            rate, memory = row.get('samples_per_second'), row['peak_memory_mib']
            relative = row.get('memory_relative_to_arrays')
            arrays = '' if relative is None else f' ({relative["median"]:.2f} x arrays)'
            ratios = [
                f'{ratio[name]["median"]:.1f} ({ratio[name]["min"]:.1f} to {ratio[name]["max"]:.1f}) {ours}'
                for ours, ratio in run['ratio'].items()
                if name in ratio
            ]
            table.add_row(
                label + name,
                '{median:.3g} ({min:.3g} to {max:.3g})'.format(**row['seconds']),
                f'{rate["median"]:.4g}' if rate else '',
                '' if memory is None else f'{memory:.0f}' + arrays,
                '\n'.join(ratios),
            )
    STDERR.print(table)


def main() -> None:
    """Runs the benchmark and prints its figures."""
    args = parse_args()
    import torch

    from aimclr_mm.utils.files import atomic_write
    from aimclr_mm.utils.malloc import keep_freed_memory

    from .benchmarks import machine, timing

    keep_freed_memory()  # as tools/train.py and tools/test.py do; the others have the benefit too
    threads = args.threads or PARTS[args.part].get('threads')
    if threads is not None:
        torch.set_num_threads(threads)
    with timing.quiet():
        figures = dict(
            part=args.part, machine=machine.describe(choose_device(args.device)), **measure(args)
        )
    show(figures)
    print(json.dumps(figures, indent=2))
    if args.out:
        with atomic_write(args.out) as file:
            json.dump(figures, file, indent=2)


if __name__ == '__main__':
    cli.run(main)

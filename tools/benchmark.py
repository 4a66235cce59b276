"""Time the fast parts of this project in alternation with other implementations.

    python tools/benchmark.py views --official AIMCLR_CHECKOUT        # three views of a batch
    python tools/benchmark.py step --official AIMCLR_CHECKOUT --dtype float32 bfloat16
    python tools/benchmark.py step --profile                          # where the time goes
    python tools/benchmark.py step --variant model.backbone.type=AimCLRSTGCN    # gain of a setting
    python tools/benchmark.py gpu --out gpu.json                      # the first thing on a new GPU
    python tools/benchmark.py epoch --official AIMCLR_CHECKOUT --samples 40091
    python tools/benchmark.py features                                # against mmaction2's STGCN
    python tools/benchmark.py prepare --peer MMACTION2_CHECKOUT       # readers of NTU's files
    python tools/benchmark.py prepare --recordings 114480             # at the size of NTU-120

The implementations take turns, round by round. stdout (or --out) is JSON with the median, minimum
and maximum time, and the ratio of each round: time of the peer over ours. The data are random, with
the shape of NTU RGB+D. Checkouts are imported in place and not changed.
"""

import argparse
import json
import signal
import tempfile
from dataclasses import fields
from importlib import import_module

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
from benchmarks import prepare
from benchmarks.timing import print_to_stderr
from benchmarks.workload import CONFIG, Settings

from aimclr_mm.apis import cli
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.utils.malloc import keep_freed_memory
from aimclr_mm.utils.processor import processor_name

PARTS = dict(  # help, and defaults that differ from those of Settings
    views=('views of a batch on the device', dict(rounds=7, threads=1)),
    step=('one training step', {}),
    epoch=('training with data loading', dict(rounds=2, samples=128, batch=64)),
    features=('features of a data set', {}),
    gpu=('exactness, CUDA graphs, kernels and idle time', dict(dtype=('float32', 'bfloat16'))),
)


class Variant(cli.Settings):
    """argparse action: append the settings of one ``--variant KEY=VALUE ...``."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        parsed = argparse.Namespace()
        super().__call__(parser, parsed, values, option_string)
        variants = (*getattr(namespace, self.dest), getattr(parsed, self.dest))
        setattr(namespace, self.dest, variants)


def parse_args() -> argparse.Namespace:
    """Parse the part and its options."""
    parser = cli.Parser(__doc__)
    for name, (text, defaults) in PARTS.items():
        verb = parser.add_verb(name, measure_part, text)
        _add_common(verb, Settings.rounds)
        _add_config(verb)
        _add_sizes(verb, name)
        verb.set_defaults(**defaults)

    verb = parser.add_verb('prepare', measure_prepare, "reading NTU's original files")
    _add_common(verb, rounds=5)
    verb.add_argument('--peer', metavar='DIR', help='checkout of mmaction2, whose reader is peer')
    _add_number(verb, '--files', 60, 'number of different recordings')
    _add_number(verb, '--recordings', None, 'prepare a data set of N recordings instead')
    return parser.parse_args()


def _add_common(verb: cli.Parser, rounds: int) -> None:
    verb.add_shared('--out', help='JSON file to write instead of stdout')
    _add_number(verb, '--threads', None, "threads of torch (default: torch's)")
    _add_number(verb, '--rounds', rounds, 'measurements of each implementation')


def _add_number(verb: cli.Parser, option: str, default: int | None, text: str) -> None:
    shown = '' if default is None else ' (default: %(default)s)'
    verb.add_argument(option, type=cli.integer(1), metavar='N', default=default, help=text + shown)


def _add_config(verb: cli.Parser) -> None:
    verb.add_argument('--config', default=CONFIG, help='config of the pre-training')
    verb.add_shared(*cli.CONFIG_OPTIONS)
    verb.add_argument(
        '--variant',
        nargs='+',
        action=Variant,
        default=(),
        metavar='KEY=VALUE',
        dest='variants',
        help='compare with the same config under these settings; can be repeated',
    )
    verb.add_argument('--device', choices=['cpu', 'cuda'], help='default: a GPU if available')
    verb.add_argument(
        '--workers',
        type=cli.integer(0),
        metavar='N',
        help="workers of each data loader (default: the config's; peers 4)",
    )


def _add_sizes(verb: cli.Parser, part: str) -> None:
    _add_number(verb, '--batch', Settings.batch, 'sequences per batch')
    if part in ('epoch', 'features'):
        _add_number(verb, '--samples', Settings.samples, 'sequences of the data set')
    if part not in ('features', 'gpu'):
        verb.add_argument('--official', metavar='DIR', help='checkout of the released code')
    if part in ('step', 'epoch', 'gpu'):
        _add_number(verb, '--queue', None, "length of the memory bank (default: the config's)")
        verb.add_argument(
            '--dtype',
            nargs='+',
            choices=['float32', 'bfloat16'],
            default=Settings.dtype,
            help='of ours (default: float32)',
        )
        verb.add_argument('--mining', action='store_true', help='second stage of the training')
    if part == 'step':
        verb.add_argument('--profile', action='store_true', help='time by operator and category')


def choose_device(name: str | None) -> str:
    """Return the device that mmengine trains on; raise ValueError if another one is asked for."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and device == 'cpu':
        raise ValueError('--device cuda: torch finds no GPU; leave the option out')
    if name == 'cpu' and device == 'cuda':
        raise ValueError('--device cpu: mmengine takes the GPU; hide it with CUDA_VISIBLE_DEVICES=')
    return device


def measure_part(args: argparse.Namespace, folder: str) -> dict:
    """Return the figures of a part that has a config."""
    given = vars(args) | dict(folder=folder, device=choose_device(args.device))
    names = [field.name for field in fields(Settings) if field.name in given]
    settings = Settings(**{name: given[name] for name in names})
    return import_module(f'benchmarks.{args.verb}').measure(settings)


def measure_prepare(args: argparse.Namespace, folder: str) -> dict:
    """Return the figures of reading or preparing NTU's original files."""
    if args.recordings is not None:
        return prepare.measure_data_set(folder, args.files, args.recordings)
    return prepare.measure_readers(folder, args.files, args.rounds, args.peer)


def main() -> None:
    """Run a part; print its table on stderr and write its figures as JSON."""
    args = parse_args()
    keep_freed_memory()  # as tools/train.py and tools/test.py do; peers benefit too
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    machine = dict(
        torch=torch.__version__,
        processor=processor_name(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        threads=torch.get_num_threads(),
    )

    with print_to_stderr(), tempfile.TemporaryDirectory() as folder:
        figures = args.run(args, folder)

    settings = {name: value for name, value in vars(args).items() if name not in ('run', 'verb')}
    text = json.dumps(dict(part=args.verb, machine=machine, settings=settings, **figures), indent=2)
    if args.out is None:
        print(text)
    else:
        with atomic_write(args.out) as file:
            file.write(text)


if __name__ == '__main__':
    cli.run(main)

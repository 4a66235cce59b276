"""Run everything that a table or figure of the paper needs; print it with the published numbers.

    python tools/reproduce.py 2                                # Table 2: three seeds, all data sets
    python tools/reproduce.py 2 --dataset ntu60 --split xsub --seeds 0 --gpus 0 1 2 3
    python tools/reproduce.py 8 --plan                         # what would run, and for how long
    python tools/reproduce.py 1 --dataset utdmhad --split xsub --workers 2     # on other data
    python tools/reproduce.py 2 --scale 0.1 --data 0.2         # a rehearsal
    python tools/reproduce.py methods --dataset utdmhad --split xsub     # later methods

Finished runs are kept, and tables share them. The command may be stopped at any time; called again,
it resumes. Each run has a folder in the work directory with its log in log.txt; the table is
written to table2.md and table2.csv there. "…" marks unfinished cells, "-" numbers that the paper
does not have; ours is the mean and the population standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
from paper_tables import configs
from paper_tables.estimate import Estimator, describe
from paper_tables.jobs import Job, Options
from paper_tables.plan import make_plan
from paper_tables.published import TABLES
from paper_tables.records import Records, work_dir_lock
from paper_tables.results import Report
from paper_tables.run import Devices, JobRunner, cpu_devices, gpu_devices, stop_requests

from aimclr_mm.apis import cli
from aimclr_mm.engine.console_log import duration
from aimclr_mm.utils.terminal import say


def parse_args() -> argparse.Namespace:
    """Return the checked command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument(
        'table', choices=list(TABLES), help='number of a table, a figure, or methods'
    )
    several = partial(parser.add_argument, nargs='+', default=[])
    several(
        '--dataset',
        metavar='D',
        help='data sets with a config configs/aimclr_D_S_joint.py (default: those of the table)',
    )
    several('--split', metavar='S', help='xsub, xview or xset (default: those of the table)')
    several('--rows', metavar='NAME', help='run only these rows; * and ? are wildcards')
    parser.add_shared('--seeds', default=[0, 1, 2])
    add_rehearsal_options(parser)
    add_machine_options(parser)

    args = parser.parse_args()
    cli.check_seeds(parser, args.seeds)
    if not 0 < args.scale < float('inf'):
        parser.error(f'--scale {args.scale}: it must be a positive number')
    if not 0 < args.data <= 1:
        parser.error(f'--data {args.data}: the share must lie in (0, 1]')
    return args


def add_rehearsal_options(parser: cli.Parser) -> None:
    """Add options that make runs shorter."""
    number = partial(parser.add_argument, type=float, default=1.0)
    number('--scale', metavar='E', help='factor of the epochs of pre-training, for a rehearsal')
    number(
        '--data',
        metavar='F',
        help='class-balanced share of the training split to pre-train on, for a rehearsal',
    )
    parser.add_shared('--amp')


def add_machine_options(parser: cli.Parser) -> None:
    """Add where to run and where to write."""
    devices = parser.add_mutually_exclusive_group()
    devices.add_argument(
        '--gpus',
        type=int,
        nargs='+',
        metavar='N',
        help='GPUs, one run on each at a time (default: the first; without a GPU one CPU process)',
    )
    devices.add_argument('--workers', **cli.SHARED['--workers'])
    parser.add_argument(
        '--plan', action='store_true', help='only print the jobs and an estimate of their time'
    )
    parser.add_shared('--work-dir', default='work_dirs/reproduce', help='folder of runs and tables')


def choose_devices(args: argparse.Namespace) -> Devices:
    """Return where jobs run."""
    cores = os.cpu_count() or 1
    threads = os.environ.get('OMP_NUM_THREADS', '')
    limit = int(threads) if threads.isdecimal() and int(threads) > 0 else None
    if args.workers is not None:
        return cpu_devices(args.workers, cores, limit)

    count = torch.cuda.device_count()
    gpus = args.gpus if args.gpus is not None else list(range(count))[:1]
    if gpus and not count:
        raise ValueError('--gpus: there is no GPU here; --workers N takes CPU processes')
    if any(not 0 <= number < count for number in gpus) or len(set(gpus)) < len(gpus):
        raise ValueError(
            f'--gpus {" ".join(map(str, gpus))}: they must be different numbers below {count}, the '
            'number of GPUs here'
        )
    if gpus:
        return gpu_devices(gpus, os.environ.get('CUDA_VISIBLE_DEVICES'))
    return cpu_devices(1, cores, limit)


def show_plan(args: argparse.Namespace, jobs: Sequence[Job], devices: Devices) -> None:
    """Print the jobs and an estimate of their time."""
    first = next(iter(devices))
    device = first.replace('GPU ', 'cuda:') if first.startswith('GPU') else 'cpu'
    torch.set_num_threads(int(devices[first].get('OMP_NUM_THREADS', torch.get_num_threads())))

    lines, seconds = describe(jobs, Estimator(args.amp, device))
    say(*(lines or ['Everything is finished.']))
    say(
        '',
        f'{len(jobs)} jobs, about {duration(seconds / len(devices))} on {", ".join(devices)}, '
        'estimated from a few steps on random data under the present load; linear classifiers, '
        'pictures and the reading of data come on top',
    )


def run(
    args: argparse.Namespace,
    report: Report,
    records: Records,
    wanted: Sequence[str],
    devices: Devices,
) -> None:
    """Run what some jobs need and print the table."""
    with work_dir_lock(args.work_dir) as lock, stop_requests() as stop:
        jobs = records.needed(wanted)
        states = JobRunner(records, jobs, devices, stop, lock, report.write).run()
        text = report.write()
    if stop.requests:
        say('', 'stopped; the same command resumes')
        sys.exit(130)

    say('', *text.split('\n'), *map(str, report.files()), *report.problems)
    failed = sum(state in ('failed', 'skipped') for state in states.values())
    if failed or report.problems:
        sys.exit(
            f'error: {failed} of {len(states)} jobs failed or were skipped, '
            f'{len(report.problems)} results cannot be read; see above'
        )


def main() -> None:
    """Plan the table, then show the plan or run it."""
    args = parse_args()
    args.work_dir = os.path.abspath(args.work_dir)
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    devices = choose_devices(args)

    table = TABLES[args.table]
    columns = table.select_columns(configs.known_sites(), args.dataset, args.split)
    options = Options(tuple(args.seeds), args.scale, args.data, args.amp)
    resolve = partial(configs.resolve, scale=args.scale, equal=table.equal_epochs)
    plan = make_plan(table, columns, options, resolve)
    records = Records(args.work_dir, plan.jobs)
    wanted = plan.select_jobs(args.rows)
    records.check()

    if args.plan:
        show_plan(args, records.needed(wanted), devices)
        return
    configs.check_data(dict.fromkeys(column.site for column in columns))
    run(args, Report(plan, records), records, wanted, devices)


if __name__ == '__main__':
    cli.run(main)

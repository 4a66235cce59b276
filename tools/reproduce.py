"""Runs everything that a table or figure of the paper needs and prints it with our numbers beside the published ones.

    python tools/reproduce.py 2                                         # Table 2, three seeds, all its data sets
    python tools/reproduce.py 2 --dataset ntu60 --split xsub --seeds 0 --gpus 0 1 2 3
    python tools/reproduce.py 8 --plan                                  # what would run, and how long it takes
    python tools/reproduce.py 1 --dataset utdmhad --split xsub --workers 2          # the same table on other data
    python tools/reproduce.py 2 --scale 0.1 --data 0.2                  # a rehearsal

What is finished is not run again, and tables share their runs. The command may be stopped at any time; called again, it
goes on where it was. Each run has a folder in the work directory, with its log in log.txt; the table is written to
table2.md and table2.csv there. A cell … is not finished, - has no published number; ours is the mean and the
population standard deviation over the seeds.
"""

import argparse
import os
import sys

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Which table, on what, how much of it, and where it runs."""
    from paper_tables.published import TABLES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('table', choices=list(TABLES), help='number of a table, or a figure')
    parser.add_argument(
        '--dataset',
        nargs='+',
        default=[],
        metavar='D',
        help='of the table (default: all), or any that has a config configs/aimclr_D_S_joint.py',
    )
    parser.add_argument('--split', nargs='+', default=[], metavar='S', help='xsub, xview or xset')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        metavar='N',
        help='one run of everything for each (default: 0 1 2)',
    )
    parser.add_argument(
        '--rows',
        nargs='+',
        default=[],
        metavar='NAME',
        help='run only these rows; * and ? stand for anything',
    )
    parser.add_argument(
        '--scale',
        type=float,
        default=1.0,
        metavar='E',
        help='factor of the epochs of pre-training, for a rehearsal',
    )
    parser.add_argument(
        '--data',
        type=float,
        default=1.0,
        metavar='F',
        help='class-balanced share of the training split to pre-train on, for a rehearsal',
    )
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    devices = parser.add_mutually_exclusive_group()
    devices.add_argument(
        '--gpus',
        type=int,
        nargs='+',
        metavar='N',
        help='GPUs, one run on each at a time (default: the first; without a GPU one CPU process)',
    )
    devices.add_argument(
        '--workers', type=int, metavar='N', help='CPU processes, which share the cores'
    )
    parser.add_argument(
        '--plan',
        action='store_true',
        help='print what would run and how long it takes, run nothing',
    )
    parser.add_argument(
        '--work-dir',
        type=cli.output_folder,
        default='work_dirs/reproduce',
        help='folder of all runs and tables',
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args()
    cli.check_seeds(parser, args.seeds)
    if not 0 < args.scale < float('inf'):
        parser.error(f'--scale {args.scale}: it must be a positive number')
    if not 0 < args.data <= 1:
        parser.error(f'--data {args.data}: the share must lie in (0, 1]')
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers {args.workers}: there must be at least 1')
    return args


def choose_devices(args: argparse.Namespace) -> list:
    """Where jobs run."""
    if args.workers is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # also for the measurements of --plan
    import torch
    from paper_tables.jobs import cpu_devices, gpu_devices

    count = torch.cuda.device_count()
    gpus = args.gpus if args.gpus is not None else [0] if count else []
    if any(not 0 <= number < count for number in gpus) or len(set(gpus)) < len(gpus):
        raise ValueError(
            f'--gpus {" ".join(map(str, gpus))}: they must be different numbers below {count}, the number '
            'of GPUs here'
            if count
            else '--gpus: there is no GPU here; --workers N takes CPU processes'
        )
    if gpus:
        return gpu_devices(gpus, os.environ.get('CUDA_VISIBLE_DEVICES'))
    return cpu_devices(args.workers or 1, os.cpu_count() or 1)


def show_plan(args: argparse.Namespace, jobs: list, devices: list) -> None:
    """Prints the jobs and an estimate of their time."""
    import torch
    from paper_tables.estimate import Estimator, describe
    from paper_tables.screen import duration

    if args.gpus:
        torch.cuda.set_device(args.gpus[0])
    torch.set_num_threads(
        int(dict(devices[0].environment).get('OMP_NUM_THREADS', torch.get_num_threads()))
    )
    lines, seconds = describe(jobs, Estimator(args.amp))
    print('\n'.join(lines or ['Everything is finished.']))
    print(
        f'\n{len(jobs)} jobs, about {duration(seconds / len(devices))} on '
        f'{", ".join(device.name for device in devices)}, from a few steps on random data with the machine as busy '
        'as now; linear classifiers, pictures and the reading of data come on top'
    )


def run(args: argparse.Namespace, report, records, wanted: list[str], devices: list) -> None:
    """Runs what is needed for some jobs and prints the table as it then stands."""
    from paper_tables.jobs import JobRunner, stop_requests
    from paper_tables.records import work_dir_lock

    with work_dir_lock(args.work_dir) as lock, stop_requests() as stop:
        states = JobRunner(records, records.needed(wanted), devices, stop, lock, report.write).run()
        text = report.write()
    if stop.requests:
        print('\nstopped; the same command goes on where it was', flush=True)
        sys.exit(130)
    print('\n'.join([f'\n{text}', *report.files(), *report.problems]), flush=True)
    failed = sum(state in ('failed', 'skipped') for state in states.values())
    if failed or report.problems:
        sys.exit(
            f'error: {failed} of {len(states)} jobs failed or were skipped, {len(report.problems)} results cannot '
            'be read; see above'
        )


def main() -> None:
    """Plans, and runs or shows the plan."""
    args = parse_args()
    args.work_dir = os.path.abspath(args.work_dir)
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    devices = choose_devices(args)
    from functools import partial

    from paper_tables.choose import choose_columns, choose_jobs
    from paper_tables.graph import Options
    from paper_tables.plan import make_plan
    from paper_tables.published import TABLES
    from paper_tables.records import Records
    from paper_tables.tables import Report

    from .tables import configs

    table = TABLES[args.table]
    columns = choose_columns(table, configs.known_sites(), args.dataset, args.split)
    options = Options(tuple(args.seeds), args.scale, args.data, args.amp)
    plan = make_plan(table, columns, options, partial(configs.resolve, scale=args.scale))
    records, wanted = Records(args.work_dir, plan.jobs), choose_jobs(plan, args.rows)
    records.check()
    if args.plan:
        show_plan(args, records.needed(wanted), devices)
        return
    configs.check_data(dict.fromkeys(column.site for column in columns))
    run(args, Report(plan, records), records, wanted, devices)


if __name__ == '__main__':
    cli.run(main)

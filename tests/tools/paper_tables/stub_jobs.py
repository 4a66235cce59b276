"""Jobs whose commands are short scripts, and tables of them."""

from pathlib import Path

from paper_tables.jobs import Job, Options, Plan, Source, Training
from paper_tables.published import Column, Recipe, Row, Table
from paper_tables.records import Records, work_dir_lock
from paper_tables.results import Report
from paper_tables.run import Devices, JobRunner, Stop, cpu_devices

EPOCHS = 4

# Trains epoch by epoch and can be resumed; the result depends on every epoch.
TRAIN = f"""
import glob, os, sys, time

folder, value, first = sys.argv[1], int(sys.argv[2]), 1
if '--resume' in sys.argv:
    newest = max(glob.glob(folder + '/*.pth'))
    value = int(open(newest).read())
    first += int(newest.rsplit('_')[-1][:-4])
for epoch in range(first, {EPOCHS + 1}):
    time.sleep(0.02)
    value = (31 * value + epoch) % 900 + 100
    with open(folder + '/partial', 'w') as file:
        file.write(str(value))
    os.replace(folder + '/partial', folder + f'/epoch_{{epoch}}.pth')
    print('epoch', epoch, os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('OMP_NUM_THREADS'))
"""

TEST = """
import sys

value = int(open(sys.argv[1]).read())
with open(sys.argv[2], 'w') as file:
    file.write('{"metrics": {"linear/top1": %r}}' % (value / 10))
"""
COLUMN = Column('toy', 'xsub')
DEVICES = cpu_devices(2, 4)


def training(name: str, value: int, digest: str = 'd', code: str = TRAIN, after=()) -> Job:
    """Return a training that starts from a value."""
    command = ('-S', '-c', code, f'{{work}}/{name}', str(value))
    facts = Training('toy_xsub', (), EPOCHS, EPOCHS, 1, digest)
    return Job(name, 'pre-training', command, (f'epoch_{EPOCHS}.pth',), after, facts)


def evaluation(run: Job, name: str = '') -> Job:
    """Return the evaluation of a training."""
    name = name or f'{run.name}/eval'
    command = ('-S', '-c', TEST, run.path('epoch_4*.pth'), f'{{work}}/{name}/result.json')
    return Job(name, 'evaluation', command, ('result.json',), (run.name,))


def toy_plan(count: int = 2, seeds: int = 2) -> Plan:
    """Return the plan of a table; each row has a training and an evaluation per seed."""
    rows = tuple(Row(f'row {i}', (10.0 * i,), Recipe('aimclr')) for i in range(count))
    jobs, cells = {}, {}
    for seed in range(seeds):
        for i, row in enumerate(rows):
            run = training(f'toy/row{i}_seed{seed}', 7 * i + seed)
            test = evaluation(run)
            jobs |= {run.name: run, test.name: test}
            source = Source(test.name, 'result.json', 'linear/top1')
            cells[row, COLUMN] = (*cells.get((row, COLUMN), ()), source)
    table = Table('1', 'Toy', (COLUMN,), rows)
    return Plan(table, Options(tuple(range(seeds))), jobs, cells, {COLUMN: EPOCHS})


def execute(
    jobs: dict[str, Job], work: Path, devices: Devices = DEVICES, stop: Stop | None = None
) -> dict[str, str]:
    """Run the jobs that are not finished; return their states."""
    records = Records(str(work), jobs)
    with work_dir_lock(str(work)) as lock:
        runner = JobRunner(records, records.needed(jobs), devices, stop or Stop(), lock)
        return runner.run()


def report(plan: Plan, work: Path) -> str:
    """Return the table of a plan as it is now."""
    return Report(plan, Records(str(work), plan.jobs)).write()

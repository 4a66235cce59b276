"""Tables of published and reproduced numbers."""

import json
from pathlib import Path

import pytest
from paper_tables.jobs import Job, Options, Plan, Source
from paper_tables.published import Column, Recipe, Row, Table
from paper_tables.records import Records
from paper_tables.results import Report

COLUMN = Column('toy', 'xsub')
GROUP = 'Group:'
ROWS = {
    Row('ours', (70.0,), Recipe('aimclr'), GROUP): (71.0, 73.0),
    Row('half', (50.0,), Recipe('aimclr'), GROUP): (49.0, None),
    Row('none', (None,), Recipe('aimclr'), GROUP, extra=True): (None, None),
    Row('others', (60.25,), group=GROUP): (),
}


@pytest.fixture
def plan(tmp_path) -> Plan:
    """A plan whose numbers are there, one per seed, except where None."""
    jobs, cells, records = {}, {}, Records(str(tmp_path), {})
    for row, numbers in ROWS.items():
        for seed, number in enumerate(numbers):
            job = Job(f'{row.name}{seed}', 'evaluation', (), ('result.json',))
            jobs[job.name] = job
            source = Source(job.name, 'result.json', 'm')
            cells[row, COLUMN] = (*cells.get((row, COLUMN), ()), source)
            if number is not None:
                records.begin(job)
                write(tmp_path / job.name, m=number)
                records.finish(job, 1.0)
    table = Table('9', 'Toy', (COLUMN,), tuple(ROWS))
    return Plan(table, Options((0, 1), scale=0.5), jobs, cells, {COLUMN: 4})


def write(folder: Path, **metrics: float) -> None:
    (folder / 'result.json').write_text(json.dumps(dict(metrics=metrics)))


def test_markdown(plan, tmp_path):
    """Several seeds, a missing one, none, a row that is only shown, no published number."""
    text = Report(plan, Records(str(tmp_path), plan.jobs)).write()
    assert text.startswith('Toy; ours: seeds 0 1, 0.5 of the epochs of pre-training\n')
    assert (tmp_path / 'table9_e0.5.md').read_text() == text

    lines = [line for line in text.splitlines() if line.startswith('|')]
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    assert set(''.join(cells.pop(1))) == {'-'}
    assert cells == [
        ['', 'toy xsub paper', 'toy xsub ours', 'toy xsub difference'],
        ['*Group:*', '', '', ''],
        ['ours', '70.0', '72.0 ± 1.0', '+2.0'],
        ['half', '50.0', '49.0 (1 of 2 seeds)', '-1.0'],
        ['none (not in the paper)', '-', '…', ''],
        ['others', '60.2', '', ''],
    ]


def test_csv(plan, tmp_path):
    Report(plan, Records(str(tmp_path), plan.jobs)).write()
    assert (tmp_path / 'table9_e0.5.csv').read_text().splitlines() == [
        'table,row,column,paper,ours,std,difference,values',
        'table9,Group: ours,toy xsub,70.0,72.0,1.0,2.0,71.0 73.0',
        'table9,Group: half,toy xsub,50.0,49.0,0.0,-1.0,49.0 ',
        'table9,Group: none (not in the paper),toy xsub,,,,, ',
        'table9,Group: others,toy xsub,60.25,,,,',
    ]


def test_unreadable_result(plan, tmp_path):
    """It is reported; the other numbers are shown."""
    write(tmp_path / 'ours0', n=1)
    report = Report(plan, Records(str(tmp_path), plan.jobs))
    assert '73.0 (1 of 2 seeds)' in report.write()
    (problem,) = report.problems
    assert "ours0/result.json' does not hold the number 'm'" in problem


def test_headings_of_shorter_trainings(tmp_path):
    """Printed epochs, and the evaluated ones where they differ."""
    columns = tuple(Column('ntu60', 'xsub', share) for share in (1 / 3, 1.0))
    table = Table('3', 'Toy', columns, ())
    plan = Plan(table, Options(), {}, {}, dict(zip(columns, (100, 200))))
    report = Report(plan, Records(str(tmp_path), {}))
    names = [report.heading(column) for column in columns]
    assert names == ['NTU-60 xsub 100ep', 'NTU-60 xsub 300ep (ours: 200)']

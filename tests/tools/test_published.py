"""The paper's tables as data: counts, values, what they say of each other; and our numbers beside them."""

import json

import pytest
from paper_tables.graph import Job, Options, Plan, Source
from paper_tables.published import TABLES, Column, Recipe, Row, Table
from paper_tables.records import Records
from paper_tables.tables import Report


def values(key: str, name: str, group: str = '') -> tuple:
    """The published values of a row."""
    found = [
        row.values for row in TABLES[key].rows if row.name == name and row.group.startswith(group)
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    'key, rows, columns, ours',
    [
        ('1', 5, 2, 5),
        ('2', 8, 5, 8),
        ('3', 4, 4, 4),
        ('4', 12, 2, 6),
        ('5', 8, 2, 3),
        ('6', 6, 2, 3),
        ('7', 14, 4, 6),
        ('8', 5, 4, 5),
        ('fig2', 6, 1, 6),
        ('fig3', 2, 2, 2),
    ],
)
def test_rows_and_columns(key, rows, columns, ours):
    """Ours counts the rows that are run; Table 7 has two that the paper does not."""
    table = TABLES[key]
    assert (
        len(table.rows),
        len(table.columns),
        sum(row.recipe is not None for row in table.rows),
    ) == (rows, columns, ours)
    assert all(len(row.values) == columns for row in table.rows)
    assert len({(row.group, row.name) for row in table.rows}) == rows
    assert sum(row.extra for row in table.rows) == (2 if key == '7' else 0)
    assert all(row.values == (None,) * columns and row.recipe for row in table.rows if row.extra)


@pytest.mark.parametrize(
    'key, name, group, column, value',
    [
        ('1', 'EA', '', Column('ntu60', 'xsub'), 71.3),
        ('1', 'NA + EA + EADM', '', Column('ntu60', 'xview'), 82.8),
        ('2', 'AimCLR (Ours) bone', '', Column('ntu120', 'xset'), 63.4),
        ('2', 'SkeletonCLR (CVPR 21) motion', '', Column('ntu60', 'xview'), 50.8),
        ('2', '3s-AimCLR (Ours)', '', Column('pkummdv1', 'xsub'), 87.8),
        ('3', '3s-CrosSCLR(repro.)§', '', Column('ntu60', 'xsub', 1 / 3), 70.0),
        ('3', '3s-AimCLR (Ours)', '', Column('ntu60', 'xsub', 2 / 3), 78.3),
        ('4', 'P&C (CVPR 20)', 'Single', Column('ntu60', 'xview'), 76.3),
        ('4', 'SeBiReNet (ECCV 20)', 'Single', Column('ntu60', 'xsub'), None),
        ('5', '3s-CrosSCLR (CVPR 21)§', 'Self', Column('pkummdv2', 'xsub'), 21.2),
        ('5', 'ST-GCN (AAAI 18)', 'Supervised', Column('pkummdv1', 'xsub'), 84.1),
        ('6', 'ISC (ACM MM 21)', '', Column('ntu120', 'xset'), 67.1),
        ('7', '3s-AimCLR (Ours)', '1%', Column('pkummdv2', 'xsub'), 15.1),
        ('7', '3s-AimCLR (Ours)', '10%', Column('ntu60', 'xview'), 81.6),
        ('7', 'ISC (ACM MM 21)', '10%', Column('pkummdv2', 'xsub'), None),
        ('8', '3s-ST-GCN (AAAI 18)', '', Column('ntu120', 'xset'), 77.1),
        ('8', 'AimCLR (Ours)†', '', Column('ntu60', 'xsub'), 83.0),
        ('fig2', '(f) 3s-AimCLR§', '', Column('ntu60', 'xsub'), 0.6793),
    ],
)
def test_values(key, name, group, column, value):
    row = next(row for row in TABLES[key].rows if row.name == name and row.group.startswith(group))
    assert TABLES[key].value(row, column) == value


def test_column_that_the_paper_lacks():
    table = TABLES['2']
    assert table.value(table.rows[0], Column('utdmhad', 'xsub')) is None


@pytest.mark.parametrize(
    'stream, gains',
    [
        ('joint', (6.0, 3.3, 2.5, 6.6, 7.5)),
        ('motion', (13.5, 19.8, 8.6, 17.7, 14.2)),
        ('bone', (3.8, 9.6, 9.4, 14.5, 11.4)),
        ('', (3.9, 4.0, 2.5, 7.5, 6.2)),
    ],
)
def test_gains_of_table_2(stream, gains):
    """The differences that the paper prints are those of the values."""
    names = (
        (f'AimCLR (Ours) {stream}', f'SkeletonCLR (CVPR 21) {stream}')
        if stream
        else ('3s-AimCLR (Ours)', '3s-SkeletonCLR (CVPR 21)')
    )
    ours, theirs = (values('2', name) for name in names)
    assert tuple(round(a - b, 1) for a, b in zip(ours, theirs)) == gains


def test_tables_agree_with_each_other():
    """Numbers that stand in several tables are the same in all of them."""
    assert (
        values('1', 'NA')
        == values('2', '3s-SkeletonCLR (CVPR 21)')[:2]
        == values('4', '3s-SkeletonCLR (CVPR 21)')
    )
    aimclr = values('2', '3s-AimCLR (Ours)')
    assert values('1', 'NA + EA + EADM + NNM') == aimclr[:2] == values('4', '3s-AimCLR (Ours)')
    assert (
        values('5', '3s-AimCLR (Ours)')[0] == aimclr[2]
        and values('6', '3s-AimCLR (Ours)') == aimclr[3:]
    )
    assert values('3', '3s-AimCLR (Ours)')[-1] == aimclr[0]
    assert values('3', '3s-AimCLR (Ours)§')[-1] == values('4', '3s-AimCLR (Ours)§')[0]
    assert values('4', 'SkeletonCLR (CVPR 21)') == values('2', 'SkeletonCLR (CVPR 21) joint')[:2]
    assert values('4', 'AimCLR (Ours)') == values('2', 'AimCLR (Ours) joint')[:2]


def test_shares_of_table_3_are_the_printed_epochs():
    assert [round(300 * column.share) for column in TABLES['3'].columns] == [100, 150, 200, 300]


def test_table(tmp_path):
    """Known values: several seeds, one that is missing, none, a row of others, no published number."""
    column = Column('toy', 'xsub')
    rows = (
        Row('ours', (70.0,), Recipe('aimclr'), 'Group:'),
        Row('half', (50.0,), Recipe('aimclr')),
        Row('none', (None,), Recipe('aimclr'), extra=True),
        Row('others', (60.25,)),
    )
    numbers = {'ours': (71.0, 73.0), 'half': (49.0, None), 'none': (None, None)}
    made, cells, records = {}, {}, Records(str(tmp_path), {})
    for row in rows[:3]:
        for seed, number in enumerate(numbers[row.name]):
            job = Job(f'{row.name}{seed}', 'evaluation', (), ('result.json',))
            made[job.name] = job
            cells.setdefault((row, column), []).append(Source(job.name, 'result.json', 'm'))
            if number is not None:
                records.begin(job)
                (tmp_path / job.name / 'result.json').write_text(
                    json.dumps({'metrics': {'m': number}})
                )
                records.finish(job, 1.0)
    plan = Plan(
        Table('9', 'Toy', (column,), rows), Options((0, 1), scale=0.5), made, cells, {column: 4}
    )
    text = Report(plan, Records(str(tmp_path), made)).write()
    shown = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    assert text.startswith('Toy; ours: seeds 0 1, 0.5 of the epochs of pre-training\n')
    assert (
        shown[0] == ['', 'toy xsub paper', 'toy xsub ours', 'toy xsub difference']
        and shown[2][0] == '*Group:*'
    )
    assert ['ours', '70.0', '72.0 ± 1.0', '+2.0'] in shown
    assert ['half', '50.0', '49.0 (1 of 2 seeds)', '-1.0'] in shown
    assert ['none (not in the paper)', '-', '…', ''] in shown and [
        'others',
        '60.2',
        '',
        '',
    ] in shown
    assert (tmp_path / 'table9_e0.5.md').read_text() == text
    lines = (tmp_path / 'table9_e0.5.csv').read_text().splitlines()
    assert lines[1] == 'table9,Group: ours,toy xsub,70.0,72.0,1.0,2.0,71.0 73.0' and len(lines) == 5
    (tmp_path / 'ours0/result.json').write_text('{"metrics": {"n": 1}}')
    report = Report(plan, Records(str(tmp_path), made))
    assert '73.0 (1 of 2 seeds)' in report.write()
    assert (
        len(report.problems) == 1
        and "ours0/result.json' does not hold the number 'm'" in report.problems[0]
    )

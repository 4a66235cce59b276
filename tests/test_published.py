"""The paper's tables as data: counts, values, and what the tables say of each other."""
import pytest

from aimclr_mm.reproduce.published import TABLES, Column


def values(key: str, name: str, group: str = '') -> tuple:
    """The published values of a row."""
    found = [row.values for row in TABLES[key].rows if row.name == name and row.group.startswith(group)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize('key, rows, columns, ours', [
    ('1', 5, 2, 5), ('2', 8, 5, 8), ('3', 4, 4, 4), ('4', 12, 2, 6), ('5', 8, 2, 3), ('6', 6, 2, 3), ('7', 14, 4, 6),
    ('8', 5, 4, 5), ('fig2', 6, 1, 6), ('fig3', 2, 2, 2)])
def test_rows_and_columns(key, rows, columns, ours):
    """Ours counts the rows that are run; Table 7 has two that the paper does not."""
    table = TABLES[key]
    assert (len(table.rows), len(table.columns), sum(row.recipe is not None for row in table.rows)) == (
        rows, columns, ours)
    assert all(len(row.values) == columns for row in table.rows)
    assert len({(row.group, row.name) for row in table.rows}) == rows
    assert sum(row.extra for row in table.rows) == (2 if key == '7' else 0)
    assert all(row.values == (None,) * columns and row.recipe for row in table.rows if row.extra)


@pytest.mark.parametrize('key, name, group, column, value', [
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
    ('fig2', '(f) 3s-AimCLR§', '', Column('ntu60', 'xsub'), 0.6793)])
def test_values(key, name, group, column, value):
    row = next(row for row in TABLES[key].rows if row.name == name and row.group.startswith(group))
    assert TABLES[key].value(row, column) == value


def test_column_that_the_paper_lacks():
    table = TABLES['2']
    assert table.value(table.rows[0], Column('utdmhad', 'xsub')) is None


@pytest.mark.parametrize('stream, gains', [
    ('joint', (6.0, 3.3, 2.5, 6.6, 7.5)), ('motion', (13.5, 19.8, 8.6, 17.7, 14.2)),
    ('bone', (3.8, 9.6, 9.4, 14.5, 11.4)), ('', (3.9, 4.0, 2.5, 7.5, 6.2))])
def test_gains_of_table_2(stream, gains):
    """The differences that the paper prints are those of the values."""
    names = (f'AimCLR (Ours) {stream}', f'SkeletonCLR (CVPR 21) {stream}') if stream else (
        '3s-AimCLR (Ours)', '3s-SkeletonCLR (CVPR 21)')
    ours, theirs = (values('2', name) for name in names)
    assert tuple(round(a - b, 1) for a, b in zip(ours, theirs)) == gains


def test_tables_agree_with_each_other():
    """Numbers that stand in several tables are the same in all of them."""
    assert values('1', 'NA') == values('2', '3s-SkeletonCLR (CVPR 21)')[:2] == values('4', '3s-SkeletonCLR (CVPR 21)')
    aimclr = values('2', '3s-AimCLR (Ours)')
    assert values('1', 'NA + EA + EADM + NNM') == aimclr[:2] == values('4', '3s-AimCLR (Ours)')
    assert values('5', '3s-AimCLR (Ours)')[0] == aimclr[2] and values('6', '3s-AimCLR (Ours)') == aimclr[3:]
    assert values('3', '3s-AimCLR (Ours)')[-1] == aimclr[0]
    assert values('3', '3s-AimCLR (Ours)§')[-1] == values('4', '3s-AimCLR (Ours)§')[0]
    assert values('4', 'SkeletonCLR (CVPR 21)') == values('2', 'SkeletonCLR (CVPR 21) joint')[:2]
    assert values('4', 'AimCLR (Ours)') == values('2', 'AimCLR (Ours) joint')[:2]


def test_shares_of_table_3_are_the_printed_epochs():
    assert [round(300 * column.share) for column in TABLES['3'].columns] == [100, 150, 200, 300]

"""Published tables: sizes, values, consistency, selection of columns."""

import pytest
from paper_tables.published import EPOCHS, TABLES, Column

KNOWN = [
    'ntu120_xset',
    'ntu120_xsub',
    'ntu60_xsub',
    'ntu60_xview',
    'pkummdv1_xsub',
    'pkummdv1_xview',
    'pkummdv2_xsub',
    'synthetic_xsub',
    'utdmhad_xsub',
]


def row(key: str, name: str, group: str = ''):
    """Return a row of a table."""
    (found,) = (r for r in TABLES[key].rows if r.name == name and r.group.startswith(group))
    return found


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
        ('methods', 36, 2, 36),
    ],
)
def test_rows_and_columns(key, rows, columns, ours):
    """``ours`` counts reproduced rows; Table 7 has two that the paper does not have."""
    table = TABLES[key]
    assert (len(table.rows), len(table.columns)) == (rows, columns)
    assert sum(r.recipe is not None for r in table.rows) == ours
    assert all(len(r.values) == columns for r in table.rows)
    assert len({(r.group, r.name) for r in table.rows}) == rows

    extra = [r for r in table.rows if r.extra]
    assert len(extra) == (2 if key == '7' else 0)
    assert all(r.values == (None,) * columns and r.recipe for r in extra)


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
        ('methods', 'PSTL', 'Joint, linear', Column('ntu60', 'xview'), 81.8),
        ('methods', 'ActCLR¶', 'Joint, linear', Column('ntu60', 'xsub'), 80.9),
        ('methods', 'ActCLR¶', 'Three streams, linear', Column('ntu60', 'xview'), 88.8),
        ('methods', 'HiCLR', 'Three streams, linear', Column('ntu60', 'xview'), None),
    ],
)
def test_values(key, name, group, column, value):
    assert TABLES[key].value(row(key, name, group), column) == value


def test_column_that_the_paper_lacks():
    table = TABLES['2']
    assert table.value(table.rows[0], Column('utdmhad', 'xsub')) is None


@pytest.mark.parametrize(
    'ours, other, gains',
    [
        ('AimCLR (Ours) joint', 'SkeletonCLR (CVPR 21) joint', (6.0, 3.3, 2.5, 6.6, 7.5)),
        ('AimCLR (Ours) motion', 'SkeletonCLR (CVPR 21) motion', (13.5, 19.8, 8.6, 17.7, 14.2)),
        ('AimCLR (Ours) bone', 'SkeletonCLR (CVPR 21) bone', (3.8, 9.6, 9.4, 14.5, 11.4)),
        ('3s-AimCLR (Ours)', '3s-SkeletonCLR (CVPR 21)', (3.9, 4.0, 2.5, 7.5, 6.2)),
    ],
)
def test_gains_of_table_2(ours, other, gains):
    """The printed gains are the differences of the values."""
    pairs = zip(row('2', ours).values, row('2', other).values)
    assert tuple(round(a - b, 1) for a, b in pairs) == gains


def test_tables_agree_with_each_other():
    """Numbers that stand in several tables are the same in all of them."""
    skeletonclr = row('2', '3s-SkeletonCLR (CVPR 21)').values[:2]
    assert skeletonclr == row('1', 'NA').values == row('4', '3s-SkeletonCLR (CVPR 21)').values

    aimclr = row('2', '3s-AimCLR (Ours)').values
    assert aimclr[:2] == row('1', 'NA + EA + EADM + NNM').values
    assert aimclr[:2] == row('4', '3s-AimCLR (Ours)').values
    assert aimclr[2] == row('5', '3s-AimCLR (Ours)').values[0]
    assert aimclr[3:] == row('6', '3s-AimCLR (Ours)').values
    assert aimclr[0] == row('3', '3s-AimCLR (Ours)').values[-1]

    assert row('3', '3s-AimCLR (Ours)§').values[-1] == row('4', '3s-AimCLR (Ours)§').values[0]
    for name in ('SkeletonCLR (CVPR 21)', 'AimCLR (Ours)'):
        assert row('4', name).values == row('2', f'{name} joint').values[:2]


def test_shares_of_table_3_are_the_printed_epochs():
    assert [column.share * EPOCHS for column in TABLES['3'].columns] == [100, 150, 200, 300]


@pytest.mark.parametrize(
    'datasets, splits, expected',
    [
        (['ntu60'], [], ['ntu60_xsub', 'ntu60_xview']),
        (['ntu120'], ['xset'], ['ntu120_xset']),
        ([], ['xset'], ['ntu120_xset']),
        (['synthetic'], [], ['synthetic_xsub']),
        (['pkummdv1'], [], ['pkummdv1_xsub']),
        (['pkummdv1'], ['xview'], ['pkummdv1_xview']),
    ],
)
def test_columns_are_selected(datasets, splits, expected):
    columns = TABLES['2'].select_columns(KNOWN, datasets, splits)
    assert [column.site for column in columns] == expected


def test_all_columns_are_selected_by_default():
    assert TABLES['3'].select_columns(KNOWN) == TABLES['3'].columns


@pytest.mark.parametrize(
    'datasets, splits, message',
    [
        (['nowhere'], [], r'configs/aimclr_nowhere_\*_joint.py'),
        (['utdmhad'], ['xset'], 'configs/aimclr_utdmhad_xset_joint.py'),
        ([], ['nothing'], "table2 has no split 'nothing'"),
    ],
)
def test_columns_without_a_config(datasets, splits, message):
    with pytest.raises(ValueError, match=f'{message}.*with a config: .*utdmhad_xsub'):
        TABLES['2'].select_columns(KNOWN, datasets, splits)

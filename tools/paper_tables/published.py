"""The paper's tables 1 to 8 and figures 2 and 3 as data: every row as printed, and what of ours belongs beside it.

Top-1 accuracy in per cent, except figure 2. Rows of other methods are shown and not run again.
"""

from __future__ import annotations

from dataclasses import dataclass

STREAMS = ('joint', 'bone', 'motion')  # in the order of the fusion weights 0.6, 0.6, 0.4
NAMES = {'ntu60': 'NTU-60', 'ntu120': 'NTU-120', 'pkummdv1': 'PKU I', 'pkummdv2': 'PKU II'}


@dataclass(frozen=True)
class Recipe:
    """How a number of ours comes about.

    Args:
        method: pre-training: ``aimclr`` or an overlay of it; empty for random weights.
        streams: which streams; the scores of several are fused.
        protocol: ``linear``, ``semi``, ``finetune`` or ``supervised``; for figures ``knn`` and ``embedding``.
        labels: share of the training split's labels (``semi``).
    """

    method: str
    streams: tuple[str, ...] = STREAMS
    protocol: str = 'linear'
    labels: float | None = None


@dataclass(frozen=True)
class Column:
    """A data set's split, and where in the training the encoder is evaluated (share of its epochs)."""

    dataset: str
    split: str
    share: float = 1.0

    @property
    def site(self) -> str:
        """As in the names of configs, ``ntu60_xsub``."""
        return f'{self.dataset}_{self.split}'


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, the published values (one a column, None where there is none), our counterpart."""

    name: str
    values: tuple[float | None, ...]
    recipe: Recipe | None = None
    group: str = ''
    extra: bool = False  # a row of ours that the paper does not have

    @property
    def label(self) -> str:
        """Group and name."""
        return ' '.join(filter(None, (self.group, self.name))) + (
            ' (not in the paper)' if self.extra else ''
        )


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    unit: str = '%'

    @property
    def name(self) -> str:
        """``table1`` or ``fig2``, also the name of the files that are written."""
        return f'table{self.key}' if self.key.isdigit() else self.key

    def value(self, row: Row, column: Column) -> float | None:
        """The published number; None where the paper has none."""
        return row.values[self.columns.index(column)] if column in self.columns else None


def _columns(*sites: str, shares: tuple[float, ...] = (1.0,)) -> tuple[Column, ...]:
    return tuple(Column(*site.split('_'), share) for site in sites for share in shares)


def _three(method: str, protocol: str = 'linear', labels: float | None = None) -> Recipe:
    return Recipe(method, STREAMS, protocol, labels)


def _one(method: str, stream: str = 'joint', protocol: str = 'linear') -> Recipe:
    return Recipe(method, (stream,), protocol)


NTU60, NTU120, PKU = (
    ('ntu60_xsub', 'ntu60_xview'),
    ('ntu120_xsub', 'ntu120_xset'),
    ('pkummdv1_xsub', 'pkummdv2_xsub'),
)
SHARES = (1 / 3, 1 / 2, 2 / 3, 1.0)  # 100, 150, 200 and 300 of 300 epochs


def _semi_rows(
    group: str, labels: float, others: tuple[Row, ...], cross: tuple, aimclr: tuple
) -> tuple[Row, ...]:
    """One half of Table 7, and a row of ours from random weights with the same labels."""
    return (
        *others,
        Row('3s-CrosSCLR (CVPR 21)', cross, _three('crosclr', 'semi', labels), group),
        Row(
            '3s-Colorization (ICCV 21)',
            (None, None, 48.3, 52.5) if labels == 0.01 else (None, None, 71.7, 78.9),
            group=group,
        ),
        Row('3s-AimCLR (Ours)', aimclr, _three('aimclr', 'semi', labels), group),
        Row(
            '3s-ST-GCN from random weights',
            (None,) * 4,
            _three('', 'semi', labels),
            group,
            extra=True,
        ),
    )


ONE, TEN = '1% labeled data:', '10% labeled data:'
TABLES = {
    table.key: table
    for table in (
        Table(
            '1',
            'Ablation study',
            _columns(*NTU60),
            (
                Row('NA', (75.0, 79.8), _three('skeletonclr')),
                Row('EA', (71.3, 77.8), _three('ea')),
                Row('NA + EA', (77.4, 82.5), _three('na_ea')),
                Row('NA + EA + EADM', (78.2, 82.8), _three('na_ea_eadm')),
                Row('NA + EA + EADM + NNM', (78.9, 83.8), _three('aimclr')),
            ),
        ),
        Table(
            '2',
            'Linear evaluation beside SkeletonCLR',
            _columns(*NTU60, PKU[0], *NTU120),
            (
                Row(
                    'SkeletonCLR (CVPR 21) joint',
                    (68.3, 76.4, 80.9, 56.8, 55.9),
                    _one('skeletonclr'),
                ),
                Row('AimCLR (Ours) joint', (74.3, 79.7, 83.4, 63.4, 63.4), _one('aimclr')),
                Row(
                    'SkeletonCLR (CVPR 21) motion',
                    (53.3, 50.8, 63.4, 39.6, 40.2),
                    _one('skeletonclr', 'motion'),
                ),
                Row(
                    'AimCLR (Ours) motion', (66.8, 70.6, 72.0, 57.3, 54.4), _one('aimclr', 'motion')
                ),
                Row(
                    'SkeletonCLR (CVPR 21) bone',
                    (69.4, 67.4, 72.6, 48.4, 52.0),
                    _one('skeletonclr', 'bone'),
                ),
                Row('AimCLR (Ours) bone', (73.2, 77.0, 82.0, 62.9, 63.4), _one('aimclr', 'bone')),
                Row(
                    '3s-SkeletonCLR (CVPR 21)',
                    (75.0, 79.8, 85.3, 60.7, 62.6),
                    _three('skeletonclr'),
                ),
                Row('3s-AimCLR (Ours)', (78.9, 83.8, 87.8, 68.2, 68.8), _three('aimclr')),
            ),
        ),
        Table(
            '3',
            'Linear evaluation after different numbers of epochs',
            _columns('ntu60_xsub', shares=SHARES),
            (
                Row('3s-SkeletonCLR(repro.)', (71.3, 73.8, 74.1, 74.1), _three('skeletonclr')),
                Row('3s-CrosSCLR(repro.)§', (70.0, 72.8, 76.0, 77.2), _three('crosclr')),
                Row('3s-AimCLR (Ours)§', (75.4, 76.0, 78.2, 78.6), _three('aimclr_cross')),
                Row('3s-AimCLR (Ours)', (76.5, 77.4, 78.3, 78.9), _three('aimclr')),
            ),
        ),
        Table(
            '4',
            'Linear evaluation on NTU-60',
            _columns(*NTU60),
            (
                Row('LongT GAN (AAAI 18)', (39.1, 48.1), group='Single-stream:'),
                Row('MS2L (ACM MM 20)', (52.6, None), group='Single-stream:'),
                Row('AS-CAL (Information Sciences 21)', (58.5, 64.8), group='Single-stream:'),
                Row('P&C (CVPR 20)', (50.7, 76.3), group='Single-stream:'),
                Row('SeBiReNet (ECCV 20)', (None, 79.7), group='Single-stream:'),
                Row('SkeletonCLR (CVPR 21)', (68.3, 76.4), _one('skeletonclr'), 'Single-stream:'),
                Row('AimCLR (Ours)', (74.3, 79.7), _one('aimclr'), 'Single-stream:'),
                Row(
                    '3s-SkeletonCLR (CVPR 21)', (75.0, 79.8), _three('skeletonclr'), 'Three-stream:'
                ),
                Row('3s-Colorization (ICCV 21)', (75.2, 83.1), group='Three-stream:'),
                Row('3s-CrosSCLR (CVPR 21)§', (77.8, 83.4), _three('crosclr'), 'Three-stream:'),
                Row('3s-AimCLR (Ours)§', (78.6, 82.6), _three('aimclr_cross'), 'Three-stream:'),
                Row('3s-AimCLR (Ours)', (78.9, 83.8), _three('aimclr'), 'Three-stream:'),
            ),
        ),
        Table(
            '5',
            'Linear evaluation on PKU-MMD',
            _columns(*PKU),
            (
                Row('ST-GCN (AAAI 18)', (84.1, 48.2), group='Supervised:'),
                Row('VA-LSTM (TPAMI 19)', (84.1, 50.0), group='Supervised:'),
                Row('LongT GAN (AAAI 18)', (67.7, 26.0), group='Self-supervised:'),
                Row('MS2L (ACM MM 20)', (64.9, 27.6), group='Self-supervised:'),
                Row('3s-CrosSCLR (CVPR 21)§', (84.9, 21.2), _three('crosclr'), 'Self-supervised:'),
                Row('ISC (ACM MM 21)', (80.9, 36.0), group='Self-supervised:'),
                Row('3s-AimCLR (Ours)§', (87.4, 39.5), _three('aimclr_cross'), 'Self-supervised:'),
                Row('3s-AimCLR (Ours)', (87.8, 38.5), _three('aimclr'), 'Self-supervised:'),
            ),
        ),
        Table(
            '6',
            'Linear evaluation on NTU-120',
            _columns(*NTU120),
            (
                Row('P&C (CVPR 20)', (42.7, 41.7)),
                Row('AS-CAL (Information Sciences 21)', (48.6, 49.2)),
                Row('3s-CrosSCLR (CVPR 21)§', (67.9, 66.7), _three('crosclr')),
                Row('ISC (ACM MM 21)', (67.9, 67.1)),
                Row('3s-AimCLR (Ours)§', (68.0, 68.7), _three('aimclr_cross')),
                Row('3s-AimCLR (Ours)', (68.2, 68.8), _three('aimclr')),
            ),
        ),
        Table(
            '7',
            'Semi-supervised evaluation',
            _columns(*PKU, *NTU60),
            (
                *_semi_rows(
                    ONE,
                    0.01,
                    (
                        Row('LongT GAN (AAAI 18)', (35.8, 12.4, 35.2, None), group=ONE),
                        Row('MS2L (ACM MM 20)', (36.4, 13.0, 33.1, None), group=ONE),
                        Row('ISC (ACM MM 21)', (37.7, None, 35.7, 38.1), group=ONE),
                    ),
                    (49.7, 10.2, 51.1, 50.0),
                    (57.5, 15.1, 54.8, 54.3),
                ),
                *_semi_rows(
                    TEN,
                    0.1,
                    (
                        Row('LongT GAN (AAAI 18)', (69.5, 25.7, 62.0, None), group=TEN),
                        Row('MS2L (ACM MM 20)', (70.3, 26.1, 65.2, None), group=TEN),
                        Row('ISC (ACM MM 21)', (72.1, None, 65.9, 72.5), group=TEN),
                    ),
                    (82.9, 28.6, 74.4, 77.8),
                    (86.1, 33.4, 78.2, 81.6),
                ),
            ),
        ),
        Table(
            '8',
            'Finetuned (†: bone stream)',
            _columns(*NTU60, *NTU120),
            (
                Row(
                    'SkeletonCLR (CVPR 21)†',
                    (82.2, 88.9, 73.6, 75.3),
                    _one('skeletonclr', 'bone', 'finetune'),
                ),
                Row('AimCLR (Ours)†', (83.0, 89.2, 76.4, 76.7), _one('aimclr', 'bone', 'finetune')),
                Row('3s-ST-GCN (AAAI 18)', (85.2, 91.4, 77.2, 77.1), _three('', 'supervised')),
                Row(
                    '3s-CrosSCLR (CVPR 21)', (86.2, 92.5, 80.5, 80.4), _three('crosclr', 'finetune')
                ),
                Row('3s-AimCLR (Ours)', (86.9, 92.8, 80.1, 80.9), _three('aimclr', 'finetune')),
            ),
        ),
        Table(
            'fig2',
            'NMI of the embeddings',
            _columns('ntu60_xsub'),
            (
                Row('(a) SkeletonCLR', (None,), _one('skeletonclr', protocol='embedding')),
                Row('(b) 3s-SkeletonCLR', (None,), _three('skeletonclr', 'embedding')),
                Row('(c) 3s-CrosSCLR§', (0.6668,), _three('crosclr', 'embedding')),
                Row('(d) AimCLR', (None,), _one('aimclr', protocol='embedding')),
                Row('(e) 3s-AimCLR', (None,), _three('aimclr', 'embedding')),
                Row('(f) 3s-AimCLR§', (0.6793,), _three('aimclr_cross', 'embedding')),
            ),
            unit='',
        ),
        Table(
            'fig3',
            'KNN accuracy; its course is in the picture',
            _columns('ntu60_xsub', 'pkummdv1_xsub'),
            (
                Row('SkeletonCLR', (None, None), _one('skeletonclr', protocol='knn')),
                Row('AimCLR', (None, None), _one('aimclr', protocol='knn')),
            ),
        ),
    )
}

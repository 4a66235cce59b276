"""Plans of the tables: which jobs, in which order, with which commands, and how long they take."""

import argparse
import importlib.util
import itertools
import math
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from paper_tables import configs, estimate
from paper_tables.choose import choose_columns, choose_jobs
from paper_tables.graph import TRAININGS, Job, Options, Plan, Source, Training
from paper_tables.plan import JOINT, OVERLAYS, PROTOCOLS, make_plan
from paper_tables.published import TABLES, Column

from aimclr_mm.datasets import write_pickle

ROOT = Path(__file__).resolve().parents[2]
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


def resolve(site: str, overlays: tuple, scale: float = 1.0) -> Training:
    """300 epochs of pre-training, 100 of classifiers, all scaled."""
    full = 100 if 'protocols' in ''.join(overlays) else 300
    return Training(
        site, overlays, full, max(1, round(scale * full)), max(1, round(scale * 50)), 'digest'
    )


def planned(key: str, columns: tuple = (), **options) -> Plan:
    """The plan of a table."""
    options = Options(**{'seeds': (0,), **options})
    return make_plan(
        TABLES[key], columns or TABLES[key].columns, options, partial(resolve, scale=options.scale)
    )


def of_kind(plan: Plan, kind: str) -> list[str]:
    return [name for name, job in plan.jobs.items() if job.kind == kind]


@pytest.mark.parametrize(
    'key, counts',
    [  # pre-trainings, classifiers, evaluations, fusions, pictures
        ('1', (30, 0, 30, 10, 0)),
        ('2', (30, 0, 30, 10, 0)),
        ('3', (8, 0, 32, 8, 0)),
        ('4', (16, 0, 16, 4, 0)),
        ('5', (10, 0, 10, 2, 0)),
        ('6', (10, 0, 10, 2, 0)),
        ('7', (16, 72, 72, 24, 0)),
        ('8', (20, 40, 40, 12, 0)),
        ('fig2', (8, 0, 8, 0, 6)),
        ('fig3', (4, 0, 4, 0, 2)),
    ],
)
def test_number_of_jobs(key, counts):
    plan = planned(key)
    kinds = ('pre-training', 'classifier', 'evaluation', 'fusion', 'picture')
    assert tuple(len(of_kind(plan, kind)) for kind in kinds) == counts
    assert len(planned(key, seeds=(0, 1, 2)).jobs) == 3 * sum(counts)


@pytest.mark.parametrize('key', TABLES)
def test_jobs_come_after_those_they_need(key):
    """A job's dependencies stand before it, so there are no cycles; every number and picture has its job."""
    plan, before = planned(key, seeds=(0, 1)), set()
    for name, job in plan.jobs.items():
        assert name == job.name and set(job.after) <= before
        before.add(name)
    sources = [source for cell in plan.cells.values() for source in cell]
    assert (
        all(source.file in plan.jobs[source.job].results for source in sources)
        and set(plan.pictures) <= before
    )
    assert len(plan.cells) == len(plan.table.columns) * sum(
        row.recipe is not None for row in plan.table.rows
    )


def test_tables_share_runs():
    """All tables of NTU-60 xsub together: seven methods, those of single streams once a stream."""
    runs = {
        name
        for key in TABLES
        for name in of_kind(planned(key), 'pre-training')
        if name.startswith('ntu60_xsub')
    }
    assert len(runs) == 3 * (len(OVERLAYS) - len(JOINT)) + len(JOINT)


def test_same_name_means_same_job():
    """Whatever differs between two jobs is in their names: tables, rows, seeds, scale, data, precision."""
    known: dict[str, Job] = {}
    for scale, data, amp in itertools.product(
        (1.0, 0.5, 0.1, 0.001), (1.0, 0.5, 0.25), (False, True)
    ):
        for key in TABLES:
            for name, job in planned(
                key, seeds=(0, 11), scale=scale, data=data, amp=amp
            ).jobs.items():
                assert known.setdefault(name, job) == job
    by_command = {}
    for name, job in known.items():
        assert by_command.setdefault((job.command, job.after), name) == name


def test_commands():
    """Spelled out for one job of each kind."""
    jobs = planned('8', scale=0.5, data=0.25, amp=True, seeds=(3,)).jobs
    base = 'ntu60_xsub/crosclr_seed3_e150_d0.25_amp'
    assert ' '.join(jobs[base].command) == (
        'tools/train.py configs/aimclr_ntu60_xsub_joint.py --with configs/methods/crosclr.py '
        'configs/schedules/keep_checkpoints.py --epochs 150 --amp --seed 3 --work-dir {work}/'
        + base
        + ' --cfg-options train_dataloader.dataset.fraction=0.25 train_dataloader.dataset.fraction_seed=0'
    )
    tuned = f'{base}/finetune_e50_bone'
    assert ' '.join(jobs[tuned].command) == (
        'tools/train.py configs/aimclr_ntu60_xsub_joint.py --with configs/protocols/finetune.py --pretrained '
        f'{{work}}/{base}/epoch_150.pth --pretrained-stream bone --epochs 50 --amp --seed 3 '
        f'--work-dir {{work}}/{tuned} --cfg-options model.data_preprocessor.stream=bone'
    )
    tested = f'{tuned}/eval/epoch_50'
    assert jobs[tested].after == (tuned,) and ' '.join(jobs[tested].command) == (
        f'tools/test.py {{work}}/{tuned}/*.py {{work}}/{tuned}/epoch_50.pth --seed 3 '
        f'--out {{work}}/{tested}/result.json --dump {{work}}/{tested} --work-dir {{work}}/{tested}/test'
    )
    fused = jobs['ntu60_xsub/crosclr_3s_seed3_e150_d0.25_amp/finetune_e50']
    assert fused.command[1:4] == tuple(
        f'{{work}}/{base}/finetune_e50_{stream}/eval/epoch_50/classifier.npz'
        for stream in ('joint', 'bone', 'motion')
    )
    semi = planned('7', seeds=(2,)).jobs['pkummdv2_xsub/scratch_motion_seed2/semi_l0.01_draw2']
    assert (
        '--pretrained' not in semi.command
        and not semi.after
        and semi.command[-3:]
        == (
            'model.data_preprocessor.stream=motion',
            'train_dataloader.dataset.fraction=0.01',
            'train_dataloader.dataset.fraction_seed=2',
        )
    )


def test_numbers_of_several_streams():
    """A joint run evaluates and fuses in one; others are fused."""
    cells = {
        row.name: sources[0]
        for (row, column), sources in planned('3').cells.items()
        if column.share == 1 / 3
    }
    folder = 'ntu60_xsub/crosclr_seed0/eval/epoch_100'
    assert cells['3s-CrosSCLR(repro.)§'] == Source(folder, 'result.json', 'fused/linear/top1')
    fused = 'ntu60_xsub/aimclr_3s_seed0/eval/epoch_100'
    assert cells['3s-AimCLR (Ours)'] == Source(fused, 'result.json', 'fused/top1')


def load_tool(name: str):
    """A tool as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    'tool, kinds',
    [
        ('train', TRAININGS),
        ('test', ('evaluation',)),
        ('fuse', ('fusion',)),
        ('embedding', ('picture',)),
        ('knn_curve', ('picture',)),
    ],
)
def test_tools_know_the_options(tool, kinds, monkeypatch):
    """Every command of every table is one that its tool accepts, and its overlays exist."""
    module = load_tool(tool)
    seen = {job.command[0]: job.kind for key in TABLES for job in planned(key).jobs.values()}
    assert seen[f'tools/{tool}.py'] in kinds
    for job in (
        job
        for key in ('1', '7', '8', 'fig2', 'fig3')
        for job in planned(key, scale=0.1).jobs.values()
        if job.command[0] == f'tools/{tool}.py' and job.name.startswith('ntu60_xsub')
    ):
        monkeypatch.setattr(sys, 'argv', list(job.command))
        args = module.parse_args()
        assert all((ROOT / path).is_file() for path in getattr(args, 'overlays', ()))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['9'], 'invalid choice'),
        (['2', '--seeds', '1', '1'], 'must be different'),
        (['2', '--seeds', '-1'], '--seeds'),
        (['2', '--scale', '0'], '--scale'),
        (['2', '--scale', 'nan'], '--scale'),
        (['2', '--data', '2'], '--data'),
        (['2', '--workers', '0'], '--workers'),
        (['2', '--gpus', '0', '--workers', '1'], 'not allowed'),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        load_tool('reproduce').parse_args()
    assert message in capsys.readouterr().err


def test_gpus_that_are_not_there(monkeypatch):
    tool = load_tool('reproduce')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for wrong in ([2], [-1], [1, 1]):
        with pytest.raises(ValueError, match='different numbers below 2'):
            tool.choose_devices(argparse.Namespace(gpus=wrong, workers=None))
    chosen = tool.choose_devices(argparse.Namespace(gpus=None, workers=None))
    assert [device.name for device in chosen] == ['GPU 0']
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(ValueError, match='no GPU here'):
        tool.choose_devices(argparse.Namespace(gpus=[0], workers=None))
    chosen = tool.choose_devices(argparse.Namespace(gpus=None, workers=None))
    assert [device.name for device in chosen] == ['CPU 0']


@pytest.mark.parametrize('overlays', [*OVERLAYS.values(), *PROTOCOLS.values()])
def test_configs_are_read(overlays, monkeypatch):
    monkeypatch.chdir(ROOT)
    whole, short, least = (
        configs.resolve('synthetic_xsub', overlays, scale) for scale in (1.0, 0.1, 1e-9)
    )
    assert whole.epochs == whole.full == short.full and whole.digest == short.digest
    if overlays in PROTOCOLS.values():  # classifiers keep their epochs
        assert short == least == whole
    else:
        assert (short.epochs, least.epochs) == (round(0.1 * whole.full), 1)


def test_settings_have_digests_of_their_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    overlays = {*OVERLAYS.values(), *PROTOCOLS.values()}
    assert (
        len({configs.resolve('synthetic_xsub', overlay).digest for overlay in overlays})
        == len(overlays)
        == 9
    )


def test_digest_ignores_what_changes_no_result():
    one = dict(model=dict(width=4), train=dict(num_workers=4, batch_size=8), log_level='INFO')
    two = dict(one, train=dict(num_workers=0, batch_size=8), log_level='DEBUG')
    assert (
        configs.digest(one) == configs.digest(two) != configs.digest(dict(one, model=dict(width=5)))
    )


@pytest.mark.parametrize(
    'epochs, interval, expected',
    [
        (300, 50, [100, 150, 200, 300]),
        (240, 40, [80, 120, 160, 240]),
        (32, 5, [10, 15, 20, 32]),
        (1, 1, [1, 1, 1, 1]),
    ],
)
def test_nearest_kept_epoch(epochs, interval, expected):
    training = Training('a_b', (), epochs, epochs, interval, '')
    assert [training.at(share) for share in (1 / 3, 1 / 2, 2 / 3, 1)] == expected


def test_configs_are_found(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert (
        set(KNOWN) <= set(configs.known_sites()) and 'ntu60_xsub_joint' not in configs.known_sites()
    )


def test_columns_are_chosen():
    def sites(*arguments) -> list[str]:
        return [column.site for column in choose_columns(TABLES['2'], KNOWN, *arguments)]

    assert choose_columns(TABLES['3'], KNOWN) == TABLES['3'].columns
    assert sites(['ntu60']) == ['ntu60_xsub', 'ntu60_xview'] and sites(['ntu120'], ['xset']) == [
        'ntu120_xset'
    ]
    assert sites([], ['xset']) == ['ntu120_xset'] and sites(['synthetic']) == ['synthetic_xsub']
    assert sites(['pkummdv1']) == ['pkummdv1_xsub'] and sites(['pkummdv1'], ['xview']) == [
        'pkummdv1_xview'
    ]
    for wrong in ((['nowhere'],), (['utdmhad'], ['xset']), ([], ['nothing'])):
        with pytest.raises(ValueError, match='utdmhad_xsub'):
            sites(*wrong)


def test_rows_are_chosen():
    plan = planned('2', (Column('ntu60', 'xsub'),))
    assert choose_jobs(plan, ['aimclr (ours) BONE']) == [
        'ntu60_xsub/aimclr_bone_seed0/eval/epoch_300'
    ]
    assert len(choose_jobs(plan, ['3s-*'])) == 2 and len(choose_jobs(plan)) == 8
    with pytest.raises(ValueError, match="'nothing' matches no row.*'3s-AimCLR \\(Ours\\)'"):
        choose_jobs(plan, ['nothing'])


def test_time_is_estimated(monkeypatch):
    """Steps times seconds; a kind that only differs in stream or seed is measured once."""
    monkeypatch.chdir(ROOT)
    measured = []
    monkeypatch.setattr(
        estimate, 'measure', lambda training, amp: measured.append(training) or (2.0, 0.01)
    )
    monkeypatch.setattr(estimate, 'sequences', lambda site: (1000, 100))
    plan = make_plan(TABLES['7'], (Column('synthetic', 'xsub'),), Options((0,)), configs.resolve)
    estimator = estimate.Estimator(False)
    epochs = configs.resolve('synthetic_xsub', ()).epochs
    trained, tested = (
        plan.jobs['synthetic_xsub/aimclr_bone_seed0'],
        next(job for job in plan.jobs.values() if job.kind == 'evaluation'),
    )
    assert (
        estimator.seconds(trained) == 2.0 * epochs * (1000 // 64)
        and estimator.seconds(tested) == 11.0
    )
    semi = plan.jobs['synthetic_xsub/scratch_bone_seed0/semi_l0.1_draw0']
    batch = configs.read('synthetic_xsub', PROTOCOLS['semi']).train_dataloader.batch_size
    assert (
        estimator.steps(semi) == math.ceil(100 / batch) * semi.training.epochs
    )  # the last batch is used
    lines, total = estimate.describe(list(plan.jobs.values()), estimator)
    assert len(lines) == len(plan.jobs) and total > estimator.seconds(trained)
    assert len(measured) == 3  # aimclr, crosclr, classifier


def test_sequences_are_counted(monkeypatch, tmp_path):
    """In the annotation file, else as published; large files are not read where there is a published number."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    assert estimate.sequences('ntu60_xsub') == (40091, 16487) and estimate.sequences(
        'ntu120_xset'
    ) == (54468, 59477)
    assert estimate.sequences('pkummdv1_xsub') == (18841, 2704)
    with pytest.raises(FileNotFoundError, match='prepare_data.py synthetic'):
        estimate.sequences('synthetic_xsub')
    path = tmp_path / 'data' / 'ntu60' / 'ntu60_3d.pkl'
    write_pickle(
        dict(split=dict(xsub_train=['a', 'b', 'c'], xsub_val=['d']), annotations=[]), str(path)
    )
    assert estimate.sequences('ntu60_xsub') == (3, 1)
    with pytest.raises(ValueError, match="no split 'xview_train'"):
        estimate.sequences('ntu60_xview')
    monkeypatch.setattr(estimate, 'READABLE', 10)
    assert estimate.sequences('ntu60_xsub') == (40091, 16487)

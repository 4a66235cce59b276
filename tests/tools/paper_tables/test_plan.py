"""Plans of the tables: jobs, order, commands."""

import itertools
from functools import partial

import pytest
from paper_tables.jobs import TRAININGS, Job, Options, Plan, Source, Training
from paper_tables.plan import JOINT, METHODS, make_plan
from paper_tables.published import TABLES, Column

from tests.docs_runner import parse
from tests.runs import ROOT

KINDS = ('pre-training', 'classifier', 'evaluation', 'fusion', 'picture')


def resolve(site: str, overlays: tuple[str, ...], scale: float = 1.0) -> Training:
    """300 epochs of pre-training, 100 of classifiers, all scaled."""
    full = 100 if 'protocols' in ''.join(overlays) else 300
    epochs, interval = (max(1, round(scale * number)) for number in (full, 50))
    return Training(site, overlays, full, epochs, interval, 'digest')


def planned(key: str, columns: tuple[Column, ...] = (), **options) -> Plan:
    """Return the plan of a table, by default for seed 0."""
    options = Options(**{'seeds': (0,), **options})
    table = TABLES[key]
    return make_plan(
        table, columns or table.columns, options, partial(resolve, scale=options.scale)
    )


def of_kind(plan: Plan, kind: str) -> list[str]:
    return [name for name, job in plan.jobs.items() if job.kind == kind]


@pytest.mark.parametrize(
    'key, counts',
    [  # numbers of the KINDS
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
        ('methods', (46, 0, 46, 28, 0)),
    ],
)
def test_number_of_jobs(key, counts):
    plan = planned(key)
    assert tuple(len(of_kind(plan, kind)) for kind in KINDS) == counts
    assert len(planned(key, seeds=(0, 1, 2)).jobs) == 3 * sum(counts)


@pytest.mark.parametrize('key', TABLES)
def test_jobs_come_after_their_dependencies(key):
    """There are thus no cycles; every number and picture has its job."""
    plan, before = planned(key, seeds=(0, 1)), set()
    for name, job in plan.jobs.items():
        assert name == job.name and set(job.after) <= before
        before.add(name)

    for source in itertools.chain(*plan.cells.values()):
        assert source.file in plan.jobs[source.job].results
    assert set(plan.pictures) == {*of_kind(plan, 'picture')}
    ours = sum(row.recipe is not None for row in plan.table.rows)
    assert len(plan.cells) == len(plan.table.columns) * ours


def test_tables_share_runs():
    """All tables of NTU-60 xsub together: one run per method and stream, or per joint method."""
    runs = {
        name
        for key in TABLES
        for name in of_kind(planned(key), 'pre-training')
        if name.startswith('ntu60_xsub')
    }
    assert len(runs) == 3 * (len(METHODS) - len(JOINT)) + len(JOINT)


def test_same_name_means_same_job():
    """Names of jobs tell tables, rows, seeds, scale, data and precision apart."""
    known: dict[str, Job] = {}
    choices = itertools.product((1.0, 0.5, 0.1, 0.001), (1.0, 0.5, 0.25), (False, True), TABLES)
    for scale, data, amp, key in choices:
        plan = planned(key, seeds=(0, 11), scale=scale, data=data, amp=amp)
        for name, job in plan.jobs.items():
            assert known.setdefault(name, job) == job
    assert len({(job.command, job.after) for job in known.values()}) == len(known)


BASE = 'ntu60_xsub/crosclr_seed3_e150_d0.25_amp'
TUNED = f'{BASE}/finetune_e50_bone'
TESTED = f'{TUNED}/eval/epoch_50'


@pytest.mark.parametrize(
    'name, command',
    [
        (
            BASE,
            'tools/train.py configs/aimclr_ntu60_xsub_joint.py --with configs/methods/crosclr.py '
            'configs/schedules/keep_checkpoints.py --epochs 150 --amp --seed 3 '
            f'--work-dir {{work}}/{BASE} --cfg-options train_dataloader.dataset.fraction=0.25 '
            'train_dataloader.dataset.fraction_seed=0',
        ),
        (
            TUNED,
            'tools/train.py configs/aimclr_ntu60_xsub_joint.py '
            f'--with configs/protocols/finetune.py --pretrained {{work}}/{BASE}/epoch_150.pth '
            f'--pretrained-stream bone --epochs 50 --amp --seed 3 --work-dir {{work}}/{TUNED} '
            '--cfg-options model.data_preprocessor.stream=bone',
        ),
        (
            TESTED,
            f'tools/test.py {{work}}/{TUNED}/*.py {{work}}/{TUNED}/epoch_50.pth --seed 3 '
            f'--out {{work}}/{TESTED}/result.json --dump {{work}}/{TESTED} '
            f'--work-dir {{work}}/{TESTED}/test',
        ),
        (
            'ntu60_xsub/crosclr_3s_seed3_e150_d0.25_amp/finetune_e50',
            'tools/analyze.py fuse '
            f'{{work}}/{BASE}/finetune_e50_joint/eval/epoch_50/classifier.npz '
            f'{{work}}/{TUNED}/eval/epoch_50/classifier.npz '
            f'{{work}}/{BASE}/finetune_e50_motion/eval/epoch_50/classifier.npz '
            '--out {work}/ntu60_xsub/crosclr_3s_seed3_e150_d0.25_amp/finetune_e50/result.json',
        ),
    ],
)
def test_commands(name, command):
    jobs = planned('8', scale=0.5, data=0.25, amp=True, seeds=(3,)).jobs
    assert ' '.join(jobs[name].command) == command


def test_classifier_from_random_weights():
    semi = planned('7', seeds=(2,)).jobs['pkummdv2_xsub/scratch_motion_seed2/semi_l0.01_draw2']
    assert '--pretrained' not in semi.command and not semi.after
    assert semi.command[-3:] == (
        'model.data_preprocessor.stream=motion',
        'train_dataloader.dataset.fraction=0.01',
        'train_dataloader.dataset.fraction_seed=2',
    )


def test_actclr_starts_from_the_aimclr_of_its_stream_and_seed():
    plan = planned('methods', (Column('utdmhad', 'xsub'),), seeds=(0, 2), scale=0.5, amp=True)
    aimclr = 'utdmhad_xsub/aimclr_bone_seed2_e150_amp'
    job = plan.jobs['utdmhad_xsub/actclr_bone_seed2_e150_amp']
    assert job.after == (aimclr,) and plan.jobs[aimclr].after == ()
    assert ' '.join(job.command) == (
        'tools/train.py configs/aimclr_utdmhad_xsub_joint.py --with configs/methods/actclr.py '
        f'configs/schedules/keep_checkpoints.py --pretrained {{work}}/{aimclr}/epoch_150.pth '
        f'--epochs 150 --amp --seed 2 --work-dir {{work}}/{job.name} '
        '--cfg-options model.data_preprocessor.stream=bone'
    )
    parse(['python', *job.command])

    knn, linear = plan.select_jobs(['joint, knn: actclr*']), plan.select_jobs(['*linear: actclr*'])
    assert len(knn) == 2 and {*knn} < {*linear} and len(linear) == 4


def test_numbers_of_several_streams():
    """A joint run is evaluated and fused by one command; other streams are fused afterwards."""
    cells = {
        row.name: sources
        for (row, column), sources in planned('3').cells.items()
        if column.share == 1 / 3
    }
    folder = 'ntu60_xsub/crosclr_seed0/eval/epoch_100'
    fused = 'ntu60_xsub/aimclr_3s_seed0/eval/epoch_100'
    joint = Source(folder, 'result.json', 'fused/linear/top1')
    assert cells['3s-CrosSCLR(repro.)§'] == (joint,)
    assert cells['3s-AimCLR (Ours)'] == (Source(fused, 'result.json', 'fused/top1'),)


@pytest.mark.parametrize('key', ['1', '7', '8', 'fig2', 'fig3'])
def test_tools_accept_the_commands(key):
    """One job of each kind and method; the overlays exist."""
    jobs = planned(key, (Column('ntu60', 'xsub'),), scale=0.1).jobs.values()
    some = {(job.kind, *job.after[1:], *overlays(job)): job for job in jobs}
    for job in some.values():
        parse(['python', *job.command])
        assert all((ROOT / path).is_file() for path in overlays(job))


def overlays(job: Job) -> tuple[str, ...]:
    return job.training.overlays if job.kind in TRAININGS else ()


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
    assert [training.epoch_at(share) for share in (1 / 3, 1 / 2, 2 / 3, 1)] == expected


def test_rows_are_selected():
    plan = planned('2', (Column('ntu60', 'xsub'),))
    bone = ['ntu60_xsub/aimclr_bone_seed0/eval/epoch_300']
    assert plan.select_jobs(['aimclr (ours) BONE']) == bone
    assert len(plan.select_jobs(['3s-*'])) == 2
    assert len(plan.select_jobs()) == 8
    with pytest.raises(ValueError, match=r"'nothing' matches no .*'3s-AimCLR \(Ours\)'"):
        plan.select_jobs(['nothing'])

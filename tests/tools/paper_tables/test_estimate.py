"""Facts of configs, and the estimate of a plan's time."""

import math

import pytest
from paper_tables import configs, estimate
from paper_tables.jobs import Options
from paper_tables.plan import METHODS, PROTOCOLS, make_plan
from paper_tables.published import TABLES, Column

from aimclr_mm.datasets import write_pickle
from tests.runs import ROOT


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('overlays', METHODS.values())
def test_pretraining_is_scaled(overlays):
    whole, short, least = (
        configs.resolve('synthetic_xsub', overlays, scale) for scale in (1.0, 0.1, 1e-9)
    )
    assert whole.epochs == whole.full == short.full
    assert (short.epochs, least.epochs) == (round(0.1 * whole.full), 1)
    assert short.digest == whole.digest


@pytest.mark.parametrize('overlays', PROTOCOLS.values())
def test_classifiers_keep_their_epochs(overlays):
    whole, short = (configs.resolve('synthetic_xsub', overlays, scale) for scale in (1.0, 0.1))
    assert short == whole and whole.epochs == whole.full


def test_digests_differ():
    overlays = {*METHODS.values(), *PROTOCOLS.values()}
    digests = {configs.resolve('synthetic_xsub', overlay).digest for overlay in overlays}
    assert len(digests) == len(overlays) == 15


def test_digest_ignores_what_changes_no_result():
    one = dict(model=dict(width=4), train=dict(num_workers=4, batch_size=8), log_level='INFO')
    two = dict(one, train=dict(num_workers=0, batch_size=8), log_level='DEBUG')
    assert configs.digest(one) == configs.digest(two)
    assert configs.digest(one) != configs.digest(dict(one, model=dict(width=5)))


def test_configs_are_found():
    printed = {column.site for table in TABLES.values() for column in table.columns}
    sites = configs.known_sites()
    assert {*printed, 'synthetic_xsub', 'utdmhad_xsub'} <= set(sites)
    assert 'ntu60_xsub_joint' not in sites


def test_time_is_estimated(monkeypatch):
    """Steps times seconds; trainings that differ in stream or seed only are measured once."""
    measured = []
    monkeypatch.setattr(
        estimate, 'measure', lambda training, *_: measured.append(training) or (2.0, 0.01)
    )
    monkeypatch.setattr(estimate, 'count_sequences', lambda site: (1000, 100))
    plan = make_plan(TABLES['7'], (Column('synthetic', 'xsub'),), Options((0,)), configs.resolve)
    estimator = estimate.Estimator(amp=False)

    trained = plan.jobs['synthetic_xsub/aimclr_bone_seed0']
    steps = trained.training.epochs * (1000 // 64)  # the last batch is dropped
    assert estimator.seconds(trained) == 2.0 * steps
    tested = next(job for job in plan.jobs.values() if job.kind == 'evaluation')
    assert estimator.seconds(tested) == 11.0

    semi = plan.jobs['synthetic_xsub/scratch_bone_seed0/semi_l0.1_draw0']
    batch = configs.read('synthetic_xsub', PROTOCOLS['semi']).train_dataloader.batch_size
    assert estimator.steps(semi) == math.ceil(100 / batch) * semi.training.epochs  # it is used

    lines, total = estimate.describe(list(plan.jobs.values()), estimator)
    assert len(lines) == len(plan.jobs) and total > estimator.seconds(trained)
    assert len(measured) == 3  # aimclr, crosclr, classifier


def test_sequences_are_counted(monkeypatch, tmp_path):
    """From the annotation file, else as published; large files of published data are not read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    assert estimate.count_sequences('ntu60_xsub') == (40091, 16487)
    assert estimate.count_sequences('ntu120_xset') == (54468, 59477)
    assert estimate.count_sequences('pkummdv1_xsub') == (18841, 2704)
    with pytest.raises(FileNotFoundError, match='prepare_data.py synthetic'):
        estimate.count_sequences('synthetic_xsub')

    path = tmp_path / 'data' / 'ntu60' / 'ntu60_3d.pkl'
    split = dict(xsub_train=['a', 'b', 'c'], xsub_val=['d'])
    write_pickle(dict(split=split, annotations=[]), str(path))
    assert estimate.count_sequences('ntu60_xsub') == (3, 1)
    with pytest.raises(ValueError, match="no split 'xview_train'"):
        estimate.count_sequences('ntu60_xview')
    monkeypatch.setattr(estimate, 'READABLE', 10)
    assert estimate.count_sequences('ntu60_xsub') == (40091, 16487)

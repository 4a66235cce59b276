"""Scaled schedules: each setting by hand, and the learning rates that mmengine makes of them."""

import copy

import pytest
import torch
from mmaction.registry import PARAM_SCHEDULERS
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper

from aimclr_mm.engine import StageSwitchHook, scale_schedule
from aimclr_mm.utils.overlays import read_config
from tests.configs.composed import FOLDER, PAPER

COSINE = dict(type='CosineAnnealingLR', T_max=240, by_epoch=True)


def config(epochs: int = 300, **settings) -> Config:
    """A config of a training; by default the paper's schedule."""
    return Config(
        dict(
            dict(
                train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=10),
                param_scheduler=[
                    dict(type='MultiStepLR', by_epoch=True, milestones=[250], gamma=0.1, end=10000)
                ],
                custom_hooks=[dict(type='EpochSeedHook'), dict(type='StageSwitchHook', epoch=150)],
                default_hooks=dict(
                    checkpoint=dict(type='CheckpointHook', interval=50, max_keep_ckpts=-1)
                ),
            ),
            **settings,
        )
    )


def scaled(cfg: Config, epochs: int) -> Config:
    """A scaled copy."""
    cfg = copy.deepcopy(cfg)
    scale_schedule(cfg, epochs)
    return cfg


def rates(cfg: Config, steps: int = 1) -> list[float]:
    """Learning rate in each epoch, of schedulers as the runner builds them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    wrapper, schedulers, result = OptimWrapper(optimizer), [], []
    for scheduler in cfg.param_scheduler:
        schedulers.append(
            PARAM_SCHEDULERS.build(
                dict(scheduler), default_args=dict(optimizer=wrapper, epoch_length=steps)
            )
        )
    for _ in range(cfg.train_cfg.max_epochs):
        result.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return result


def stage(cfg: Config) -> int:
    """Epoch of the stage switch."""
    return next(hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook')


@pytest.mark.parametrize(
    'epochs, milestone, switch, interval, checkpoint',
    [
        (300, 250, 150, 10, 50),
        (30, 25, 15, 1, 5),
        (60, 50, 30, 2, 10),
        (600, 500, 300, 20, 100),
        (6, 5, 3, 1, 1),
        (100, 83, 50, 3, 17),
        (1, 1, 0, 1, 1),
    ],
)
def test_schedule_of_the_paper(epochs, milestone, switch, interval, checkpoint):
    cfg = scaled(config(), epochs)
    assert cfg.train_cfg == dict(
        type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=interval
    )
    assert cfg.param_scheduler[0].milestones == [milestone] and cfg.param_scheduler[0].gamma == 0.1
    assert stage(cfg) == switch and cfg.custom_hooks[0] == dict(type='EpochSeedHook')
    assert cfg.default_hooks.checkpoint == dict(
        type='CheckpointHook', interval=checkpoint, max_keep_ckpts=-1
    )
    assert [rate < 0.5 for rate in rates(cfg)] == [epoch >= milestone for epoch in range(epochs)]


@pytest.mark.parametrize('epochs', [1, 7, 300, 451])
def test_share_of_everything_is_kept_within_half_an_epoch(epochs):
    cfg, whole = scaled(config(), epochs), config()
    pairs = [
        (stage(cfg), stage(whole)),
        (cfg.param_scheduler[0].milestones[0], 250),
        (cfg.param_scheduler[0].end, 10000),
    ]
    assert all(abs(new - old * epochs / 300) <= 0.5 for new, old in pairs)
    assert cfg.param_scheduler[0].end >= epochs  # a resumed run is not at a loss


def test_same_length_changes_nothing():
    for cfg in (config(), Config.fromfile(PAPER)):
        assert scaled(cfg, 300).to_dict() == cfg.to_dict()


@pytest.mark.parametrize('epochs', [240, 24, 480, 3])
def test_cosine_ends_at_zero(epochs):
    curve = rates(scaled(config(240, param_scheduler=[COSINE]), epochs))
    assert curve[0] == 1 and curve[-1] == pytest.approx(
        0.5 * (1 + torch.cos(torch.tensor(torch.pi * (epochs - 1) / epochs)).item()), abs=1e-6
    )
    assert all(a > b for a, b in zip(curve, curve[1:]))


def test_schedulers_one_after_the_other():
    parts = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=30),
        dict(type='CosineAnnealingLR', T_max=270, by_epoch=True, begin=30, end=300),
    ]
    cfg = scaled(config(param_scheduler=parts), 30)
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [
        (0, 3),
        (3, 30),
    ] and cfg.param_scheduler[1].T_max == 27
    curve = rates(cfg)
    assert (
        curve[0] == pytest.approx(0.1)
        and max(curve) == curve[3] == pytest.approx(1)
        and curve[-1] < 0.01
    )


def test_short_warm_up_of_a_short_training_can_be_built():
    parts = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=5),
        dict(type='CosineAnnealingLR', T_max=295, by_epoch=True, begin=5, end=300),
    ]
    assert len(rates(scaled(config(param_scheduler=parts), 10))) == 10


@pytest.mark.parametrize(
    'scheduler, name',
    [
        (dict(type='StepLR', step_size=100, gamma=0.1, by_epoch=True), 'step_size'),
        (
            dict(
                type='CosineRestartLR',
                periods=[100, 200],
                restart_weights=[1, 0.5],
                eta_min=0,
                by_epoch=True,
            ),
            'periods',
        ),
    ],
)
def test_other_schedulers_of_mmengine_keep_their_shape(scheduler, name):
    """A tenth of the epochs shows every tenth rate of the whole schedule."""
    whole = config(param_scheduler=[scheduler])
    assert rates(scaled(whole, 30)) == pytest.approx(rates(whole)[::10], abs=1e-6), name


def test_iterations_are_left_alone():
    parts = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500)]
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1000, by_epoch=False))
    cfg = scaled(config(param_scheduler=parts, default_hooks=hooks), 30)
    assert cfg.param_scheduler == parts and cfg.default_hooks == hooks


@pytest.mark.parametrize(
    'settings',
    [
        dict(param_scheduler=[]),
        dict(custom_hooks=[]),
        dict(default_hooks=dict(checkpoint=None)),
        dict(default_hooks=dict()),
        dict(param_scheduler=None),
        dict(custom_hooks=None),
        dict(param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[250])),
    ],
    ids=[
        'schedulers',
        'hooks',
        'checkpoint',
        'default_hooks',
        'scheduler_none',
        'hooks_none',
        'scheduler_dict',
    ],
)
def test_parts_may_be_missing(settings):
    cfg = scaled(config(**settings), 30)
    assert cfg.train_cfg.max_epochs == 30
    if isinstance(cfg.param_scheduler, ConfigDict):  # one scheduler need not stand in a list
        assert cfg.param_scheduler.milestones == [25]


@pytest.mark.parametrize('epochs', [0, -3])
def test_no_epochs(epochs):
    cfg = config()
    with pytest.raises(ValueError, match=f'--epochs {epochs}.*at least 1'):
        scale_schedule(cfg, epochs)
    assert cfg.to_dict() == config().to_dict()


@pytest.mark.parametrize(
    'stem, overlays, epochs, total',
    [
        ('aimclr_utdmhad_xsub_joint', [], 12, 240),
        ('aimclr_utdmhad_xsub_joint', ['protocols/finetune'], 10, 50),
        ('aimclr_ntu60_xsub_joint', ['schedules/keep_checkpoints'], 12, 300),
    ],
)
def test_configs_end_as_slowly_as_they_did(stem, overlays, epochs, total):
    cfg = read_config(str(FOLDER / f'{stem}.py'), [str(FOLDER / f'{name}.py') for name in overlays])
    assert cfg.train_cfg.max_epochs == total
    short = scaled(cfg, epochs)
    every = total // epochs
    first = [(epoch, rate) for epoch, rate in enumerate(rates(cfg)) if epoch % every == 0]
    assert [rate for _, rate in first] == pytest.approx(rates(short), abs=1e-6)
    for hook in short.custom_hooks:
        if hook.type == 'StageSwitchHook':
            assert StageSwitchHook(epoch=hook.epoch).epoch == epochs // 2
    if overlays == ['schedules/keep_checkpoints']:
        assert short.default_hooks.checkpoint.interval == 2

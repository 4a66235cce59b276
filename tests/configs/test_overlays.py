"""Overlays of the project: over several configs, they change what their names say, and train."""

import pytest
import torch
from mmengine.config import Config

from aimclr_mm.utils.overlays import read_config

from .composed import (
    FOLDER,
    OFFICIAL,
    PAPER,
    SYNTHETIC,
    UTD,
    composed,
    flatten,
    hooks,
    losses,
    overlay_files,
    shrink,
)

XSET = FOLDER / 'aimclr_ntu120_xset_bone.py'
every = pytest.mark.parametrize(
    'path',
    [
        pytest.param(
            path,
            id=path.stem.removeprefix('aimclr_'),
            marks=() if path == XSET else pytest.mark.slow,
        )
        for path in (UTD, XSET, OFFICIAL, SYNTHETIC)
    ],
)
VARIABLES = {  # names in overlays
    *('kept', 'views', 'streams', 'single', 'stage', 'stages', 'extreme', 'same', 'strong'),
    *('kinds', 'normal', 'width', 'epochs', 'total', 'warm_up', 'gone', 'mixing', 'others'),
    *('moved', 'length'),
}
SCHEDULE = {'model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks'}
PROTOCOL = {
    'model',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'val_evaluator',
    'test_evaluator',
    'custom_hooks',
}
CHANGES = {  # overlays, and the settings that they may change
    'methods/skeletonclr': {'model', 'custom_hooks'},
    'methods/crosclr': {'model'},
    'methods/aimclr_cross': {'model'},
    'methods/hiclr': {'model'},
    'methods/pstl': SCHEDULE,
    'methods/skelemix': {'model'},
    'methods/actclr': {'model', 'custom_hooks'},
    'methods/aimclr_pp': SCHEDULE - {'optim_wrapper'},
    'methods/skeletonclr methods/skelemix': {'model', 'custom_hooks'},
    'methods/hiclr methods/skelemix': {'model'},
    'methods/crosclr methods/skelemix': {'model'},
    'ablations/ea': {'model', 'custom_hooks'},
    'ablations/na_ea': {'model'},
    'ablations/na_ea_eadm': {'model'},
    'protocols/finetune': PROTOCOL,
    'protocols/finetune protocols/semi': PROTOCOL,
    'schedules/keep_checkpoints': {'default_hooks'},
    'backbones/stgcnpp': {'model'},
    'backbones/aagcn': {'model'},
    'runtime/mlflow': {'visualizer'},
    'runtime/tensorboard': {'visualizer'},
    'runtime/wandb': {'visualizer'},
    'backbones/stgcnpp methods/crosclr schedules/keep_checkpoints': {'model', 'default_hooks'},
    'backbones/aagcn protocols/finetune': PROTOCOL,
}


def test_table_has_every_overlay():
    paths = {path for path in FOLDER.glob('*/*.py') if path.parent.name != '_base_'}
    names = {f'{path.parent.name}/{path.stem}' for path in paths}
    assert names == {name for row in CHANGES for name in row.split()}


@every
@pytest.mark.parametrize('names', CHANGES)
def test_only_its_settings_change(path, names, tmp_path):
    """The dumped config, which tools/test.py takes, is the same."""
    cfg, base = composed(path, names), composed(path)
    assert cfg.train_dataloader.dataset.ann_file == base.train_dataloader.dataset.ann_file
    changed = {key for key in {**cfg, **base} if cfg.get(key) != base.get(key)}
    assert changed and changed - VARIABLES <= CHANGES[names]
    cfg.dump(str(tmp_path / 'dumped.py'))
    assert Config.fromfile(str(tmp_path / 'dumped.py')).to_dict() == cfg.to_dict()


@every
@pytest.mark.parametrize('names', [names for names in CHANGES if 'model' in CHANGES[names]])
def test_losses_are_finite(path, names):
    cfg = composed(path, names)
    shrink(cfg.model)
    for mining in (False, True):
        result, _ = losses(cfg, mining)
        assert any('loss' in name for name in result)
        assert all(torch.isfinite(value).all() for value in result.values())


@every
@pytest.mark.parametrize('method', ['crosclr', 'aimclr_cross'])
def test_methods_of_several_streams(path, method):
    cfg, base = composed(path, f'methods/{method}'), composed(path)
    views, single = dict(cfg.model.data_preprocessor), cfg.model.model
    assert cfg.model.type == 'CrossStream' and hooks(cfg) == hooks(base)
    assert cfg.model.streams == views['stream'] == ['joint', 'bone', 'motion']
    assert (cfg.model.topk, cfg.model.context) == (1, True)

    expected = dict(base.model.data_preprocessor, stream=views['stream'])
    if method == 'crosclr':
        expected.pop('extreme')
        assert single == {
            name: value
            for name, value in composed(path, 'methods/skeletonclr').model.items()
            if name != 'data_preprocessor'
        }
    else:
        assert dict(single, data_preprocessor=base.model.data_preprocessor) == base.model
    assert views == expected


@every
def test_finetune(path):
    cfg, base = composed(path, 'protocols/finetune'), composed(path)
    model, views, train = cfg.model, base.model.data_preprocessor, cfg.train_dataloader
    assert model.type == 'RecognizerGCN' and model.backbone == base.model.backbone
    assert model.cls_head.num_classes == base.num_classes == train.dataset.num_classes
    assert model.data_preprocessor == dict(
        type='LabeledViews', layout=views.layout, stream=views.stream, query=views.query
    )
    assert not train.drop_last and train.batch_size == base.train_dataloader.batch_size
    assert train.dataset.split == base.train_dataloader.dataset.split
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.split == base.test_dataloader.dataset.split[1]
        assert loader.dataset.num_classes == base.num_classes and loader.dataset.test_mode
    assert not {'MomentumUpdateHook', 'StageSwitchHook', 'CollapseMonitorHook'} & set(hooks(cfg))


@every
def test_semi_supervised(path):
    """Finetuning of a share of the training split in smaller batches."""
    cfg, semi = (
        composed(path, names)
        for names in ('protocols/finetune', 'protocols/finetune protocols/semi')
    )
    assert semi.model == cfg.model and semi.val_dataloader == cfg.val_dataloader
    dataset = dict(cfg.train_dataloader.dataset, fraction=0.1, fraction_seed=0)
    assert semi.train_dataloader == dict(cfg.train_dataloader, batch_size=16, dataset=dataset)


@pytest.mark.parametrize('path, interval', [(UTD, 40), (PAPER, 50), (SYNTHETIC, 5)])
def test_six_checkpoints_are_kept(path, interval):
    hook = composed(path, 'schedules/keep_checkpoints').default_hooks.checkpoint
    assert (hook.type, hook.max_keep_ckpts, hook.interval) == ('SafeCheckpointHook', -1, interval)
    assert composed(path).train_cfg.max_epochs // hook.interval == 6


@every
def test_skeletonclr_differs_from_aimclr_as_the_method_says(path):
    ours, theirs = composed(path, 'methods/skeletonclr'), composed(path)
    new, old = flatten(ours.model.to_dict()), flatten(theirs.model.to_dict())
    gone = {name for name in old if name not in new}
    extreme = {name for name in old if name.startswith('data_preprocessor.extreme.')}
    released = {'mining_reduction', 'eadm.unbiased'}
    assert gone - released == {'topk', 'eadm.type', 'eadm.keep_margin', *extreme}

    changed = {name for name, value in new.items() if old.get(name) != value}
    assert changed == {'type'} and ours.model.type == 'SkeletonCLR'
    assert [hook for hook in hooks(theirs) if hook != 'StageSwitchHook'] == hooks(ours)


@pytest.mark.parametrize('names', ['methods/skeletonclr', 'ablations/ea', 'methods/crosclr'])
def test_methods_keep_the_initialization_of_the_config(names):
    """The official config draws N(0, 0.02), which is not a part of AimCLR's method."""
    assert composed(OFFICIAL).model.init == 'released'
    model = composed(OFFICIAL, names).model
    assert model.get('model', model).get('init') == 'released'


@pytest.mark.parametrize('method', ['crosclr', 'aimclr_cross'])
def test_streams_over_a_config_without_a_second_stage(method):
    """Without a StageSwitchHook the streams would never learn from each other."""
    cfg = composed(PAPER, f'methods/skeletonclr methods/{method}')
    stages = [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook']
    assert stages == [150]


def test_protocol_over_a_method_without_a_single_encoder():
    with pytest.raises(ValueError, match='finetune.py'):
        read_config(str(UTD), overlay_files('methods/crosclr protocols/finetune'))

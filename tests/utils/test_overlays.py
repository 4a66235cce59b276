"""Overlays change the settings their names say, build, train, and are named in errors."""

import argparse
import copy
import os
import traceback
from functools import cache
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope

from aimclr_mm.apis import cli
from aimclr_mm.skeletons import get_layout
from aimclr_mm.utils import config_check
from aimclr_mm.utils.overlays import read_config
from tests.configs.test_configs import EXTREME, FOLDER, OFFICIAL, PAPER, flatten

slow = pytest.mark.slow
UTD, XSET = FOLDER / 'aimclr_utdmhad_xsub_joint.py', FOLDER / 'aimclr_ntu120_xset_bone.py'
SYNTHETIC = FOLDER / 'aimclr_synthetic_xsub_joint.py'
CONFIGS = [
    pytest.param(path, id=path.stem.removeprefix('aimclr_'), marks=() if path == XSET else slow)
    for path in (UTD, XSET, OFFICIAL, SYNTHETIC)
]
OWN = {'kept', 'views', 'streams', 'single'}  # names that an overlay computes with
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
    'ablations/ea': {'model', 'custom_hooks'},
    'ablations/na_ea': {'model'},
    'ablations/na_ea_eadm': {'model'},
    'protocols/finetune': PROTOCOL,
    'protocols/finetune protocols/semi': PROTOCOL,
    'schedules/keep_checkpoints': {'default_hooks'},
    'backbones/stgcnpp': {'model'},
    'backbones/aagcn': {'model'},
    'backbones/stgcnpp methods/crosclr schedules/keep_checkpoints': {'model', 'default_hooks'},
    'backbones/aagcn protocols/finetune': PROTOCOL,
}


def files(names: str) -> list[str]:
    """The overlays of a row of the table."""
    return [str(FOLDER / f'{name}.py') for name in names.split()]


@cache
def _composed(path: Path, names: str) -> Config:
    return read_config(str(path), files(names))


def composed(path: Path, names: str = '') -> Config:
    """A copy of the composed config, which is read once."""
    return copy.deepcopy(_composed(path, names))


def hooks(cfg: Config) -> list[str]:
    """Types of the custom hooks."""
    return [hook.type for hook in cfg.custom_hooks]


SMALL = {
    'FastSTGCN': dict(base_channels=8, out_channels=16),
    'ProjectionHead': dict(in_channels=16, out_channels=8),
    'SkeletonHead': dict(in_channels=16),
    'AimCLR': dict(queue_length=64),
    'SkeletonCLR': dict(queue_length=64),
    **dict.fromkeys(
        ('SkeletonSTGCN', 'SkeletonAAGCN'),
        dict(base_channels=8, num_stages=2, inflate_stages=[2], down_stages=[2]),
    ),
}


def shrink(value) -> None:
    """Makes all networks of a config small, with 16 channels at the end."""
    if isinstance(value, dict):
        value.update(SMALL.get(value.get('type'), {}))
        for item in value.values():
            shrink(item)


def losses(cfg: Config, mining: bool) -> dict:
    """Return the losses of a new model for random skeletons."""
    with DefaultScope.overwrite_default_scope('mmaction'):  # mmaction2's recognizers need one
        model = MODELS.build(cfg.model).train()
    model.mining = mining
    joints = get_layout(cfg.train_dataloader.dataset.layout).num_joints
    batch = dict(
        inputs=[torch.randn(1, 2, 8, joints, 3) for _ in range(3)],
        data_samples=[ActionDataSample().set_gt_label(i) for i in range(3)],
    )
    return model(**model.data_preprocessor(batch, training=True), mode='loss')


# what they change


def test_table_has_every_overlay():
    folders = ('methods', 'ablations', 'protocols', 'schedules', 'backbones')
    names = {
        f'{folder}/{path.stem}' for folder in folders for path in (FOLDER / folder).glob('*.py')
    }
    assert names == {name for row in CHANGES for name in row.split()}


@pytest.mark.parametrize('path', CONFIGS)
@pytest.mark.parametrize('names', CHANGES)
def test_overlay_changes_its_settings_only_and_gives_finite_losses(path, names, tmp_path):
    cfg, base = composed(path, names), composed(path)
    assert cfg.train_dataloader.dataset.ann_file == base.train_dataloader.dataset.ann_file
    changed = {key for key in {**cfg, **base} if cfg.get(key) != base.get(key)}
    assert changed and changed - OWN <= CHANGES[names]
    cfg.dump(str(tmp_path / 'dumped.py'))  # tools/test.py takes what a run has left
    assert Config.fromfile(str(tmp_path / 'dumped.py')).to_dict() == cfg.to_dict()
    shrink(cfg.model)
    for mining in (False, True):
        result = losses(cfg, mining)
        assert any('loss' in name for name in result)
        assert all(torch.isfinite(value).all() for value in result.values())


@pytest.mark.parametrize('path', CONFIGS)
@pytest.mark.parametrize('method', ['crosclr', 'aimclr_cross'])
def test_methods_of_several_streams(path, method):
    cfg, base = composed(path, f'methods/{method}'), composed(path)
    views, single = dict(cfg.model.data_preprocessor), cfg.model.model
    assert cfg.model.type == 'CrossStream' and cfg.model.streams == views['stream'] == [
        'joint',
        'bone',
        'motion',
    ]
    assert (cfg.model.topk, cfg.model.context) == (1, True) and hooks(cfg) == hooks(base)
    theirs = dict(base.model.data_preprocessor, stream=views['stream'])
    if method == 'crosclr':
        theirs.pop('extreme')
        assert single.type == 'SkeletonCLR'
        assert set(single) <= set(base.model) - {
            'eadm',
            'topk',
            'data_preprocessor',
            'mining_reduction',
        }
    else:
        assert dict(single, data_preprocessor=base.model.data_preprocessor) == base.model
    assert views == theirs
    for name in ('backbone', 'head', 'queue_length', 'temperature', 'momentum'):
        assert single[name] == base.model[name]


@pytest.mark.parametrize('path', CONFIGS)
def test_finetune(path):
    cfg, base = composed(path, 'protocols/finetune'), composed(path)
    model, views, train = cfg.model, base.model.data_preprocessor, cfg.train_dataloader
    assert model.type == 'RecognizerGCN' and model.backbone == base.model.backbone
    assert model.cls_head.num_classes == base.num_classes == train.dataset.num_classes
    assert model.data_preprocessor == dict(
        type='LabelledViews', layout=views.layout, stream=views.stream, query=views.query
    )
    assert not train.drop_last and train.batch_size == base.train_dataloader.batch_size
    assert train.dataset.split == base.train_dataloader.dataset.split
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.split == base.test_dataloader.dataset.split[1]
        assert loader.dataset.num_classes == base.num_classes and loader.dataset.test_mode
    assert not {'MomentumUpdateHook', 'StageSwitchHook', 'CollapseMonitorHook'} & set(hooks(cfg))
    semi = composed(path, 'protocols/finetune protocols/semi')
    assert semi.model == cfg.model and semi.val_dataloader == cfg.val_dataloader
    dataset = dict(train.dataset, fraction=0.1, fraction_seed=0)
    assert semi.train_dataloader == dict(
        train, batch_size=semi.train_dataloader.batch_size, dataset=dataset
    )


@pytest.mark.parametrize('path, interval', [(UTD, 40), (PAPER, 50), (SYNTHETIC, 5)])
def test_six_checkpoints_are_kept(path, interval):
    hook = composed(path, 'schedules/keep_checkpoints').default_hooks.checkpoint
    assert (
        hook.max_keep_ckpts == -1
        and hook.interval == interval
        and hook.type == 'SafeCheckpointHook'
    )
    assert composed(path).train_cfg.max_epochs // hook.interval == 6


ABLATED = {  # overlay, and the same by --cfg-options
    'ablations/na_ea': {'model.eadm': None, 'model.topk': 0},
    'ablations/na_ea_eadm': {'model.topk': 0},
}


@pytest.mark.parametrize('overlay', ABLATED)
def test_ablation_equals_its_overrides(overlay):
    """The same losses from the same weights and random numbers."""
    cfg, other = composed(PAPER), composed(PAPER, overlay)
    cfg.merge_from_dict(ABLATED[overlay])
    results, weights = [], None
    for c in (cfg, other):
        shrink(c.model)
        c.model.backbone.tcn_dropout = 0.0
        model = MODELS.build(c.model).train()
        weights = weights or copy.deepcopy(model.state_dict())
        model.load_state_dict(weights)
        torch.manual_seed(1)
        batch = dict(inputs=list(torch.randn(3, 1, 2, 8, 25, 3)), data_samples=[])
        results.append(model(**model.data_preprocessor(batch, training=True), mode='loss'))
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize('path', CONFIGS)
def test_skeletonclr_differs_from_aimclr_as_the_method_says(path):
    ours, theirs = (composed(path, names) for names in ('methods/skeletonclr', ''))
    new, old = flatten(ours.model.to_dict()), flatten(theirs.model.to_dict())
    gone = {name for name in old if name not in new}
    extreme = {name for name in old if name.startswith('data_preprocessor.extreme.')}
    assert gone - {'mining_reduction', 'eadm.unbiased'} == {
        'topk',
        'eadm.type',
        'eadm.keep_margin',
        *extreme,
    }
    changed = {name for name, value in new.items() if old.get(name) != value}
    assert changed == {'type'} and ours.model.type == 'SkeletonCLR'
    assert [hook for hook in hooks(theirs) if hook != 'StageSwitchHook'] == hooks(ours)


def test_extreme_views_alone_replace_query_and_key():
    """Table 1, "w/ EA"."""
    model = composed(PAPER, 'ablations/ea').model
    assert model.data_preprocessor.query == model.data_preprocessor.key == EXTREME
    model.data_preprocessor.update(
        {view: composed(PAPER).model.data_preprocessor[view] for view in ('query', 'key')}
    )
    assert model == composed(PAPER, 'methods/skeletonclr').model


@pytest.mark.parametrize('names', ['methods/skeletonclr', 'ablations/ea', 'methods/crosclr'])
def test_methods_keep_the_initialisation_of_the_config(names):
    """The official config draws N(0, 0.02), which is no part of AimCLR's method."""
    assert composed(OFFICIAL).model.init == 'released'
    model = composed(OFFICIAL, names).model
    assert model.get('model', model).get('init') == 'released'


@pytest.mark.parametrize('method', ['crosclr', 'aimclr_cross'])
def test_streams_over_a_config_without_a_second_stage(method):
    """A SkeletonCLR config has no StageSwitchHook, which cross-stream mining needs."""
    try:
        cfg = composed(PAPER, f'methods/skeletonclr methods/{method}')
    except ValueError as error:
        assert method in str(error)
    else:
        assert 'StageSwitchHook' in hooks(cfg)


# how they are read


BASE = 'a = 1\nb = dict(c=2, d=[3])\nmodel = dict(x=1)\n'


@pytest.fixture
def write(tmp_path):
    """Writes a config and returns its path."""

    def writer(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding='utf-8')
        return str(tmp_path / name)

    return writer


@pytest.mark.parametrize(
    'text',
    [
        "_base_ = 'gone.py'\nb = dict(c=_base_.a + 5)\n",
        "b = dict(c=_base_.a + 5)\n_base_ = 'gone.py'",
        "'''Doc.'''\n_base_ = [\n    'gone.py',\n    'too.py',\n]\n"
        'b = dict(\n    c=_base_.a + 5)\n',
        'b = dict(c=_base_.a + 5)\n',
        "x = '_base_ = 1'\n_base_ = ('gone.py')  # a comment\nb = dict(c=_base_.a + 5)\n",
        "# -*- coding: utf-8 -*-\n# \u00e9\n_base_ = '\u00e9.py'\nb = dict(c=_base_.a + 5)\n",
        "_base_ = 'gone.py'\r\nb = dict(c=_base_.a + 5)\r\n",
        "_base_ = 'gone.py'; b = dict(c=_base_.a + 5)\n",
        "'''Form\x0cfeed, line\u2028separator.'''\n_base_ = 'gone.py'\nb = dict(c=_base_.a + 5)\n",
    ],
)
def test_base_is_replaced_wherever_it_stands(write, text):
    cfg = read_config(write('base.py', BASE), [write('over.py', text)])
    assert (cfg.a, cfg.b, cfg.model) == (1, dict(c=6, d=[3]), dict(x=1))


def test_overlays_are_applied_in_their_order(write):
    base, one = (
        write('base.py', BASE),
        write('one.py', 'a = _base_.a + 1\nb = dict(_delete_=True, e=_base_.b.c)\n'),
    )
    two = write('two.py', "_base_ = 'one.py'\na = _base_.a * 10\n")
    assert read_config(base, [one, two]).a == 20 and read_config(base, [two, one]).a == 11
    assert read_config(base, [one]).b == dict(e=2)


@pytest.mark.parametrize(
    'overlays, name', [([], 'base'), (['one'], 'base_one'), (['one', 'two'], 'base_one_two')]
)
def test_names_of_file_and_work_dir(write, monkeypatch, overlays, name):
    monkeypatch.setenv('LOCAL_RANK', '0')
    for check in (
        'check_config',
        'check_options',
    ):  # this is no config that anything could be built from
        monkeypatch.setattr(config_check, check, lambda *_: None)
    base = write('base.py', BASE + 'env_cfg = dict()\nrandomness = dict(seed=0)\n')
    paths = [write(f'{overlay}.py', f'{overlay} = 1\na = _base_.a + 1\n') for overlay in overlays]
    assert os.path.basename(read_config(base, paths).filename) == f'{name}.py'
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    cli.add_run_options(parser)
    given = [base, *(['--with', *paths] if paths else []), '--cfg-options', 'b.c=9']
    cfg = cli.load_config(parser.parse_args(given))
    assert cfg.work_dir == os.path.join('work_dirs', name) and cfg.a == 1 + len(overlays)
    assert cfg.b == dict(c=9, d=[3])  # the command line has the last word
    assert cli.load_config(parser.parse_args([*given, '--work-dir', 'here'])).work_dir == 'here'


def test_lines_of_errors_are_those_of_the_overlay(write):
    text = (
        "'''Doc.'''\n_base_ = [\n    'gone.py',\n]\n\n"
        'b = dict(\n    c=1)\nmodel = dict(x=_base_.nothing.x)\n'
    )
    with pytest.raises(ValueError) as caught:
        read_config(write('base.py', BASE), [write('over.py', text)])
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert [frame.lineno for frame in frames if frame.filename.endswith('base_over.py')] == [8]
    with pytest.raises(ValueError, match='over.py.*line 9'):
        read_config(write('base.py', BASE), [write('over.py', text + 'y = (\n')])


@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(\n', "over.py' is not valid Python"),
        ('a = _base_.lr', "over.py' cannot be read.*lr"),
        ("a = _base_['lr']", "over.py' cannot be read.*lr"),
        ('a = _base_.a.b', "over.py' cannot be read"),
        ('a = undefined', "over.py' cannot be read.*undefined"),
        ('a = 1\n  b = 2', "over.py' is not valid Python"),
        ('model = dict(x=dict(_delete_=True, y=1))\na = dict(b=1)', 'over.py'),
        ('a = _base_.b.d[3]', 'over.py'),
        ('a = 1 / 0', 'over.py'),
        ('import gone_module', 'over.py'),
        ('a, b = 1, 2, 3', 'over.py'),
        ('a = 1\0', 'over.py'),
    ],
)
def test_errors_name_the_overlay(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_config(write('base.py', BASE), [write('fine.py', 'y = 1\n'), write('over.py', text)])


def test_overlay_that_is_no_text(tmp_path, write):
    (tmp_path / 'over.py').write_bytes(b'\xff\xfe\x00a = 1')
    with pytest.raises(ValueError, match='over.py'):
        read_config(write('base.py', BASE), [str(tmp_path / 'over.py')])


@pytest.mark.parametrize('missing', ['base', 'one', 'two'])
def test_missing_files_are_named(write, missing):
    paths = {name: write(f'{name}.py', 'a = 1\n') for name in ('base', 'one', 'two')}
    os.remove(paths[missing])
    with pytest.raises(FileNotFoundError, match=f'{missing}.py'):
        read_config(paths['base'], [paths['one'], paths['two']])


def test_config_with_a_syntax_error_is_named(write):
    with pytest.raises(ValueError, match="base.py' is not valid Python"):
        read_config(write('base.py', 'a = (\n'), [write('over.py', 'b = 1\n')])


def test_protocol_over_a_method_that_has_no_single_encoder():
    with pytest.raises(ValueError, match='finetune.py'):
        read_config(str(UTD), files('methods/crosclr protocols/finetune'))

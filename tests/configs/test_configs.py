"""Configs: they build and train, hold the paper's numbers, and differ only in what their names say."""

import ast
import io
import tokenize
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from aimclr_mm.datasets import write_pickle
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.overlays import read_config

FOLDER = Path(__file__).resolve().parents[2] / 'configs'
LEAVES = sorted(FOLDER.rglob('[!_]*.py')) if FOLDER.is_dir() else []
LEAVES = [path for path in LEAVES if path.parent == FOLDER]  # the folders hold bases and overlays
PAPER = FOLDER / 'aimclr_ntu60_xsub_joint.py'
OFFICIAL = FOLDER / 'aimclr_ntu60_xsub_joint_official.py'


def load(path: Path, **options) -> Config:
    """The config with a small queue and with further overrides, as --cfg-options gives them."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(
        {
            'model.queue_length': 64,
            **{key.replace('__', '.'): value for key, value in options.items()},
        }
    )
    return cfg


def losses(cfg: Config, mining: bool = False) -> tuple[dict, torch.nn.Module]:
    """What a fresh model returns for random skeletons of the config's layout, through its data preprocessor."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    model.mining = mining
    layout = get_layout(cfg.model.data_preprocessor.layout)
    shape = (1, 2, 8, layout.num_joints, cfg.model.backbone.in_channels)
    batch = dict(inputs=[torch.randn(shape) for _ in range(3)], data_samples=[])
    return model(**model.data_preprocessor(batch, training=True), mode='loss'), model


def flatten(value, name: str = '') -> dict:
    """Settings by their dotted name."""
    if isinstance(value, dict):
        return {
            k: v
            for key, item in value.items()
            for k, v in flatten(item, f'{name}.{key}'.lstrip('.')).items()
        }
    if isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        return {
            k: v
            for index, item in enumerate(value)
            for k, v in flatten(item, f'{name}.{index}').items()
        }
    return {name: value}


def differences(first: Path, second: Path) -> dict:
    """Settings of two configs that differ, as pairs; None stands for a missing one."""
    a, b = (flatten(Config.fromfile(path).to_dict()) for path in (first, second))
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def lines_of_code(text: str) -> int:
    """Lines that are neither empty nor comment nor docstring."""
    skipped = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line for t in tokens if t.type not in skipped for line in range(t.start[0], t.end[0] + 1)
    }
    body = ast.parse(text).body
    if body and ast.get_docstring(ast.parse(text)) is not None:
        lines -= set(range(body[0].lineno, body[0].end_lineno + 1))
    return len(lines)


def test_there_are_configs():
    assert {PAPER, OFFICIAL} <= set(LEAVES)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
@pytest.mark.parametrize('mining', [False, True], ids=['first_stage', 'second_stage'])
def test_config_builds_and_gives_finite_losses(path, mining):
    cfg = load(path)
    result, _ = losses(cfg, mining)
    assert any(name.startswith('loss') for name in result)
    for value in result.values():
        assert torch.isfinite(value) and value.dtype == torch.float32


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_parts_of_a_config_agree(path):
    cfg = Config.fromfile(path)
    layout = get_layout(cfg.model.data_preprocessor.layout)
    assert cfg.model.backbone.layout == cfg.model.data_preprocessor.layout
    assert cfg.model.backbone.in_channels == layout.dims + (path.stem.endswith('_2d'))
    assert cfg.model.head.in_channels == cfg.model.backbone.out_channels
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.layout == cfg.model.data_preprocessor.layout
        assert all(t.get('layout', layout.name) == layout.name for t in loader.dataset.preprocess)
        assert loader.dataset.ann_file == cfg.train_dataloader.dataset.ann_file
    assert (
        isinstance(cfg.train_dataloader.dataset.split, str)
        and len(cfg.test_dataloader.dataset.split) == 2
    )
    assert (
        cfg.train_dataloader.drop_last and cfg.train_dataloader.batch_size <= cfg.model.queue_length
    )
    assert cfg.train_dataloader.dataset.split == cfg.test_dataloader.dataset.split[0]
    stages = [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook']
    assert len(stages) == (cfg.model.type == 'AimCLR')
    for epoch in (
        *stages,
        *(m for scheduler in cfg.param_scheduler for m in scheduler.get('milestones', [])),
    ):
        assert epoch < cfg.train_cfg.max_epochs
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert {
        'EpochSeedHook',
        'MomentumUpdateHook',
        'CollapseMonitorHook',
        'PlainCheckpointHook',
    } <= set(hooks)
    assert len(set(hooks)) == len(hooks)
    assert cfg.num_classes > 1


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf_holds_at_most_twelve_lines(path):
    assert lines_of_code(path.read_text()) <= 12


def recordings(layout: Layout, score: bool) -> dict:
    """Five random sequences of different lengths in every split that a config may name, in pixels if they are 2-D."""
    rng = np.random.default_rng(0)
    scale = 1 if layout.dims == 3 else 200
    annotations = [
        dict(
            frame_dir=str(i),
            label=i % 3,
            total_frames=6 + i,
            keypoint=rng.normal(scale, scale, (1 + i % 2, 6 + i, layout.num_joints, layout.dims)),
        )
        for i in range(5)
    ]
    for annotation in annotations if score else ():
        annotation.update(
            keypoint_score=rng.random(annotation['keypoint'].shape[:3]), img_shape=(1080, 1920)
        )
    names = [annotation['frame_dir'] for annotation in annotations]
    return dict(
        annotations=annotations,
        split={
            f'{protocol}_{part}': names[:4] if part == 'train' else names[4:]
            for protocol in ('xsub', 'xview', 'xset')
            for part in ('train', 'val')
        },
    )


def put_recordings(cfg: Config, folder: Path) -> None:
    """Points the config's training data to recordings of its layout."""
    layout = get_layout(cfg.model.data_preprocessor.layout)
    write_pickle(
        recordings(layout, score=cfg.model.backbone.in_channels > layout.dims),
        str(folder / 'data.pkl'),
    )
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.ann_file = str(folder / 'data.pkl')


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_samples_have_the_shape_that_the_encoder_takes(path, tmp_path):
    cfg = Config.fromfile(path)
    put_recordings(cfg, tmp_path)
    train, test = (
        DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader)
    )
    assert (len(train), len(test)) == (4, 5) and [test[i]['data_samples'].role for i in (3, 4)] == [
        'gallery',
        'query',
    ]
    shapes = {tuple(dataset[i]['inputs'].shape) for dataset in (train, test) for i in (0, 1)}
    layout = get_layout(cfg.model.data_preprocessor.layout)
    assert len(shapes) == 1
    assert shapes.pop()[-2:] == (layout.num_joints, cfg.model.backbone.in_channels)
    assert (
        len(list((tmp_path / 'cache').glob('data-*/index.pkl'))) == 1
    )  # training and test share it


@pytest.mark.slow
@pytest.mark.parametrize(
    'path',
    [path for path in LEAVES if not path.stem.endswith(('_bone', '_motion'))],
    ids=lambda path: path.stem,
)
def test_two_training_steps_on_data_of_its_layout(path, tmp_path):
    cfg = load(
        path,
        train_cfg__max_epochs=1,
        train_dataloader__batch_size=2,
        train_dataloader__num_workers=0,
        train_dataloader__persistent_workers=False,
        work_dir=str(tmp_path / 'work'),
    )
    put_recordings(cfg, tmp_path)
    cfg.default_hooks.checkpoint = None
    cfg.update(
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        test_cfg=None,
        test_dataloader=None,
        test_evaluator=None,
        log_level='WARNING',
    )
    runner = Runner.from_cfg(cfg)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2 and runner.model.memory_bank.pointer == 4
    moved = [
        name
        for name, value in runner.model.named_parameters()
        if not torch.equal(value, before[name])
    ]
    assert any(name.startswith('encoder.') for name in moved)
    assert all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


def test_numbers_of_the_paper():
    cfg = Config.fromfile(PAPER)
    assert (cfg.model.temperature, cfg.model.queue_length, cfg.model.momentum) == (
        0.07,
        32768,
        0.999,
    )
    assert cfg.model.topk == 1 and cfg.model.eadm.keep_margin == 0.7
    assert cfg.model.head == dict(
        type='ProjectionHead', in_channels=256, hidden_channels=256, out_channels=128
    )
    assert (cfg.model.backbone.base_channels, cfg.model.backbone.out_channels) == (16, 256)
    assert cfg.model.backbone.tcn_dropout == 0.5
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
    assert cfg.train_cfg.max_epochs == 300
    assert cfg.param_scheduler == [
        dict(type='MultiStepLR', by_epoch=True, milestones=[250], gamma=0.1, end=10000)
    ]
    assert [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook'] == [150]
    assert cfg.train_dataloader.batch_size == 128 and cfg.train_dataloader.drop_last


def test_defaults_of_the_model_are_the_paper():
    model = MODELS.build(load(PAPER).model)
    assert (model.alpha, model.beta, model.mining_reduction, model.init) == (1, 1, 'sum', 'default')
    assert not model.eadm.unbiased and model.eadm.lam == 1e-4 and model.eadm.temporal == 'element'


def test_views_of_the_paper():
    views = Config.fromfile(PAPER).model.data_preprocessor
    normal = ['TemporalCrop', 'Shear']
    extreme = [
        *normal,
        'SpatialFlip',
        'Rotate',
        'GaussianNoise',
        'GaussianBlur',
        'AxisMask',
        'TemporalFlip',
    ]
    assert [[t.type for t in views[name]] for name in ('query', 'key', 'extreme')] == [
        normal,
        normal,
        extreme,
    ]
    model = MODELS.build(load(PAPER).model)
    crop, shear, flip, rotate, noise, blur, mask, reverse = model.data_preprocessor.views['extreme']
    assert (crop.padding_ratio, shear.amplitude, rotate.main_degrees, rotate.other_degrees) == (
        6,
        0.5,
        30,
        1,
    )
    assert (noise.std, blur.sigma, blur.taps, blur.normalized) == (0.01, (0.1, 2), 15, True)
    assert [t.p for t in (crop, shear, rotate)] == [1, 1, 1]
    assert [t.p for t in (flip, noise, blur, mask, reverse)] == [0.5] * 5


def test_official_variant_differs_in_the_table_of_deviations_only():
    changed = {
        name: pair
        for name, pair in differences(PAPER, OFFICIAL).items()
        if not name.startswith('extreme.')
    }
    last = 'model.data_preprocessor.extreme'
    assert changed == {
        'model.mining_reduction': (None, 'mean'),
        'model.init': (None, 'released'),
        'model.eadm.unbiased': (None, True),
        f'{last}.5.normalized': (None, False),
        f'{last}.7.type': ('TemporalFlip', None),
        f'{last}.7.p': (0.5, None),
    }


@pytest.mark.parametrize('stream', ['bone', 'motion'])
@pytest.mark.parametrize(
    'stem',
    [
        'ntu60_xsub',
        'ntu60_xview',
        'ntu120_xsub',
        'ntu120_xset',
        'pkummdv1_xsub',
        'pkummdv1_xview',
        'pkummdv2_xsub',
    ],
)
def test_streams_differ_in_the_stream_only(stem, stream):
    joint, other = (FOLDER / f'aimclr_{stem}_{name}.py' for name in ('joint', stream))
    assert differences(joint, other) == {'model.data_preprocessor.stream': ('joint', stream)}


EXTREME = Config.fromfile(PAPER).model.data_preprocessor.extreme
# Table 1: overlay, names of the losses in the first and in the second stage, extreme embeddings
ABLATIONS = {
    'normal': ('methods/skeletonclr', {'loss_info'}, {'loss_info'}, 0),
    'extreme_as_query': ('ablations/ea', {'loss_info'}, {'loss_info'}, 0),
    'normal_and_extreme': (
        'ablations/na_ea',
        {'loss_info', 'loss_d3m'},
        {'loss_info', 'loss_d3m'},
        1,
    ),
    'eadm': ('ablations/na_ea_eadm', {'loss_info', 'loss_d3m'}, {'loss_info', 'loss_d3m'}, 2),
    'nnm': (None, {'loss_info', 'loss_d3m'}, {'loss_nnm', 'loss_d3m'}, 2),
}


@pytest.mark.parametrize('row', ABLATIONS)
def test_ablations(row):
    overlay, first, second, extremes = ABLATIONS[row]
    cfg = read_config(str(PAPER), [] if overlay is None else [str(FOLDER / f'{overlay}.py')])
    cfg.model.queue_length = 64
    for mining, names in ((False, first), (True, second)):
        result, model = losses(cfg, mining)
        assert set(result) == names
    query = [type(t).__name__ for t in model.data_preprocessor.views['query']]
    assert query == (
        ['TemporalCrop', 'Shear'] if row != 'extreme_as_query' else [t.type for t in EXTREME]
    )
    assert ('extreme' in model.data_preprocessor.views) == (extremes > 0)
    if extremes:
        assert len(model.embed_extreme(torch.randn(2, 2, 16, 25, 3))) == extremes

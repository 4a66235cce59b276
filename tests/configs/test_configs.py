"""Every config: it builds, its parts agree, its data fit, it trains, and it is short."""

import ast
import io
import tokenize
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.runner import Runner

from aimclr_mm.datasets import write_pickle
from aimclr_mm.skeletons import Layout, get_layout

from .composed import GENERATED, LEAVES, OFFICIAL, PAPER, composed, hooks, losses

every = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def test_there_are_configs():
    assert {PAPER, OFFICIAL} <= set(LEAVES)


@every
@pytest.mark.parametrize('mining', [False, True], ids=['first_stage', 'second_stage'])
def test_losses_are_finite(path, mining):
    cfg = composed(path)
    cfg.model.queue_length = 64
    result, _ = losses(cfg, mining)
    assert any(name.startswith('loss') for name in result)
    for value in result.values():
        assert torch.isfinite(value) and value.dtype == torch.float32


@every
def test_layout_is_the_same_everywhere(path):
    cfg = composed(path)
    layout = get_layout(cfg.model.data_preprocessor.layout)
    assert cfg.model.backbone.layout == cfg.model.data_preprocessor.layout
    assert cfg.model.backbone.in_channels == layout.dims + path.stem.endswith('_2d')  # scores
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        dataset = loader.dataset
        assert dataset.layout == cfg.model.data_preprocessor.layout
        assert all(t.get('layout', layout.name) == layout.name for t in dataset.preprocess)


@every
def test_parts_agree(path):
    cfg = composed(path)
    assert cfg.model.head.in_channels == cfg.model.backbone.out_channels
    assert cfg.num_classes > 1

    train, test = cfg.train_dataloader, cfg.test_dataloader
    assert cfg.val_dataloader.dataset.ann_file == test.dataset.ann_file
    assert len(test.dataset.split) == 2
    if path not in GENERATED:
        assert test.dataset.ann_file == train.dataset.ann_file
        assert train.dataset.split == test.dataset.split[0]
    assert train.drop_last and train.batch_size <= cfg.model.queue_length


@every
def test_schedule_fits_the_epochs(path):
    cfg = composed(path)
    stages = [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook']
    milestones = [m for scheduler in cfg.param_scheduler for m in scheduler.get('milestones', [])]
    assert len(stages) == (cfg.model.type == 'AimCLR')
    assert all(epoch < cfg.train_cfg.max_epochs for epoch in stages + milestones)


@every
def test_hooks(path):
    names = hooks(composed(path))
    needed = {'EpochSeedHook', 'MomentumUpdateHook', 'CollapseMonitorHook', 'PlainCheckpointHook'}
    assert needed <= set(names) and len(set(names)) == len(names)


def lines_of_code(text: str) -> int:
    """Return the number of lines that are not empty, a comment or the docstring."""
    skipped = 'COMMENT NL NEWLINE INDENT DEDENT ENDMARKER'.split()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if tokenize.tok_name[token.type] not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    module = ast.parse(text)
    if ast.get_docstring(module) is not None:
        lines -= set(range(module.body[0].lineno, module.body[0].end_lineno + 1))
    return len(lines)


@every
def test_leaf_has_at_most_twelve_lines(path):
    assert lines_of_code(path.read_text()) <= 12


def recordings(layout: Layout, score: bool) -> dict:
    """Return five random sequences of different lengths in all splits; 2-D ones in pixels."""
    rng = np.random.default_rng(0)
    scale = 1 if layout.dims == 3 else 200
    annotations = []
    for i in range(5):
        shape = (1 + i % 2, 6 + i, layout.num_joints, layout.dims)
        annotation = dict(
            frame_dir=str(i),
            label=i % 3,
            total_frames=6 + i,
            keypoint=rng.normal(scale, scale, shape),
        )
        if score:
            annotation.update(keypoint_score=rng.random(shape[:3]), img_shape=(1080, 1920))
        annotations.append(annotation)

    names = [annotation['frame_dir'] for annotation in annotations]
    split = {}
    for protocol in ('xsub', 'xview', 'xset'):
        split |= {f'{protocol}_train': names[:4], f'{protocol}_val': names[4:]}
    return dict(annotations=annotations, split=split)


def use_recordings(cfg: Config, folder: Path) -> Layout:
    """Let a config load random recordings of its layout; return the layout."""
    layout = get_layout(cfg.model.data_preprocessor.layout)
    score = cfg.model.backbone.in_channels > layout.dims
    write_pickle(recordings(layout, score), str(folder / 'data.pkl'))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        if 'ann_file' in loader.dataset:
            loader.dataset.ann_file = str(folder / 'data.pkl')
    return layout


@pytest.mark.parametrize('path', GENERATED, ids=lambda path: path.stem)
def test_generated_pairs_have_the_shape_of_the_test_data(path, tmp_path):
    cfg = composed(path)
    use_recordings(cfg, tmp_path)
    train, test = (
        DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader)
    )
    pairs = train.__getitems__([0, 1, 2]).inputs  # (N, 2, M, T, V, C)
    assert pairs.shape[:3] == (3, 2, 1)  # test data may have two people
    assert pairs.shape[3:] == test[0]['inputs'].shape[2:]
    assert pairs.shape[-1] == cfg.model.backbone.in_channels


@pytest.mark.parametrize(
    'path', [path for path in LEAVES if path not in GENERATED], ids=lambda path: path.stem
)
def test_samples_have_the_shape_that_the_encoder_takes(path, tmp_path):
    cfg = composed(path)
    layout = use_recordings(cfg, tmp_path)
    train, test = (
        DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader)
    )
    assert (len(train), len(test)) == (4, 5)
    assert [test[i]['data_samples'].role for i in (3, 4)] == ['gallery', 'query']

    shapes = {tuple(dataset[i]['inputs'].shape) for dataset in (train, test) for i in (0, 1)}
    (shape,) = shapes
    assert shape[-2:] == (layout.num_joints, cfg.model.backbone.in_channels)
    caches = list((tmp_path / 'cache').glob('data-*/index.pkl'))
    assert len(caches) == 1  # training and test share it


@pytest.mark.slow
@pytest.mark.parametrize(
    'path',
    [path for path in LEAVES if not path.stem.endswith(('_bone', '_motion'))],
    ids=lambda path: path.stem,
)
def test_two_training_steps(path, tmp_path):
    cfg = composed(path)
    use_recordings(cfg, tmp_path)
    cfg.model.queue_length = 64
    cfg.train_cfg.max_epochs = 1
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    if path in GENERATED:
        cfg.train_dataloader.dataset.length = 4
    cfg.default_hooks.checkpoint = None
    cfg.update(work_dir=str(tmp_path / 'work'), log_level='WARNING')
    parts = [f'{stage}_{part}' for stage in ('val', 'test') for part in ('cfg', 'dataloader')]
    cfg.update(dict.fromkeys([*parts, 'val_evaluator', 'test_evaluator']))

    runner = Runner.from_cfg(cfg)
    model = runner.model
    before = {name: value.clone() for name, value in model.named_parameters()}
    runner.train()
    assert runner.iter == 2 and model.memory_bank.pointer == 4
    moved = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    assert any(name.startswith('encoder.') for name in moved)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())

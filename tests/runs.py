"""Trainings for tests: a toy model in this process, and the real command in forked processes."""

import json
import multiprocessing
import os
import random
import runpy
import socket
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from mmaction.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner, runner
from torch import nn

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
_base_ = ['{root}/configs/_base_/default_runtime.py', '{root}/configs/_base_/aimclr.py']
preprocess = [
    dict(type='CenterSkeleton'), dict(type='ResizeClip', length=4),
    dict(type='FormatGCNInput', num_person=1)]
train_dataloader = dict(
    batch_size=8, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='SkeletonDataset', ann_file='{data}', layout='ntu25', split='xsub_train',
        preprocess=preprocess,
        pipeline=[dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role'))]))
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
model = dict(
    backbone=dict(base_channels=2, out_channels=4), head=dict(in_channels=4, hidden_channels=4),
    queue_length=40, momentum=0.9)
custom_hooks = [
    dict(h, epoch=2) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=1))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[3], gamma=0.1, end=100)]
train_cfg = dict(max_epochs=6)
"""


def write_config(folder: Path, text: str = '') -> Path:
    """Write data of 42 training sequences (5 batches) and a config, extended by ``text``."""
    write_pickle(Synthetic((), 2, 3, 1).dataset(), str(folder / 'data.pkl'))
    (folder / 'tiny.py').write_text(CONFIG.format(root=ROOT, data=folder / 'data.pkl') + text)
    return folder / 'tiny.py'


def environment(**variables: str) -> dict[str, str]:
    """Return an environment with one thread and this package."""
    return {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        'PYTHONPATH': f'{ROOT}',
        **variables,
    }


def command(tool: str, arguments: list[str], log: str, variables: dict[str, str]) -> None:
    """Run a tool in this process, with its output in a file."""
    os.environ.update(variables)
    os.setpgrp()  # its own process group, for signals
    with open(log, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    runner.collect_env = dict  # slow, and irrelevant here
    # Python, as mmengine writes it, without its slow formatting
    Config.pretty_text = property(
        lambda self: '\n'.join(f'{key} = {value!r}' for key, value in self.to_dict().items())
    )
    sys.argv = [tool, *arguments]
    runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


def call_tool(tool: str, *arguments) -> None:
    """Run ``main`` of a tool in this process; its errors pass through."""
    before, sys.argv = sys.argv, [tool, *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='tool')['main']()
    finally:
        sys.argv = before


def start(
    config: Path, work_dir: Path, *options: str, tool: str = 'train.py', **variables: str
) -> multiprocessing.Process:
    """Start a training, or another tool, in a fork of a process that has imported everything.

    It runs on the CPU, where the same seed gives the same bits and any number of ranks fits.
    """
    variables.setdefault('CUDA_VISIBLE_DEVICES', '')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(
        ['aimclr_mm', 'tests.runs', 'torch._dynamo', 'matplotlib.pyplot']
    )
    arguments = [str(config), '--work-dir', str(work_dir), *options]
    process = context.Process(target=command, args=(tool, arguments, f'{work_dir}.log', variables))
    with patch.dict(os.environ, environment()):  # of the server that the first process starts
        process.start()
    return process


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def start_ranks(
    world: int, config: Path, work_dir: Path, *options: str
) -> list[multiprocessing.Process]:
    """Start a training on several ranks; rank r logs to ``<work_dir>-r.log``."""
    common = dict(WORLD_SIZE=str(world), MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    options = ('--launcher', 'pytorch', *options, '--work-dir', str(work_dir))
    return [
        start(
            config,
            Path(f'{work_dir}-{rank}'),
            *options,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            **common,
        )
        for rank in range(world)
    ]


def finish(process: multiprocessing.Process, seconds: float = 120) -> int:
    """Wait for the end; return the exit code."""
    process.join(seconds)
    assert process.exitcode is not None, 'the process did not end'
    return process.exitcode


def wait_for(condition, process=None, seconds: float = 60):
    """Wait until a condition is true while a process runs; return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'the condition did not become true'
        assert process is None or alive(process), 'the process has ended'
        time.sleep(0.002)
    return value


def alive(process) -> bool:
    """Return whether a process of multiprocessing or subprocess runs."""
    return process.is_alive() if hasattr(process, 'is_alive') else process.poll() is None


def saved_iterations(work_dir: Path) -> list[int]:
    """Return the iterations of the checkpoints in a folder."""
    return sorted(int(path.stem.split('_')[1]) for path in work_dir.glob('iter_*.pth'))


def leaves(value, name: str = '') -> dict:
    """Return the leaves of nested containers by path, tensors as lists."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            path: leaf
            for key, item in items
            for path, leaf in leaves(item, f'{name}/{key}').items()
        }
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value}


def assert_same(
    path: Path, other: Path, parts=('state_dict', 'optimizer', 'param_schedulers')
) -> dict:
    """Assert that two checkpoints are equal bit for bit; return the first."""
    first, second = (torch.load(p, weights_only=True) for p in (path, other))
    assert (
        first['meta']['iter'] == second['meta']['iter']
        and first['meta']['epoch'] == second['meta']['epoch']
    )
    for part in parts:
        one, two = leaves(first[part]), leaves(second[part])
        assert one.keys() == two.keys() and len(one) > 0, part
        for name, value in one.items():
            assert value == two[name], (part, name)
    return first


def losses(work_dir: Path) -> dict[int, float]:
    """Return the smoothed loss by iteration, over all runs in a folder."""
    lines = [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {line['step']: line['loss'] for line in lines if 'loss' in line}


# a toy model in this process


class ToyData:
    """Eleven numbers plus noise of every random generator, drawn when they are fetched."""

    ann_file, metainfo = None, {}

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> dict:
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return dict(inputs=torch.tensor([index + noise, noise]))


class ToyModel(BaseModel):
    """Batch norm, dropout and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 3))

    def forward(self, inputs: list, mode: str = 'loss'):
        """Return a loss, or the outputs in validation."""
        output = self.layers(torch.stack(inputs))
        return dict(loss=output.square().mean()) if mode == 'loss' else list(output)


class Falling(BaseMetric):
    """A metric that improves each time."""

    calls = 0

    def process(self, *_) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        self.calls += 1
        return dict(score=-self.calls)


VALIDATION = dict(
    val_dataloader=dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='ToyData'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    ),
    val_cfg=dict(type='ValLoop'),
    val_evaluator=[],
)


def register_toys() -> None:
    """Register the toy dataset, model and metric."""
    DATASETS.register_module(module=ToyData, force=True)
    MODELS.register_module(module=ToyModel, force=True)
    METRICS.register_module(module=Falling, force=True)


def toy_runner(
    work_dir: Path, resume: bool = False, hooks: list = (), checkpoint: dict | None = None, **cfg
) -> Runner:
    """Return a runner of two epochs of five batches, with the hooks of the default runtime."""
    register_toys()
    loader = dict(batch_size=2, num_workers=0, drop_last=True, dataset=dict(type='ToyData'))
    base = dict(
        model=dict(type='ToyModel'),
        work_dir=str(work_dir),
        resume=resume,
        default_scope='mmaction',
        train_dataloader=dict(**loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1], end=9)],
        default_hooks=dict(
            checkpoint=checkpoint or dict(type='SafeCheckpointHook', interval=1),
            divergence=dict(type='DivergenceHook'),
            provenance=dict(type='ProvenanceHook'),
        ),
        custom_hooks=[dict(type='EpochSeedHook'), dict(type='PlainCheckpointHook')],
        randomness=dict(seed=3),
        log_level='WARNING',
        experiment_name=f'{work_dir.name}_{time.monotonic_ns()}',
    )
    base.update(cfg)
    result = Runner.from_cfg(Config(base))
    for hook in hooks:
        result.register_hook(hook)
    return result

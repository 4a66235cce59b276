"""Whole commands on a tiny data set: train, resume, evaluate, two ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from tests.runs import free_port, leaves

ROOT = Path(__file__).resolve().parents[2]
BATCH, QUEUE = 16, 64
pytestmark = pytest.mark.slow

CONFIG = """
_base_ = ['{root}/configs/_base_/default_runtime.py', '{root}/configs/_base_/aimclr.py']
preprocess = [
    dict(type='CenterSkeleton'),
    dict(type='ResizeClip', length=16),
    dict(type='AlignShoulders'),
    dict(type='FormatGCNInput', num_person=2),
]
pipeline = [dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role'))]
dataset = dict(
    type='SkeletonDataset',
    ann_file='{data}',
    layout='ntu25',
    preprocess=preprocess,
    pipeline=pipeline,
    hint='Bake it first.',
)
train_dataloader = dict(
    batch_size={batch},
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='xsub_train'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['xsub_train', 'xsub_val'], test_mode=True),
)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(layout='ntu25'),
    backbone=dict(base_channels=4, out_channels=8),
    head=dict(in_channels=8, hidden_channels=8),
    queue_length={queue},
    momentum=0.9,
)
custom_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='MomentumUpdateHook'),
    dict(type='StageSwitchHook', epoch=2),
    dict(type='CollapseMonitorHook', interval=1, patience=1),
    dict(type='PlainCheckpointHook'),
]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[3], gamma=0.1, end=100)]
train_cfg = dict(max_epochs=4, val_interval=2)
val_evaluator = [dict(type='KNNMetric', k=[1])]
test_evaluator = [
    dict(type='KNNMetric', k=[1, 5]),
    dict(type='LinearProbeMetric', epochs=5, milestones=(4,)),
]
"""

RANKS = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['aimclr_mm', 'dump_hook'], allow_failed_imports=False)
custom_hooks = [*_base_.custom_hooks, dict(type='DumpHook')]
train_cfg = dict(max_epochs=10)
model = dict(queue_length=72)
"""

DUMP = '''
import os, torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class DumpHook(Hook):
    """Saves what a rank holds at the end."""
    priority = 'LOWEST'

    def after_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        torch.save(dict(state=model.state_dict(), iterations=runner.iter),
                   os.path.join(runner.work_dir, f'rank{os.environ["RANK"]}.pth'))
'''


def run(*command, check: bool = True, **environment) -> subprocess.CompletedProcess:
    """Runs a command in the repository with one thread."""
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHON': sys.executable,
        'PYTHONPATH': str(ROOT),
        **environment,
    }
    result = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
    )
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def train(config: Path, work_dir: Path, *options) -> None:
    """tools/train.py."""
    run(sys.executable, 'tools/train.py', config, '--work-dir', work_dir, *options)


def evaluate(config: Path, checkpoint, folder: Path, *options) -> dict[str, float]:
    """tools/test.py; returns the metrics of its JSON file."""
    out = folder / 'result' / 'metrics.json'
    run(
        sys.executable,
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--out',
        out,
        *options,
    )
    return json.loads(out.read_text())['metrics']


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A folder with data (168 sequences, 84 to train on), the config and a hook."""
    path = tmp_path_factory.mktemp('commands')
    write_pickle(Synthetic((), 4, 3, 1).dataset(), str(path / 'data.pkl'))
    (path / 'tiny.py').write_text(
        CONFIG.format(root=ROOT, data=path / 'data.pkl', batch=BATCH, queue=QUEUE)
    )
    (path / 'ranks.py').write_text(RANKS)
    (path / 'dump_hook.py').write_text(DUMP)
    return path


@pytest.fixture(scope='module')
def trained(folder) -> Path:
    """Work directory of a run of four epochs without a stop."""
    train(folder / 'tiny.py', folder / 'whole')
    return folder / 'whole'


def scalars(work_dir: Path) -> dict[int, dict]:
    """The logged losses of all runs in a work directory, by iteration."""
    lines = [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {
        line['step']: {
            name: value
            for name, value in line.items()
            if 'loss' in name or name in ('lr', 'cosine')
        }
        for line in lines
        if 'loss' in line
    }


def test_train_and_evaluate(folder, trained):
    config = folder / 'tiny.py'
    assert {'epoch_2.pth', 'epoch_4.pth', 'tiny.py'} <= {path.name for path in trained.iterdir()}
    learned = evaluate(config, trained / 'epoch_4.pth', folder, '--eval', 'knn', 'linear')
    assert {
        'knn/top1',
        'knn/top1_k5',
        'linear/top1',
        'linear/best_top1',
        'linear/best_epoch',
    } <= set(learned)
    assert (
        all(0 <= value <= 100 for value in learned.values())
        and learned['linear/best_top1'] >= learned['linear/top1']
    )
    untrained = evaluate(config, 'random', folder, '--eval', 'knn', '--seed', '1')
    raw = evaluate(config, 'raw', folder, '--eval', 'knn')
    assert set(untrained) == set(raw) == {'knn/top1', 'knn/top5', 'knn/top1_k1', 'knn/top1_k5'}
    assert raw['knn/top1'] > 100 / 14


def test_resumed_run_equals_one_that_never_stopped(folder, trained):
    work_dir = folder / 'stopped'
    train(folder / 'tiny.py', work_dir, '--cfg-options', 'train_cfg.max_epochs=2')
    train(folder / 'tiny.py', work_dir, '--resume')
    whole, resumed = (
        torch.load(path / 'epoch_4.pth', weights_only=True) for path in (trained, work_dir)
    )
    assert list(whole['state_dict']) == list(resumed['state_dict'])
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
    assert whole['state_dict']['memory_bank.pointer'] == 4 * 5 * BATCH % QUEUE
    for key in ('optimizer', 'param_schedulers'):
        assert leaves(whole[key]) == leaves(resumed[key]), key
    logs, others = scalars(trained), scalars(work_dir)
    assert sorted(logs) == sorted(others) == list(range(1, 21))
    for step in range(11, 21):
        assert logs[step] == others[step] and 'loss_nnm' in logs[step]
    assert 'loss_info' in logs[1]


def test_two_ranks_stay_equal(folder):
    work_dir = folder / 'ranks'
    run(
        'bash',
        'tools/dist_train.sh',
        folder / 'ranks.py',
        2,
        '--work-dir',
        work_dir,
        '--no-validate',
        PORT=free_port(),
        PYTHONPATH=f'{ROOT}{os.pathsep}{folder}',
    )
    first, second = (torch.load(work_dir / f'rank{rank}.pth', weights_only=True) for rank in (0, 1))
    assert first['iterations'] == second['iterations'] == 20
    assert first['state']['memory_bank.pointer'] == 2 * BATCH * 20 % 72 != 0
    weights = [name for name in first['state'] if 'running_' not in name]
    assert {name.split('.')[0] for name in weights} == {'encoder', 'key_encoder', 'memory_bank'}
    for name in weights:
        assert torch.equal(first['state'][name], second['state'][name]), name


def test_failure_of_a_rank_ends_the_job_with_a_message(folder):
    """Each rank reports its error once; the launcher adds one line and no traceback."""
    result = run(
        'bash', 'tools/dist_train.sh', folder / 'gone.py', 2, PORT=free_port(), check=False
    )
    assert result.returncode != 0 and 'Traceback' not in result.stdout + result.stderr
    assert (
        'gone.py' in result.stderr
        and 'failed with exit code 1; its message is above' in result.stderr
    )
    refused = run('bash', 'tools/dist_train.sh', folder / 'tiny.py', 'two', check=False)
    assert refused.returncode != 0 and "the number of processes is 'two'" in refused.stderr

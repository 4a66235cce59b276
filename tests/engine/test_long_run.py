"""Memory and open files do not grow over a long training.

``LONG_RUN=20000 pytest -m slow tests/engine/test_long_run.py`` runs 20,000 steps, which takes
minutes; the default is 2,000.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic

ROOT = Path(__file__).resolve().parents[2]
STEPS = int(os.environ.get('LONG_RUN', '2000'))
pytestmark = pytest.mark.slow

# every event of a training happens often: epochs, stages, checkpoints, validations, log lines
CONFIG = """
_base_ = ['{root}/configs/_base_/default_runtime.py', '{root}/configs/_base_/aimclr.py']
custom_imports = dict(imports=['aimclr_mm', 'long_run'], allow_failed_imports=False)
normal = [dict(type='TemporalCrop', padding_ratio=6), dict(type='Shear', amplitude=0.5)]
preprocess = [
    dict(type='CenterSkeleton'), dict(type='ResizeClip', length=4),
    dict(type='FormatGCNInput', num_person=1)]
dataset = dict(
    type='SkeletonDataset', ann_file='{data}', layout='ntu25', pipeline=[], preprocess=preprocess,
    batched=True)
train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='xsub_train'))
val_dataloader = dict(
    batch_size=42, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        dataset, split=['xsub_train', 'xsub_val'], test_mode=True, batched=False,
        pipeline=[dict(type='PackActionInputs', meta_keys=('frame_dir', 'split', 'role'))]))
model = dict(
    data_preprocessor=dict(query=normal, key=normal, extreme=normal),
    backbone=dict(_delete_=True, type='OneLayer'), head=dict(in_channels=2, hidden_channels=2),
    queue_length=64)
custom_hooks = [*_base_.custom_hooks, dict(type='WatchHook')]
default_hooks = dict(checkpoint=dict(interval=5), logger=dict(interval=10))
train_cfg = dict(max_epochs={epochs}, val_interval=25)
val_evaluator = [dict(type='KNNMetric', k=[1])]
test_cfg = test_evaluator = None
"""

PARTS = '''
import json, os
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS

@MODELS.register_module()
class OneLayer(torch.nn.Sequential):
    """A very fast backbone: (N, M, T, V, C) -> (N, M, 2, T, V)."""

    def __init__(self):
        super().__init__(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))

    def forward(self, x):
        return super().forward(x).permute(0, 1, 4, 2, 3)

@HOOKS.register_module()
class WatchHook(Hook):
    """Record the memory and the number of open files after every epoch."""
    priority = 'LOWEST'

    def before_train(self, runner):
        self.seen = []

    def after_train_epoch(self, runner):
        pages = int(open('/proc/self/statm').read().split()[1])
        memory = pages * os.sysconf('SC_PAGE_SIZE') / 2**20
        self.seen.append((runner.iter, memory, len(os.listdir('/proc/self/fd'))))

    def after_train(self, runner):
        with open(os.path.join(runner.work_dir, 'seen.json'), 'w') as file:
            json.dump(self.seen, file)
'''


@pytest.mark.skipif(
    not os.path.isdir('/proc/self/fd'), reason='memory and open files are counted in /proc'
)
def test_memory_and_open_files_do_not_grow(tmp_path):
    write_pickle(Synthetic((), 2, 3, 1).dataset(), str(tmp_path / 'data.pkl'))
    (tmp_path / 'long_run.py').write_text(PARTS)
    (tmp_path / 'tiny.py').write_text(
        CONFIG.format(root=ROOT, data=tmp_path / 'data.pkl', epochs=STEPS // 10)
    )
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}',
    }
    result = subprocess.run(
        [sys.executable, 'tools/train.py', tmp_path / 'tiny.py', '--work-dir', tmp_path / 'work'],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    iterations, memory, files = np.array(
        json.loads((tmp_path / 'work' / 'seen.json').read_text())
    ).T
    assert iterations[-1] == STEPS == 10 * len(iterations)
    warm = len(memory) // 4
    figures = (
        f'{memory[warm]:.1f} MiB after {iterations[warm]:.0f} steps, '
        f'{memory[-1]:.1f} after {iterations[-1]:.0f}'
    )
    print(f'{figures}; {files[warm]:.0f} and {files[-1]:.0f} open files')
    assert memory[-1] - memory[warm] < 8, figures
    assert files[warm:].max() == files[warm:].min()

"""tools/reproduce.py as a whole on a tiny data set: killed, started again, refused."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

CONFIG = """
_base_ = 'aimclr_synthetic_xsub_joint.py'
steps = [dict(p, length=8) if p['type'] == 'ResizeClip' else p for p in _base_.dataset.preprocess]
data = dict(ann_file='data/tiny/tiny_3d.pkl', preprocess=steps, hint='Bake it first.')
train_dataloader = dict(batch_size=32, dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
model = dict(backbone=dict(base_channels=4, out_channels=8), head=dict(in_channels=8, hidden_channels=8),
             queue_length=32)
train_cfg = dict(max_epochs=6, val_interval=3)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=6, by_epoch=True)]
val_evaluator = [dict(type='KNNMetric', k=[1])]
test_evaluator = [dict(type='KNNMetric', k=[1]), dict(type='LinearProbeMetric', epochs=5, milestones=(4,))]
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """The tools and configs beside a data set of 84 sequences to train on."""
    folder = tmp_path_factory.mktemp('project')
    for name in ('tools', 'configs'):
        shutil.copytree(ROOT / name, folder / name)
    (folder / 'configs' / 'aimclr_tiny_xsub_joint.py').write_text(CONFIG)
    write_pickle(Synthetic((), 4, 3, 1).dataset(), str(folder / 'data' / 'tiny' / 'tiny_3d.pkl'))
    return folder


def start(project: Path, *arguments: str) -> subprocess.Popen:
    """Starts the command with one thread and no GPU."""
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHONPATH': str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, str(project / 'tools' / 'reproduce.py'), *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, *arguments: str, code: int = 0) -> str:
    """Runs the command to its end; returns what it printed."""
    process = start(project, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def test_stopped_and_started_again(project):
    """Stopped at any moment, the command ends with the table of one that was left alone."""
    table = (
        '2',
        '--dataset',
        'tiny',
        '--seeds',
        '0',
        '--rows',
        'AimCLR (Ours) joint',
        '--workers',
        '2',
        '--work-dir',
    )
    output = run(project, *table, 'whole')
    name = 'table2_tiny_xsub.csv'
    whole = (project / 'whole' / name).read_text()
    assert (
        'AimCLR (Ours) joint' in output
        and len(whole.splitlines()) == 9
        and output.count('finished') == 2
    )
    process = start(project, *table, 'stopped')
    assert process.stdout.readline().startswith('started')
    time.sleep(random.uniform(0.0, 4.0))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and 'goes on where it was' in output, output
    run(project, *table, 'stopped')
    assert (project / 'stopped' / name).read_text() == whole


def test_plan(project):
    """Jobs and times are printed, nothing is written."""
    output = run(
        project,
        '2',
        '--dataset',
        'tiny',
        '--seeds',
        '0',
        '--rows',
        'AimCLR (Ours) joint',
        '--plan',
        '--work-dir',
        'planned',
    )
    assert (
        'pre-training  tiny_xsub/aimclr_joint_seed0  (12 steps, ' in output
        and '2 jobs, about' in output
    )
    assert not (project / 'planned').exists()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['2'], 'prepare_data.py ntu60 SOURCE'),
        (['2', '--rows', 'nothing'], 'matches no row'),
        (['2', '--dataset', 'tiny', '--split', 'xview'], "no 'configs/aimclr_tiny_xview_joint.py'"),
    ],
)
def test_refused(project, arguments, message):
    """Before anything runs."""
    output = run(project, *arguments, '--work-dir', 'refused', code=1)
    assert message in output and 'Traceback' not in output and not (project / 'refused').exists()

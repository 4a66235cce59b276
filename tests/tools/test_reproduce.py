"""tools/reproduce.py: its arguments, and the command on a tiny data set."""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import reproduce
import torch

from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from tests.runs import ROOT, environment


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['2', '--seeds', '1', '1'], 'must be different'),
        (['2', '--seeds', '-1'], '--seeds'),
        (['2', '--scale', '0'], '--scale'),
        (['2', '--scale', 'nan'], '--scale'),
        (['2', '--data', '2'], '--data'),
        (['2', '--workers', '0'], '--workers'),
        (['2', '--gpus', '0', '--workers', '1'], 'not allowed'),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        reproduce.parse_args()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'count, gpus, message',
    [
        (2, [2], 'different numbers below 2'),
        (2, [-1], 'different numbers below 2'),
        (2, [1, 1], 'different numbers below 2'),
        (0, [0], 'no GPU here'),
    ],
)
def test_gpus_that_are_not_there(monkeypatch, count, gpus, message):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    with pytest.raises(ValueError, match=message):
        reproduce.choose_devices(argparse.Namespace(gpus=gpus, workers=None))


@pytest.mark.parametrize('count, device', [(2, 'GPU 0'), (0, 'CPU 0')])
def test_default_device(monkeypatch, count, device):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    assert [*reproduce.choose_devices(argparse.Namespace(gpus=None, workers=None))] == [device]


CONFIG = """
_base_ = 'aimclr_synthetic_xsub_joint.py'
steps = [dict(p, length=8) if p['type'] == 'ResizeClip' else p for p in _base_.dataset.preprocess]
data = dict(ann_file='data/tiny/tiny_3d.pkl', preprocess=steps, hint='Bake it first.')
train_dataloader = dict(batch_size=32, dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
model = dict(backbone=dict(base_channels=4, out_channels=8),
             head=dict(in_channels=8, hidden_channels=8), queue_length=32)
train_cfg = dict(max_epochs=6, val_interval=3)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=6, by_epoch=True)]
val_evaluator = [dict(type='KNNMetric', k=[1])]
test_evaluator = [dict(type='KNNMetric', k=[1]),
                  dict(type='LinearProbeMetric', epochs=5, milestones=(4,))]
"""
JOINT = ['2', '--dataset', 'tiny', '--seeds', '0', '--rows', 'AimCLR (Ours) joint']


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """Tools and configs next to a data set of 84 training sequences."""
    folder = tmp_path_factory.mktemp('project')
    for name in ('tools', 'configs'):
        shutil.copytree(ROOT / name, folder / name)
    (folder / 'configs' / 'aimclr_tiny_xsub_joint.py').write_text(CONFIG)
    write_pickle(Synthetic((), 4, 3, 1).dataset(), str(folder / 'data' / 'tiny' / 'tiny_3d.pkl'))
    return folder


def start(project: Path, *arguments: str) -> subprocess.Popen:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, str(project / 'tools' / 'reproduce.py'), *arguments],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, *arguments: str, code: int = 0) -> str:
    """Run the command to its end; return its output."""
    process = start(project, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


@pytest.mark.slow
def test_stopped_and_resumed(project):
    """Stopped at any moment, the command ends with the table of one that was not stopped."""
    command = [*JOINT, '--workers', '2', '--work-dir']
    output = run(project, *command, 'whole')
    name = 'table2_tiny_xsub.csv'
    whole = (project / 'whole' / name).read_text()
    assert 'AimCLR (Ours) joint' in output and output.count('finished') == 2
    assert len(whole.splitlines()) == 9

    process = start(project, *command, 'stopped')
    assert process.stdout.readline().startswith('started')
    time.sleep(random.uniform(0.0, 4.0))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and 'the same command resumes' in output, output
    run(project, *command, 'stopped')
    assert (project / 'stopped' / name).read_text() == whole


@pytest.mark.slow
def test_plan(project):
    """Jobs and times are printed, nothing is written."""
    output = run(project, *JOINT, '--plan', '--work-dir', 'planned')
    assert 'pre-training  tiny_xsub/aimclr_joint_seed0  (12 steps, ' in output
    assert '2 jobs, about' in output
    assert not (project / 'planned').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    'arguments, message',
    [
        (['2', '--rows', 'nothing'], 'matches no reproduced row'),
        (['2', '--dataset', 'tiny', '--split', 'xview'], "no 'configs/aimclr_tiny_xview_joint.py'"),
    ],
)
def test_refused(project, arguments, message):
    """Before anything runs."""
    output = run(project, *arguments, '--work-dir', 'refused', code=1)
    assert message in output and 'Traceback' not in output and not (project / 'refused').exists()

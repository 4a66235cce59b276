"""Start of a distributed run: environment, ports, and the end of the launcher."""

import os
import runpy
import socket
import subprocess
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from aimclr_mm.engine import DistributedCheckHook
from aimclr_mm.engine.distributed import prepare_distributed
from tests.runs import ROOT, environment

BAD = {  # environment, what is said
    'port': (dict(PORT='seven'), "PORT is 'seven'; it must be a whole number of 1 to 65535"),
    'nodes': (dict(NNODES='0'), "NNODES is '0'"),
    'no node': (dict(NNODES='2'), 'NODE_RANK is not set; it must be a whole number of 0 to 1'),
    'node': (
        dict(NNODES='2', NODE_RANK='2'),
        "NODE_RANK is '2'; it must be a whole number of 0 to 1",
    ),
    'no address': (dict(NNODES='2', NODE_RANK='1'), "MASTER_ADDR is '' (it is not set)"),
    'address': (
        dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='no.such.host.invalid'),
        "'no.such.host.invalid' (",
    ),
    'taken': (dict(), 'another job has this port, set PORT to a free one'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_environment_of_the_launcher(name, monkeypatch, capsys):
    """In this process; torchrun starts nothing."""
    variables, message = BAD[name]
    for key in ('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR'):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr('sys.argv', ['launch.py', 'train.py', '2', 'config.py'])
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        for key, value in (variables or dict(PORT=str(taken.getsockname()[1]))).items():
            monkeypatch.setenv(key, value)
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / 'tools' / 'launch.py'), run_name='__main__')
    said = capsys.readouterr().err.strip() or str(caught.value)
    assert said.splitlines()[-1].startswith('error: ') and message in said, said
    assert caught.value.code not in (0, None)


@pytest.mark.parametrize(
    'script, variables, code, said',
    [
        ('dist_train.sh config.py', {}, 2, 'usage: bash tools/dist_train.sh CONFIG PROCESSES'),
        (
            'dist_test.sh config.py raw',
            {},
            2,
            'usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES',
        ),
        ('slurm_train.sh part name config.py', {}, 2, 'usage: bash tools/slurm_train.sh PARTITION'),
        (
            'slurm_train.sh part name config.py w',
            dict(GPUS='8x'),
            1,
            "error: GPUS is '8x'; it must be a whole number",
        ),
        (
            'slurm_train.sh part name config.py w',
            dict(CPUS_PER_TASK='0'),
            1,
            "error: CPUS_PER_TASK is '0'",
        ),
        (
            'slurm_train.sh part name config.py w',
            dict(GPUS='2'),
            0,
            'srun -p part --job-name=name --gres=gpu:2 ',
        ),
    ],
)
def test_scripts(tmp_path, script, variables, code, said):
    """With an srun that prints how it is called."""
    (tmp_path / 'srun').write_text('#!/bin/sh\necho srun "$@" >&2\n')
    (tmp_path / 'srun').chmod(0o755)
    name, *arguments = script.split()
    process = subprocess.run(
        ['bash', str(ROOT / 'tools' / name), *arguments],
        capture_output=True,
        text=True,
        env=environment(PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', **variables),
    )
    assert (
        process.returncode == code
        and process.stderr.startswith(said)
        and len(process.stderr.splitlines()) == 1
    )


@pytest.mark.parametrize(
    'launcher, variables, gpus, said',
    [
        ('pytorch', {}, 0, 'dist_train.sh'),
        ('pytorch', {}, 2, 'dist_train.sh'),
        ('slurm', {}, 0, "'slurm' needs GPUs"),
        ('pytorch', dict(RANK='2', LOCAL_RANK='2'), 2, 'there are 2 GPUs here'),
    ],
)
def test_launchers_that_cannot_be_used(monkeypatch, launcher, variables, gpus, said):
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    with pytest.raises(ValueError, match=said):
        prepare_distributed(Config(dict(launcher=launcher)))


def test_slurm_jobs_have_ports_of_their_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    ports = []
    for job in ('4711', '4712'):
        monkeypatch.setenv('SLURM_JOB_ID', job)
        monkeypatch.delenv('MASTER_PORT', raising=False)
        prepare_distributed(Config(dict(launcher='slurm')))
        ports.append(int(os.environ['MASTER_PORT']))
    assert ports[0] != ports[1] and all(1024 < port < 32768 for port in ports)


def test_rank_whose_launcher_has_gone_ends(monkeypatch):
    hook, runner = DistributedCheckHook(), SimpleNamespace(distributed=True, train_dataloader=[1])
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    monkeypatch.setattr(os, 'getppid', lambda: 1)
    with pytest.raises(RuntimeError, match='the launcher of this rank has exited'):
        hook.before_train_iter(runner, 1)
    runner.distributed = False  # a run of its own may be left by the shell that started it
    hook.before_train_iter(runner, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_distributed_launchers_without_a_gpu(monkeypatch):
    config = Config(dict(launcher='none', env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    prepare_distributed(config)
    assert config.env_cfg.dist_cfg.backend == 'nccl' and 'model_wrapper_cfg' not in config
    config.launcher = 'slurm'
    with pytest.raises(ValueError, match="'slurm' needs GPUs"):
        prepare_distributed(config)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    config.launcher = 'pytorch'
    prepare_distributed(config)
    assert config.env_cfg.dist_cfg.backend == 'gloo' and config.model_wrapper_cfg.device_ids is None

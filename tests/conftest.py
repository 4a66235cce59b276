"""One thread, the package registered, and the same random numbers in every test."""

import os
import resource
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import aimclr_mm  # noqa: F401
from aimclr_mm.engine.hooks import provenance
from aimclr_mm.models.backbones.cpu import batch_norm, dropout, fast_stgcn, fft_conv

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def like_cuda(monkeypatch):
    """Take the branches for a GPU on a CPU."""
    for module in (batch_norm, dropout, fast_stgcn, fft_conv):
        monkeypatch.setattr(module, 'is_cpu', lambda x: False)


@pytest.fixture
def quick_runner(monkeypatch):
    """No look at compilers for every runner."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


@pytest.fixture
def quick_checkpoints(quick_runner, monkeypatch):
    """No look at commits for every runner either, and no layout of configs for every checkpoint."""
    monkeypatch.setattr(Config, 'pretty_text', '')
    monkeypatch.setattr(provenance, 'source', dict)


@pytest.fixture
def little_memory():
    """Allow at most 2 GiB more than now: a damaged length must not take the machine's memory."""
    pages = (
        int(Path('/proc/self/statm').read_text().split()[0])
        if os.path.exists('/proc/self/statm')
        else None
    )
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), before[1])
        )
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)

"""One thread, the package registered, and the same random numbers in every test."""

import pytest
import torch
from mmengine.config import Config

import aimclr_mm  # noqa: F401
from aimclr_mm.engine.hooks import provenance

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def quick_runner(monkeypatch):
    """No look at compilers for every runner."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


@pytest.fixture
def quick_checkpoints(quick_runner, monkeypatch):
    """No look at commits for every runner either, and no layout of configs for every checkpoint."""
    monkeypatch.setattr(Config, 'pretty_text', '')
    monkeypatch.setattr(provenance, 'source', dict)

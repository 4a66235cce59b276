"""malloc tuning."""

import ctypes

import torch

from aimclr_mm.utils.malloc import keep_freed_memory


def test_nothing_is_changed_where_pytorch_or_the_library_does_otherwise(monkeypatch):
    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', no_library)
    assert not keep_freed_memory()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert not keep_freed_memory()

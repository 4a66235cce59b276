"""The ST-GCN of :mod:`aimclr_mm.models.backbones.stgcn` with a faster forward pass for CPUs."""

from .fast_stgcn import FastSTGCN

__all__ = ['FastSTGCN']

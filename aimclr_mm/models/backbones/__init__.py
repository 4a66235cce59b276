"""Backbones f: (N, M, T, V, C) skeletons -> (N, M, C', T', V) feature maps."""

from .cpu import FastSTGCN
from .mmaction_networks import SkeletonAAGCN, SkeletonSTGCN
from .stgcn import AimCLRSTGCN

__all__ = ['AimCLRSTGCN', 'FastSTGCN', 'SkeletonAAGCN', 'SkeletonSTGCN']

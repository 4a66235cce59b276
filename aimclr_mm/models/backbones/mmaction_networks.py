"""Other graph networks of mmaction2 as encoders, with the graph of a joint layout."""

from __future__ import annotations

from typing import Any

import mmaction.engine.model  # noqa: F401  registers the initialization of AAGCN
from mmaction.models.backbones import AAGCN, STGCN
from mmaction.registry import MODELS

from aimclr_mm.skeletons import LayoutLike, get_layout


class LayoutGraph:
    """Mixin that builds the graph of an mmaction2 network from a joint layout.

    Args:
        layout: joint layout of the data.
        graph_mode: mode of mmaction2's ``Graph``.
        **kwargs: arguments of the network.
    """

    def __init__(
        self, layout: LayoutLike = 'ntu25', graph_mode: str = 'spatial', **kwargs: Any
    ) -> None:
        self.layout = get_layout(layout)
        super().__init__(graph_cfg=dict(layout=self.layout.graph(), mode=graph_mode), **kwargs)


@MODELS.register_module()
class SkeletonSTGCN(LayoutGraph, STGCN):
    """mmaction2's ``STGCN``; its options make it ST-GCN++. (N, M, T, V, C) -> (N, M, C', T', V)."""


@MODELS.register_module()
class SkeletonAAGCN(LayoutGraph, AAGCN):
    """mmaction2's ``AAGCN`` (2s-AGCN with attention): (N, M, T, V, C) -> (N, M, C', T', V)."""

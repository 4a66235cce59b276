"""A training step as one CUDA graph: a step of 2,000 small kernels is issued at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from aimclr_mm.datasets.batch import SkeletonBatch, as_batch
from aimclr_mm.models.data_preprocessor import SkeletonViews

from .hooks.stage_switch import STAGES
from .optim_wrapper import BFloat16OptimWrapper

WARM_UP = 2  # eager passes before a capture; cuDNN and cuBLAS choose their algorithms in them


class GraphedStep:
    """Do what ``model.train_step(batch, optim_wrapper)`` does, with a replayed graph.

    The graph holds the data preprocessor, the forward and the backward pass. It is captured for the
    first shape of a batch, and again when the method enters another stage. Random numbers are drawn
    by the generator that a replay finds, so that a seeded step gives the same views as without a
    graph. The optimizer runs outside of the graph, since schedulers change its settings.

    Args:
        model: the model, in training mode and on the GPU.
        optim_wrapper: see :func:`obstacle`.
    """

    def __init__(self, model: BaseModel, optim_wrapper: OptimWrapper) -> None:
        self.model = model
        self.optim_wrapper = optim_wrapper
        self.shape: torch.Size | None = None  # of the inputs that are replayed
        self._stage: tuple | None = None

    def __call__(self, data: SkeletonBatch | dict) -> dict[str, Tensor]:
        """Train for one step and return the losses, as ``train_step`` does."""
        batch = as_batch(data)
        if self.shape is None:
            self.shape = batch.inputs.shape
        if batch.inputs.shape != self.shape:  # the last batch of an epoch
            return self.model.train_step(batch, optim_wrapper=self.optim_wrapper)

        if self._stage != stage_of(self.model):
            self._stage = stage_of(self.model)
            self._capture(batch)
        self._inputs.copy_(batch.inputs, non_blocking=True)
        self._replay()

        for parameter, grad in self._grads:
            parameter.grad = grad
        self.optim_wrapper.step()
        self.optim_wrapper.zero_grad()
        return dict(self._logs)

    def _pass(self) -> dict[str, Tensor]:
        """Compute losses and gradients of the static inputs."""
        with self.optim_wrapper.optim_context(self.model):
            views = self.model.data_preprocessor(SkeletonBatch(self._inputs), True)
            losses = self.model(**views, mode='loss')
        loss, logs = self.model.parse_losses(losses)
        loss.backward()
        return {name: value.detach() for name, value in logs.items()}

    def _capture(self, batch: SkeletonBatch) -> None:
        """Record the graph; the buffers of the model stay as they are."""
        self._replay = self._grads = self._logs = None  # free the memory of the stage before
        self._inputs = batch.inputs.to(next(self.model.parameters()).device, copy=True)
        buffers = [buffer.clone() for buffer in self.model.buffers()]

        self._replay, self._logs = capture(self._pass, self.optim_wrapper.zero_grad)
        self._grads = [(p, p.grad) for p in self.model.parameters() if p.grad is not None]

        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), buffers):
                buffer.copy_(before)


def capture(function: Callable[[], Any], reset: Callable[[], None]) -> tuple[Callable, Any]:
    """Record the kernels of a function as a CUDA graph.

    Args:
        function: called a few times. Its tensors must keep their addresses.
        reset: called after each call but the last one.

    Returns:
        A function that replays the kernels, and the result of the recorded call, whose tensors the
        replay fills. The random numbers go on as if nothing had been called.
    """
    with torch.random.fork_rng():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function()
                reset()
        torch.cuda.current_stream().wait_stream(side)

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function()
    return graph.replay, result


def stage_of(model: nn.Module) -> tuple[bool, ...]:
    """Return the switches of a method that the StageSwitchHook sets."""
    return tuple(
        getattr(module, stage)
        for module in model.modules()
        for stage in STAGES
        if hasattr(module, stage)
    )


def obstacle(model: Any, optim_wrapper: OptimWrapper) -> str | None:
    """Return why a training cannot be graphed; None if it can."""
    if not isinstance(model, BaseModel) or get_world_size() > 1:
        return 'several ranks exchange their keys and gradients'
    if type(model.data_preprocessor) is not SkeletonViews:
        return 'the step takes more than the skeletons of a batch'
    if any(getattr(module, 'draws_on_host', False) for module in model.modules()):
        return 'the method draws sizes and places on the CPU'
    if type(optim_wrapper) not in (OptimWrapper, BFloat16OptimWrapper):
        return f'{type(optim_wrapper).__name__} scales the loss from what the step gives'
    if optim_wrapper._accumulative_counts != 1:
        return 'gradients are accumulated over several batches'
    return None

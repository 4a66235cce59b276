"""Initialization of a classifier from a pre-trained encoder."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class LoadEncoderHook(Hook):
    """Load the backbone of a pre-training checkpoint into a classifier, strictly.

    A resumed run keeps the weights of its own checkpoint.

    Args:
        checkpoint: checkpoint file of a pre-training run.
        stream: stream to load from a checkpoint of several streams.
    """

    def __init__(self, checkpoint: str, stream: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.stream = stream

    def before_train(self, runner: Runner) -> None:
        """Load the backbone, after mmengine has initialized the model."""
        if runner.iter > 0:
            return

        content = load_checkpoint_file(self.checkpoint)
        prefix = stream_prefix(content, self.checkpoint, self.stream) + 'encoder.backbone.'
        backbone = unwrap(runner.model).backbone
        load_weights(backbone, content, self.checkpoint, prefix)

        runner.logger.info(
            f'Loaded {len(backbone.state_dict())} encoder tensors from {self.checkpoint}'
        )

"""Pre-trained encoder weights for a classifier."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class LoadEncoderHook(Hook):
    """Starts a classifier from a pre-trained encoder, and checks that all of it arrives.

    A resumed run keeps the weights of its own checkpoint.

    Args:
        checkpoint: file of a pre-training.
        stream: the stream to take, where the checkpoint holds several.
    """

    def __init__(self, checkpoint: str, stream: str | None = None) -> None:
        self.checkpoint, self.stream = checkpoint, stream

    def before_train(self, runner) -> None:
        """Loads the backbone; mmengine has initialised the weights by now."""
        if runner.iter > 0:
            return
        content = load_checkpoint_file(self.checkpoint)
        prefix = stream_prefix(content, self.checkpoint, self.stream) + 'encoder.backbone.'
        backbone = unwrap(runner.model).backbone
        load_weights(backbone, content, self.checkpoint, prefix)
        runner.logger.info(
            f'{len(backbone.state_dict())} tensors of the encoder loaded from {self.checkpoint}'
        )

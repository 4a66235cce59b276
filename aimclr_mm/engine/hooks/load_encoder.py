"""Initialization of a training from a pre-trained encoder."""

from __future__ import annotations

import copy
from itertools import chain, repeat

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from aimclr_mm.checkpoints.loading import choose_stream, find_encoders, load_encoder_weights
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets.batch import as_batch
from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class LoadEncoderHook(Hook):
    """Start a classifier or a pre-training from the encoder of a checkpoint, loaded strictly.

    In a pre-training the key encoder starts as a copy of the query encoder, also in a projection
    head that the checkpoint lacks, and :func:`fill_memory_banks` fills the memory bank. A model of
    several streams needs a checkpoint of these streams. A resumed run keeps the weights and the
    memory bank of its own checkpoint.

    Args:
        checkpoint: file that holds an encoder, see
            :func:`~aimclr_mm.checkpoints.loading.find_encoder`.
        stream: stream to load into a model of a single one from a checkpoint of several; that of
            the config if not given.
    """

    def __init__(self, checkpoint: str, stream: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.stream = stream

    def before_train(self, runner: Runner) -> None:
        """Load the encoder; mmengine has initialized the model before."""
        if runner.iter > 0:
            return

        model = unwrap(runner.model)
        content = load_checkpoint_file(self.checkpoint)
        chosen = choose_stream(model, content, self.checkpoint, self.stream)
        for stream, encoder in find_encoders(model).items():
            stream = stream or chosen
            has_head = load_encoder_weights(encoder, content, self.checkpoint, stream)
            count = len(encoder.backbone.state_dict())
            source = f'{self.checkpoint}, stream {stream}' if stream else self.checkpoint
            runner.logger.info(f'Loaded {count} encoder tensors from {source}')
            if hasattr(encoder, 'head'):
                state = 'loaded too' if has_head else 'not in the checkpoint: it starts fresh'
                runner.logger.info(f'Projection head: {state}')

        singles = getattr(model, 'streams', {None: model}).values()
        if all(hasattr(single, 'key_encoder') for single in singles):
            for single in singles:
                single.key_encoder.load_state_dict(single.encoder.state_dict())
            count = fill_memory_banks(model, runner.train_dataloader)
            runner.logger.info(
                f'Key encoder: a copy of the query encoder; memory bank: {count} of its keys of '
                'the training data'
            )


@torch.no_grad()
def fill_memory_banks(model: BaseModel, loader: DataLoader) -> int:
    """Replace all keys of the memory banks with keys of the training data.

    The data are passed, each time with new views, until the banks are full: part of a pass if they
    are shorter than the data, several passes if they are longer. The keys are those of a training
    step, in training mode and without gradient. They are computed in float32 by a copy of the key
    encoder, so that the model keeps the batch-norm statistics of the checkpoint.

    Args:
        model: a pre-training of one stream or of several.
        loader: training data.

    Returns:
        The number of keys computed for each bank, over all ranks.
    """
    singles = getattr(model, 'streams', {None: model})
    encoders = {stream: copy.deepcopy(s.key_encoder).train() for stream, s in singles.items()}
    length = max(len(single.memory_bank) for single in singles.values())

    views = model.data_preprocessor
    filled = 0
    for batch in chain.from_iterable(repeat(loader, length)):
        x = views.load(as_batch(batch))  # (N, M, T, V, C)
        inputs = views.form_streams(views.make_views(x, ['key'])['key'])
        for stream, single in singles.items():
            view = inputs if stream is None else inputs[stream]
            single.memory_bank.enqueue(encoders[stream](view))
        filled += len(view) * get_world_size()
        if filled >= length:
            break
    return filled

"""Hooks of pre-training: what happens when. They set scalars and call the model; they own no network."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.logging.history_buffer import HistoryBuffer

from aimclr_mm.checkpoints.loading import load_weights, stream_prefix
from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.utils.compat import load_checkpoint_file


@HOOKS.register_module()
class MomentumUpdateHook(Hook):
    """Moves the key encoder towards the query encoder before every iteration (Eq. 2)."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Asks the model for the update."""
        unwrap(runner.model).update_key_encoder()


@HOOKS.register_module()
class StageSwitchHook(Hook):
    """Starts nearest neighbours mining ("Two-stage Training Strategy").

    The stage is computed anew from the epoch before every epoch, so that a resumed run is in the right one.

    Args:
        epoch: 0-based epoch with which the second stage begins; the paper trains 150 epochs in the first.
    """

    def __init__(self, epoch: int = 150) -> None:
        if epoch < 0:
            raise ValueError(f'StageSwitchHook: epoch={epoch}; it must not be negative')
        self.epoch = epoch

    def before_train_epoch(self, runner) -> None:
        """Sets ``model.mining``."""
        mining = runner.epoch >= self.epoch
        model = unwrap(runner.model)
        if mining and not model.mining:
            runner.logger.info(
                f'Epoch {runner.epoch + 1}: second stage, nearest neighbours mining begins'
            )
        model.mining = mining


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes all random numbers a function of seed, epoch, rank and batch.

    A run that is stopped and resumed draws the same numbers as one that was never stopped: after the end of an epoch
    with any training loop, after any iteration with :class:`~aimclr_mm.engine.ResumableTrainLoop`.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Gives the sampler the seed of the run, which after a resume is that of the checkpoint."""
        sampler = runner.train_dataloader.sampler
        seeds = [runner.seed]
        broadcast_object_list(seeds)  # with --diff-rank-seed each rank has another
        if hasattr(sampler, 'seed'):
            sampler.seed = seeds[0]

    def before_train_epoch(self, runner) -> None:
        """Seeds Python, NumPy and torch; the loader's workers take their seeds from there."""
        torch.manual_seed(self._seed(runner))

    def before_fetch(self, runner, batch_idx: int) -> None:
        """Seeds Python, NumPy and torch."""
        seed = self._seed(runner, batch_idx)
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed takes a quarter of a millisecond
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    def _seed(self, runner, *batch: int) -> int:
        """The seed of a batch, or of an epoch; Python and NumPy have got it."""
        seed = int(
            np.random.SeedSequence([runner.seed, runner.epoch, get_rank(), *batch]).generate_state(
                1
            )[0]
        )
        random.seed(seed)
        np.random.seed(seed)
        return seed


@HOOKS.register_module()
class HealthHook(Hook):
    """Watches whether the encoder learns and says in plain words when it does not.

    The model logs ``chance`` (the loss of equal similarities: 2 ln(K + 1) in the first stage) and ``cosine`` (mean
    cosine between embeddings of different sequences); this hook adds ``key_distance`` (relative distance between key
    and query weights) and warns. KNN accuracy comes from the validation loop (``train_cfg.val_interval``).

    Args:
        interval: iterations between two readings of the key distance.
        patience: epochs that the encoder is given before warnings; even a healthy one starts collapsed.
        max_cosine: mean cosine above which the embedding counts as collapsed.
        max_chance: share of the chance loss above which the encoder counts as not having learnt anything.
    """

    def __init__(
        self,
        interval: int = 50,
        patience: int = 20,
        max_cosine: float = 0.95,
        max_chance: float = 0.98,
    ) -> None:
        self.interval, self.patience = interval, patience
        self.max_cosine, self.max_chance = max_cosine, max_chance

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Logs the key distance now and then."""
        if self.every_n_train_iters(runner, self.interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            runner.message_hub.update_scalar(
                'train/key_distance', unwrap(runner.model).key_distance()
            )

    def after_train_epoch(self, runner) -> None:
        """Warns of collapse, of a loss at chance level and of a key encoder that does not move."""
        if runner.epoch + 1 < self.patience:
            return
        window = len(runner.train_dataloader)

        def mean(name: str) -> float:
            return float(runner.message_hub.get_scalar(f'train/{name}').mean(window))

        for problem in self.diagnose(
            mean('loss'), mean('chance'), mean('cosine'), mean('key_distance')
        ):
            runner.logger.warning(f'Epoch {runner.epoch + 1}: {problem}')

    def diagnose(self, loss: float, chance: float, cosine: float, key_distance: float) -> list[str]:
        """Problems in plain words; empty if all is well."""
        problems = []
        if cosine > self.max_cosine:
            problems.append(
                f'the embedding has collapsed: the mean cosine between different sequences is {cosine:.3f}, they are '
                'almost all the same to the encoder. Small data need a smaller queue_length, a lower momentum, less '
                'dropout and a higher temperature than the paper\'s; see "When the embedding collapses" in the README'
            )
        if loss > self.max_chance * chance:
            problems.append(
                f'the loss {loss:.2f} is still at chance level {chance:.2f}: nothing has been learnt. '
                'Check the learning rate and that the data are not constant'
            )
        if key_distance == 0:
            problems.append(
                'key and query weights are equal: either the query encoder does not learn, or momentum is '
                '0'
            )
        return problems


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


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns checkpoints into plain tensors and containers, so that they load with ``weights_only=True``.

    mmengine stores its log buffers as objects; without this hook no checkpoint can be resumed with torch >= 2.6. It
    also keeps up to a million entries in each, copied at every iteration: here the newest are kept, enough for every
    window over which the log is smoothed.

    Args:
        max_history: entries kept of each log buffer.
    """

    priority = 'VERY_LOW'

    def __init__(self, max_history: int = 1000) -> None:
        self.max_history = max_history

    def before_train_epoch(self, runner) -> None:
        """Bounds the log buffers."""
        for buffer in runner.message_hub.log_scalars.values():
            buffer.max_length = self.max_history

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Replaces log buffers by pairs of lists and NumPy values by Python's."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: [values[-self.max_history :].tolist() for values in buffer.data]
            for name, buffer in hub['log_scalars'].items()
        }
        for key in ('meta', 'message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Makes log buffers again, and drops the text that mmengine would run as a config."""
        hub = checkpoint.get('message_hub')
        if hub:
            hub['log_scalars'] = {
                name: HistoryBuffer(*values) if isinstance(values, list) else values
                for name, values in hub['log_scalars'].items()
            }
        checkpoint.get('meta', {}).pop('config', None)


def plain(value):
    """The value with NumPy scalars and arrays, tuples and mappings of any kind as Python's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (
            type(value)(plain(item) for item in value)
            if type(value) in (list, tuple)
            else list(map(plain, value))
        )
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value

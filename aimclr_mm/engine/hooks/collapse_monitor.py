"""Collapse monitor: mean cosine of embeddings, chance level of the loss, key distance."""

from __future__ import annotations

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import Tensor, nn

from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.models.losses import mean_cosine, unit_vectors


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Log signs of a collapsed or idle encoder, and warn about them.

    Logged are ``cosine`` (mean cosine between the query embeddings of different sequences; mean
    over streams), ``chance`` (the loss when all similarities are equal, the model's
    ``chance_loss()``) and, of methods with a key encoder, ``key_distance`` (relative distance of
    key and query weights). KNN accuracy comes from the validation loop
    (``train_cfg.val_interval``).

    Args:
        interval: iterations between two values of the key distance.
        patience: epochs before the first warning; even a healthy encoder starts collapsed.
        max_cosine: mean cosine above which the embedding counts as collapsed.
        max_chance: fraction of the chance loss above which the encoder counts as not learning.
    """

    def __init__(
        self,
        interval: int = 50,
        patience: int = 20,
        max_cosine: float = 0.95,
        max_chance: float = 0.98,
    ) -> None:
        self.interval = interval
        self.patience = patience
        self.max_cosine = max_cosine
        self.max_chance = max_chance

    def before_train(self, runner: Runner) -> None:
        """Watch the projection heads of the query encoders."""
        loggers = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._log_interval = min(loggers, default=self.interval)

        model = unwrap(runner.model)
        singles = getattr(model, 'streams', {'': model})
        self._heads = {stream: single.encoder.head for stream, single in singles.items()}
        self._handles = [head.register_forward_hook(self._record) for head in self._heads.values()]
        self._handles.append(model.register_forward_pre_hook(self._start_pass))
        # tensors that stay where they are, so that a CUDA graph can write to them
        self._recorded = {
            head: next(head.parameters()).new_zeros(()) for head in self._heads.values()
        }
        self._pending: set[nn.Module] = set()  # heads that were not called in this forward pass
        self._cosines: list[Tensor] = []  # (streams,) per iteration since the last log line

    def after_train(self, runner: Runner) -> None:
        """Remove the forward hooks."""
        for handle in self._handles:
            handle.remove()

    def _start_pass(self, model: nn.Module, args: tuple) -> None:
        """Expect an embedding of every head."""
        self._pending = set(self._heads.values())

    @torch.no_grad()
    def _record(self, head: nn.Module, args: tuple, output: Tensor) -> None:
        """Record the mean cosine of a head's first call in a pass, that of the query view."""
        if head.training and head in self._pending:
            self._pending.remove(head)
            self._recorded[head].copy_(mean_cosine(unit_vectors(output.detach())))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Log cosine and chance with every log line, and the key distance at its interval."""
        self._cosines.append(torch.stack([self._recorded[head] for head in self._heads.values()]))

        end_of_epoch = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if end_of_epoch or self.every_n_inner_iters(batch_idx, self._log_interval):
            self._log(runner)
        model = unwrap(runner.model)
        if not hasattr(model, 'key_distance'):
            return
        if end_of_epoch or self.every_n_train_iters(runner, self.interval):
            runner.message_hub.update_scalar('train/key_distance', model.key_distance())

    def _log(self, runner: Runner) -> None:
        """Log one value per iteration, as mmengine does for losses, in one read from the device."""
        chance = unwrap(runner.model).chance_loss()
        for cosines in torch.stack(self._cosines).tolist():
            scalars = dict(cosine=sum(cosines) / len(cosines), chance=chance)
            if len(cosines) > 1:
                names = [f'{stream}.cosine' for stream in self._heads]
                scalars.update(zip(names, cosines, strict=True))

            for name, value in scalars.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._cosines.clear()

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn about a collapse, a loss at chance level and an idle key encoder."""
        if runner.epoch + 1 < self.patience:
            return

        window = len(runner.train_dataloader)
        scalars = runner.message_hub.log_scalars
        means = [
            float(scalars[f'train/{name}'].mean(window)) if f'train/{name}' in scalars else None
            for name in ('loss', 'chance', 'cosine', 'key_distance')
        ]
        for problem in self.diagnose(*means):
            runner.logger.warning(f'Epoch {runner.epoch + 1}: {problem}')

    def diagnose(
        self, loss: float, chance: float, cosine: float, key_distance: float | None
    ) -> list[str]:
        """Return a message for each problem found in the means of an epoch."""
        problems = []
        if cosine > self.max_cosine:
            problems.append(
                f'the embedding has collapsed: the mean cosine between different sequences is '
                f'{cosine:.3f}, the encoder maps them to almost the same point. Small data sets '
                'need a smaller queue_length, a lower momentum, less dropout and a higher '
                'temperature than in the paper (docs/training.md, "When the embedding collapses")'
            )
        if loss > self.max_chance * chance:
            problems.append(
                f'the loss {loss:.2f} is still at chance level {chance:.2f}: nothing has been '
                'learned. Check the learning rate and that the data are not constant'
            )
        if key_distance == 0:
            problems.append(
                'key and query weights are equal: either the query encoder does not learn, or '
                'momentum is 0'
            )
        return problems

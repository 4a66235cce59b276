"""Collapse monitor."""

from __future__ import annotations

from mmaction.registry import HOOKS
from mmengine.hooks import Hook

from aimclr_mm.engine.distributed import unwrap


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
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

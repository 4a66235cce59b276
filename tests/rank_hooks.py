"""Hooks for tests on several ranks: a recorder, and a fault."""

import os
import signal

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from aimclr_mm.engine.distributed import unwrap
from aimclr_mm.models.memory_bank import MemoryBank


@HOOKS.register_module()
class RankRecorder(Hook):
    """Record samples and keys per iteration, and the state per epoch, in rank<N>.pth."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        self.names, self.states, self.keys = [], [], {}
        model = unwrap(runner.model)
        self.first = {name: value.clone() for name, value in model.state_dict().items()}
        for name, module in model.named_modules():
            if isinstance(module, MemoryBank):
                module.enqueue = self.recorded(module.enqueue, self.keys.setdefault(name, []))

    @staticmethod
    def recorded(enqueue, kept: list):
        def record(keys) -> None:
            kept.append(keys.clone())
            enqueue(keys)

        return record

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.names.append([sample.frame_dir for sample in data_batch['data_samples']])

    def after_train_epoch(self, runner) -> None:
        self.states.append(
            {name: value.clone() for name, value in unwrap(runner.model).state_dict().items()}
        )

    def after_train(self, runner) -> None:
        torch.save(
            dict(names=self.names, states=self.states, keys=self.keys, first=self.first),
            os.path.join(runner.work_dir, f'rank{os.environ.get("RANK", 0)}.pth'),
        )


@HOOKS.register_module()
class RankFault(Hook):
    """Make the last rank fail before the third iteration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter != 2 or os.environ['RANK'] != str(runner.world_size - 1):
            return
        if self.kind == 'raise':
            raise ValueError('this rank has had enough')
        if self.kind == 'exit':
            os._exit(3)
        os.kill(os.getpid(), getattr(signal, self.kind))

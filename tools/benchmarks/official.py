"""Runs the released code (Levigty/AimCLR) from a user's own checkout; nothing in the checkout is changed.

Its processors build model, loader and optimizer from their own config files and train by their own loops. What keeps
them from running here is worked around in memory:

- ``h5py`` and ``tensorboardX``, where they are not installed, are replaced by modules that do nothing; the released
  training does not need the first, and writes three numbers a step with the second.
- On a CPU ``Tensor.cuda()`` gives the tensor itself, and the queue, which is indexed by the number of the GPU, gets 0
  for it.
- Python writes no byte code into the checkout, and GPUs that its ``visible_gpu`` hides are visible again afterwards.

The released ``main.py`` asks for deterministic algorithms of cuDNN; its processors run with the same setting here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import torch

from .settings import Settings

MODULES = (
    'net.aimclr',
    'net.st_gcn',
    'feeder.ntu_feeder',
    'processor.pretrain_aimclr',
    'processor.linear_evaluation',
)
CONFIGS = dict(
    pretrain='config/ntu60/pretext/pretext_aimclr_xsub_joint.yaml',
    linear='config/ntu60/linear_eval/linear_eval_aimclr_xsub_joint.yaml',
)
PROCESSORS = dict(
    pretrain=('processor.pretrain_aimclr', 'AimCLR_Processor'),
    linear=('processor.linear_evaluation', 'LE_Processor'),
)


class _NoWriter:
    """Stands for tensorboardX's SummaryWriter."""

    def __init__(self, *_: object) -> None:
        pass

    def add_scalar(self, *_: object) -> None:
        """Does nothing."""


def _stubs() -> dict[str, ModuleType]:
    """Modules that the released code imports and that are not installed."""
    stubs = {
        name: ModuleType(name)
        for name in ('h5py', 'tensorboardX')
        if importlib.util.find_spec(name) is None
    }
    if 'tensorboardX' in stubs:
        stubs['tensorboardX'].SummaryWriter = _NoWriter
    return stubs


class Official:
    """The released code.

    Args:
        directory: the checkout.
        device: ``cpu`` or ``cuda``.

    Raises:
        FileNotFoundError: if it is no such checkout.
        RuntimeError: if other modules have the names of its packages.
    """

    def __init__(self, directory: str, device: str) -> None:
        self.directory, self.device = os.path.abspath(directory), device
        for path in (
            'torchlight/torchlight/__init__.py',
            *CONFIGS.values(),
            *(f'{module.replace(".", "/")}.py' for module in MODULES),
        ):
            if not os.path.isfile(os.path.join(self.directory, path)):
                raise FileNotFoundError(
                    f'{path!r} is missing in {directory!r}; --official is a checkout of '
                    'Levigty/AimCLR'
                )
        with (
            patch.object(
                sys, 'path', [os.path.join(self.directory, 'torchlight'), self.directory, *sys.path]
            ),
            patch.object(sys, 'dont_write_bytecode', True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter('ignore')
            stubs = _stubs()
            sys.modules.update(stubs)
            self.modules = {name: importlib.import_module(name) for name in MODULES}
            for name in stubs:
                del sys.modules[name]
        for module in self.modules.values():
            if not module.__file__.startswith(self.directory):
                raise RuntimeError(
                    f'{module.__file__!r} has the name of a module of {directory!r} and hides it'
                )

    def processor(
        self,
        kind: str,
        settings: Settings,
        train: tuple[str, str],
        test: tuple[str, str] | None = None,
    ):
        """A released processor, built by its own code from its own config and files of data.

        Args:
            kind: ``pretrain`` or ``linear``.
            settings: batch, queue, workers and stage.
            train, test: files of the feeders, see :func:`~benchmarks.data.write_released`.
        """
        queue = 32768 if settings.queue is None else settings.queue
        if kind == 'pretrain' and queue % settings.batch:
            raise ValueError(
                f'the released queue takes whole batches only: --queue {queue} is no multiple of --batch '
                f'{settings.batch}'
            )
        arguments = dict(
            config=os.path.join(self.directory, CONFIGS[kind]),
            weights='',
            device=0,
            print_log=False,
            work_dir=os.path.join(settings.folder, 'released'),
            save_log=False,
            use_gpu=self._cuda,
            batch_size=settings.batch,
            test_batch_size=settings.batch,
            num_worker=4 if settings.workers is None else settings.workers,
            mining_epoch=0 if settings.mining else 1000,
            train_feeder_args=self._files(train),
        )
        if kind == 'pretrain':
            arguments['model_args'] = f'queue_size={queue}'
        if test is not None:
            arguments['test_feeder_args'] = self._files(test)
        os.makedirs(arguments['work_dir'], exist_ok=True)
        argv = [text for name, value in arguments.items() for text in (f'--{name}', str(value))]
        module, name = PROCESSORS[kind]
        with self.running(), patch.dict(os.environ):
            processor = getattr(self.modules[module], name)(argv)
        processor.best_result = 0.0
        if kind == 'pretrain' and not self._cuda:
            enqueue = processor.model._dequeue_and_enqueue
            processor.model._dequeue_and_enqueue = lambda keys: enqueue(
                SimpleNamespace(shape=keys.shape, T=keys.T, device=SimpleNamespace(index=0))
            )
        return processor

    @property
    def _cuda(self) -> bool:
        return self.device.startswith('cuda')

    @staticmethod
    def _files(paths: tuple[str, str]) -> str:
        return 'data_path={!r}, label_path={!r}'.format(*paths)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The state in which released code runs: its setting of cuDNN, no warnings."""
        cudnn = torch.backends.cudnn
        with ExitStack() as stack:
            for name, value in dict(benchmark=False, deterministic=True).items():
                stack.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
            stack.enter_context(warnings.catch_warnings())
            if not self._cuda:
                stack.enter_context(
                    patch.object(torch.Tensor, 'cuda', lambda tensor, *_, **__: tensor)
                )
            warnings.simplefilter('ignore')
            yield

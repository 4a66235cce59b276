"""Run the released code (Levigty/AimCLR) from a user's checkout without changing it.

Its processors build model, loader and optimizer from their own config files and train by their own
loops. What prevents them from running here is patched in memory:

- ``h5py`` and ``tensorboardX``, if not installed, are replaced by stubs; the released training does
  not need the first, and writes three numbers a step with the second.
- On a CPU ``Tensor.cuda()`` returns the tensor itself, and the memory queue, which is indexed by
  the number of the GPU, gets 0 for it.
- Python writes no byte code into the checkout, and GPUs that ``visible_gpu`` hides are restored.

The released ``main.py`` asks for deterministic algorithms of cuDNN; so does :meth:`running`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

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


def stubs() -> dict[str, ModuleType]:
    """Return stubs of modules that the released code imports and that are not installed."""
    missing = [name for name in ('h5py', 'tensorboardX') if importlib.util.find_spec(name) is None]
    modules = {name: ModuleType(name) for name in missing}
    for module in modules.values():
        module.SummaryWriter = MagicMock()
    return modules


class Official:
    """The released code.

    Args:
        directory: the checkout.
        device: ``cpu`` or ``cuda``.

    Raises:
        FileNotFoundError: if the directory is not such a checkout.
        RuntimeError: if other modules have the names of its packages.
    """

    def __init__(self, directory: str, device: str) -> None:
        self.directory, self.cuda = os.path.abspath(directory), device == 'cuda'
        sources = [f'{module.replace(".", "/")}.py' for module in MODULES]
        for path in ('torchlight/torchlight/__init__.py', *CONFIGS.values(), *sources):
            if not os.path.isfile(os.path.join(self.directory, path)):
                raise FileNotFoundError(
                    f'{path!r} is missing in {directory!r}; --official is a checkout of '
                    'Levigty/AimCLR'
                )
        self.modules = self._import()

    def _import(self) -> dict[str, ModuleType]:
        folders = [os.path.join(self.directory, 'torchlight'), self.directory]
        replaced = stubs()
        with (
            patch.object(sys, 'path', [*folders, *sys.path]),
            patch.object(sys, 'dont_write_bytecode', True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter('ignore')
            sys.modules.update(replaced)
            modules = {name: importlib.import_module(name) for name in MODULES}
            for name in replaced:
                del sys.modules[name]

        for module in modules.values():
            if not module.__file__.startswith(self.directory):
                raise RuntimeError(
                    f'{module.__file__!r} has the name of a module of {self.directory!r} and '
                    'hides it'
                )
        return modules

    def processor(
        self,
        kind: str,
        settings: Settings,
        train: tuple[str, str],
        test: tuple[str, str] | None = None,
    ) -> Any:
        """Build a released processor with its own code, config and files of data.

        Args:
            kind: ``pretrain`` or ``linear``.
            settings: batch, queue, workers and stage.
            train, test: files of the feeders, see :func:`~benchmarks.settings.write_released`.
        """
        arguments = self._arguments(kind, settings, train, test)
        os.makedirs(arguments['work_dir'], exist_ok=True)
        argv = [text for name, value in arguments.items() for text in (f'--{name}', str(value))]
        module, name = PROCESSORS[kind]
        with self.running(), patch.dict(os.environ):
            processor = getattr(self.modules[module], name)(argv)

        processor.best_result = 0.0
        if kind == 'pretrain' and not self.cuda:
            enqueue, device = processor.model._dequeue_and_enqueue, SimpleNamespace(index=0)
            processor.model._dequeue_and_enqueue = lambda keys: enqueue(
                SimpleNamespace(shape=keys.shape, T=keys.T, device=device)
            )
        return processor

    def _arguments(
        self,
        kind: str,
        settings: Settings,
        train: tuple[str, str],
        test: tuple[str, str] | None,
    ) -> dict[str, Any]:
        arguments = dict(
            config=os.path.join(self.directory, CONFIGS[kind]),
            weights='',
            device=0,
            print_log=False,
            work_dir=os.path.join(settings.folder, 'released'),
            save_log=False,
            use_gpu=self.cuda,
            batch_size=settings.batch,
            test_batch_size=settings.batch,
            num_worker=4 if settings.workers is None else settings.workers,
            mining_epoch=0 if settings.mining else 1000,
        )
        for name, files in dict(train=train, test=test).items():
            if files is not None:
                text = 'data_path={!r}, label_path={!r}'.format(*files)
                arguments[f'{name}_feeder_args'] = text

        if kind == 'pretrain':
            queue = 32768 if settings.queue is None else settings.queue
            if queue % settings.batch:
                raise ValueError(
                    f'the released queue takes whole batches only: --queue {queue} is not a '
                    f'multiple of --batch {settings.batch}'
                )
            arguments['model_args'] = f'queue_size={queue}'
        return arguments

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the block with the released code's settings of cuDNN and without warnings."""
        cudnn = torch.backends.cudnn
        on_cpu = patch.object(torch.Tensor, 'cuda', lambda tensor, *_, **__: tensor)
        with (
            cudnn.flags(
                enabled=cudnn.enabled,
                benchmark=False,
                deterministic=True,
                allow_tf32=cudnn.allow_tf32,
            ),
            nullcontext() if self.cuda else on_cpu,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter('ignore')
            yield

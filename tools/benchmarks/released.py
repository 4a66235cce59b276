"""Run the released code (Levigty/AimCLR) from a user's checkout without changing it.

Its processor builds model, loader and optimizer from its own config file and trains in its own
loop. What prevents that here is patched in memory:

- ``h5py`` and ``tensorboardX`` are replaced by stubs if they are not installed; the training needs
  only three numbers a step written with the second.
- On a CPU ``Tensor.cuda()`` returns the tensor itself, and the memory queue gets 0 as the index of
  the GPU.
- Python writes no byte code into the checkout, and the environment variables that the processor
  changes are restored.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch

from .workload import Settings

MODULES = ('net.aimclr', 'net.st_gcn', 'feeder.ntu_feeder', 'processor.pretrain_aimclr')
CONFIG = 'config/ntu60/pretext/pretext_aimclr_xsub_joint.yaml'
QUEUE = 32768
WORKERS = 4


class Released:
    """The released code.

    Args:
        settings: checkout, device and sizes.

    Raises:
        FileNotFoundError: if the directory is not such a checkout.
        RuntimeError: if a module of the same name hides one of its modules.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cuda = settings.device == 'cuda'
        self.directory = os.path.abspath(settings.official)

        sources = [f'{module.replace(".", "/")}.py' for module in MODULES]
        for path in ('torchlight/torchlight/__init__.py', CONFIG, *sources):
            if not os.path.isfile(os.path.join(self.directory, path)):
                raise FileNotFoundError(
                    f'{path!r} is missing in {settings.official!r}; --official is a checkout of '
                    'Levigty/AimCLR'
                )
        self.modules = self._import()

    def _import(self) -> dict[str, ModuleType]:
        missing = [name for name in ('h5py', 'tensorboardX') if find_spec(name) is None]
        stubs = {name: MagicMock() for name in missing}
        folders = [os.path.join(self.directory, 'torchlight'), self.directory]

        with (
            patch.object(sys, 'path', [*folders, *sys.path]),
            patch.object(sys, 'dont_write_bytecode', True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter('ignore')
            sys.modules.update(stubs)
            modules = {name: importlib.import_module(name) for name in MODULES}
            for name in stubs:
                del sys.modules[name]

        for name, module in modules.items():
            if not module.__file__.startswith(self.directory):
                raise RuntimeError(f'{module.__file__!r} hides {name} of {self.directory!r}')
        return modules

    def training(self, files: tuple[str, str]) -> tuple[Any, Callable[[], float]]:
        """Build the released pre-training.

        Args:
            files: of the feeder, see :func:`~benchmarks.workload.write_released`.

        Returns:
            The processor, and a function that trains for an epoch and returns the last loss.
        """
        options = self._options(files)
        os.makedirs(options['work_dir'], exist_ok=True)
        argv = [text for name, value in options.items() for text in (f'--{name}', str(value))]
        with self.running(), patch.dict(os.environ):
            processor = self.modules['processor.pretrain_aimclr'].AimCLR_Processor(argv)

        if not self.cuda:
            enqueue = processor.model._dequeue_and_enqueue
            device = SimpleNamespace(index=0)
            processor.model._dequeue_and_enqueue = lambda keys: enqueue(
                SimpleNamespace(shape=keys.shape, T=keys.T, device=device)
            )

        def epoch() -> float:
            with self.running():
                processor.train(1)
            return processor.iter_info['loss']

        return processor, epoch

    def _options(self, files: tuple[str, str]) -> dict[str, Any]:
        settings = self.settings
        queue = QUEUE if settings.queue is None else settings.queue
        if queue % settings.batch:
            raise ValueError(
                f'the released queue takes whole batches: --queue {queue} is not a multiple of '
                f'--batch {settings.batch}'
            )
        return dict(
            config=os.path.join(self.directory, CONFIG),
            weights='',
            device=0,
            print_log=False,
            work_dir=os.path.join(settings.folder, 'released'),
            save_log=False,
            use_gpu=self.cuda,
            batch_size=settings.batch,
            num_worker=WORKERS if settings.workers is None else settings.workers,
            mining_epoch=0 if settings.mining else 1000,
            train_feeder_args='data_path={!r}, label_path={!r}'.format(*files),
            model_args=f'queue_size={queue}',
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the block with the cuDNN settings of the released ``main.py``, without warnings."""
        cudnn = torch.backends.cudnn
        flags = cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=False,
            deterministic=True,
            allow_tf32=cudnn.allow_tf32,
        )
        on_cpu = patch.object(torch.Tensor, 'cuda', lambda tensor, *_, **__: tensor)
        with flags, nullcontext() if self.cuda else on_cpu, warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield

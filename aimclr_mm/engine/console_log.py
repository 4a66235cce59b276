"""What someone sees who watches a run: lines that fit into a terminal; everything else stays in the log's files."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from mmaction.registry import HOOKS, LOG_PROCESSORS, RUNNERS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.logging.logger import MMFormatter
from mmengine.runner import LogProcessor, Runner

# messages of mmengine that are kept in the log file only: environment, settings, what repeats itself
FILE_ONLY = re.compile(
    r'\n-{60}\nSystem environment:|Config:\n|Hooks will be executed in|Exp name: |'
    'Distributed training is not used, all SyncBatchNorm'
)
PER_CENT = ('knn', 'linear', 'linear_large', 'acc')  # prefixes of metrics that are per cents
NAMES = {'knn': 'KNN', 'acc': 'accuracy'}
LEGEND = (
    'Each line: epoch, step, loss/loss of pure chance, mean cosine between sequences (1: collapsed),',
    'accuracy in the last/best validation, sequences a second, all ranks, time left, peak memory, learning rate',
)


def shown(path: str) -> str:
    """A path as one would type it: relative to the current folder if it lies there."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def duration(seconds: float) -> str:
    """Time left in two units, such as ``27h20m``, ``5m03s`` or ``12s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours}h{minutes:02d}m'
    return f'{minutes}m{seconds:02d}s' if minutes else f'{seconds}s'


def score_history(hub: MessageHub) -> tuple[str, list[float]]:
    """The validation's first top-1 accuracy: its name without ``/top1``, and its values in per cent, oldest first."""
    for name, buffer in hub.log_scalars.items():
        if name.startswith('val/') and name.endswith('/top1'):
            return name[len('val/') : -len('/top1')], [float(value) for value in buffer.data[0]]
    return '', []


def describe_metric(name: str, value: Any) -> str:
    """A metric in words: ``knn/top1_k20`` of 26.9 becomes ``KNN top-1 k=20 26.9 %``."""
    parts = name.split('/')
    if not isinstance(value, (int, float)):
        return f'{name} {value}'
    if not {*parts} & {*PER_CENT}:
        return f'{name} {value:.4g}'
    words = (
        ' '.join(NAMES.get(part, part) for part in parts)
        .replace('top', 'top-')
        .replace('_k', ' k=')
    )
    return f'{words} {value:.1f} %'


def peak_memory(tag: Mapping[str, Any]) -> str:
    """The most memory that tensors took on the GPU, which mmengine has found; without one, that of the process."""
    if 'memory' in tag:  # MiB
        return f'{tag["memory"] / 1024:.1f} GiB'
    try:
        import resource
    except ImportError:  # Windows
        return 'memory unknown'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f'{peak / (2**30 if sys.platform == "darwin" else 2**20):.1f} GiB'


def training_items(tag: Mapping[str, Any], score: tuple[str, list[float]]) -> list[str]:
    """What a line of a training says of the losses and accuracies.

    Args:
        tag: scalars by name, as mmengine has collected them.
        score: see :func:`score_history`.
    """
    items = []
    if 'loss' in tag:
        items.append(
            f'loss {tag["loss"]:.2f}' + (f'/{tag["chance"]:.2f}' if 'chance' in tag else '')
        )
    if 'cosine' in tag:
        items.append(f'cosine {tag["cosine"]:.2f}')
    if 'top1_acc' in tag:  # mmaction2's heads log shares of the batch
        items.append(f'batch top-1 {100 * float(tag["top1_acc"]):.1f} %')
    name, values = score
    if values:
        items.append(f'{NAMES.get(name, name)} {values[-1]:.1f}/{max(values):.1f} %')
    return items


@LOG_PROCESSORS.register_module()
class ConsoleLogProcessor(LogProcessor):
    """mmengine's log processor with shorter lines; the scalars that it collects for files and backends are the same.

    A run that counts iterations in place of epochs (``by_epoch=False``) keeps mmengine's lines.

    Args:
        *args, **kwargs: as for mmengine's ``LogProcessor``.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """The scalars, and the line of an iteration of ``train``, ``val`` or ``test``."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        if not self.by_epoch:
            return tag, text
        total = self._get_dataloader_size(runner, mode)
        head = f'{self._head(runner, mode)}{batch_idx + 1:{len(str(total))}d}/{total}'
        items = training_items(tag, score_history(runner.message_hub)) if mode == 'train' else []
        size = self._get_cur_loop(runner, mode).dataloader.batch_size
        if size and tag.get('time'):
            rate = size * get_world_size() / tag['time']
            items.append(f'{rate:.{0 if rate >= 100 else 1}f} seq/s')
        if 'eta' in runner.message_hub.runtime_info:
            items.append(f'ETA {duration(runner.message_hub.get_info("eta"))}')
        if mode == 'train':
            items.append(peak_memory(tag))
            items += [
                f'{name} {value:.2g}'
                for name, value in tag.items()
                if name.endswith('lr') and name != 'base_lr'
            ]
        return tag, '  '.join([head, *items])

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """The scalars, and the line after an epoch of ``val`` or ``test``."""
        tag, text = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        if not self.by_epoch:
            return tag, text
        items = [
            describe_metric(name.removeprefix(f'{mode}/'), value)
            for name, value in tag.items()
            if not name.endswith('time')
        ]
        values = score_history(runner.message_hub)[1]
        if mode == 'val' and len(values) > 1:
            items.append(f'best top-1 {max(values):.1f} %')
        return tag, self._head(runner, mode) + (', '.join(items) or 'done')

    def _head(self, runner: Runner, mode: str) -> str:
        """Which epoch of how many, and what is done."""
        if mode == 'test':
            return 'Test  '
        epoch = self._get_epoch(runner, mode)
        total = runner.max_epochs
        known = f'Epoch {epoch:{len(str(total))}d}/{total} ' if total else ''
        return known + ('validation  ' if mode == 'val' else '')


class ConsoleFormatter(MMFormatter):
    """mmengine's format for warnings and errors, time and message alone for what is said in passing."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        if record.levelno != logging.INFO:
            return super().format(record)
        return f'{self.formatTime(record, "%H:%M:%S")} {record.getMessage()}'


def is_for_console(record: logging.LogRecord) -> bool:
    """Whether a record is shown and not only written to the log file; warnings and errors always are."""
    return record.levelno != logging.INFO or not FILE_ONLY.match(str(record.msg))


@RUNNERS.register_module()
class ConsoleRunner(Runner):
    """mmengine's runner, whose console leaves environment, config and order of hooks to the log file."""

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """mmengine's logger, with another console; the log file is named there."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(is_for_console)
                handler.setFormatter(
                    ConsoleFormatter(color=sys.stdout.isatty(), datefmt='%m/%d %H:%M:%S')
                )
        logger.info(f'Environment, config and all that follows: {shown(logger.log_file)}')
        return logger


@HOOKS.register_module()
class ConsoleLogHook(Hook):
    """Says in words what the lines mean and when the second stage begins, and at the end what came out and is next."""

    priority = 'LOWEST'  # after the last checkpoint is saved

    def before_train(self, runner: Runner) -> None:
        """Says what to expect."""
        for line in LEGEND:
            runner.logger.info(line)
        for hook in runner.hooks:
            if (
                type(hook).__name__ == 'StageSwitchHook'
                and runner.epoch < hook.epoch < runner.max_epochs
            ):
                runner.logger.info(
                    f'Nearest neighbours mining, the second stage, begins with epoch {hook.epoch + 1} '
                    f'of {runner.max_epochs}; there the loss rises, and that of chance with it'
                )

    def after_train(self, runner: Runner) -> None:
        """Says what came out, and the command that evaluates it."""
        name, values = score_history(runner.message_hub)
        result = (
            f': {describe_metric(f"{name}/top1", values[-1])}, best {max(values):.1f} %'
            if values
            else ''
        )
        runner.logger.info(f'Training has ended after epoch {runner.epoch}{result}')
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint and runner.cfg.filename:
            config = os.path.join(runner.work_dir, os.path.basename(runner.cfg.filename))
            words = shlex.join(['python', 'tools/test.py', shown(config), shown(checkpoint)])
            runner.logger.info(f'Evaluate it: {words}')

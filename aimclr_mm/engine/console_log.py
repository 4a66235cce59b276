"""Console logging: one short line per interval; details go to the log file."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import torch
from mmaction.registry import HOOKS, LOG_PROCESSORS, RUNNERS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.logging.logger import MMFormatter
from mmengine.runner import LogProcessor, Runner

from aimclr_mm.utils.busy import machine_busy_note

from .schedules import restart_schedules, schedule_settings

# messages that go to the log file only: environment, config, order of hooks, repetitions
FILE_ONLY = re.compile(
    r'\n-{60}\nSystem environment:|Config:\n|Hooks will be executed in|Exp name: |'
    'Distributed training is not used, all SyncBatchNorm'
)
# mmengine's remarks about itself, which nobody can act on
MMENGINE_ONLY = re.compile('"FileClient" will be deprecated|"HardDiskBackend" is the alias')
# prefixes of metrics in percent
PERCENTAGES = ('knn', 'few_shot', 'linear', 'linear_large', 'acc')
NAMES = {'knn': 'KNN', 'few_shot': 'few-shot', 'acc': 'accuracy'}
LEGEND = (
    'Each line: epoch, step, loss/loss at chance level, mean cosine of embeddings (1: collapsed),',
    'last/best validation accuracy, sequences per second (all ranks), time left, peak memory, '
    'learning rate',
)


def short_path(path: str) -> str:
    """Return a path relative to the working directory if it is inside, else the path itself."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def duration(seconds: float) -> str:
    """Format a duration in two units, such as ``27h20m``, ``5m03s`` or ``12s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours}h{minutes:02d}m'
    return f'{minutes}m{seconds:02d}s' if minutes else f'{seconds}s'


def score_history(hub: MessageHub) -> tuple[str, list[float]]:
    """Return name and history of the first top-1 accuracy in validation.

    Returns:
        The metric's name without ``/top1``, and its values in percent, oldest first; an empty name
        and list before the first validation.
    """
    for name, buffer in hub.log_scalars.items():
        if name.startswith('val/') and name.endswith('/top1'):
            values = [float(value) for value in buffer.data[0]]
            return name.removeprefix('val/').removesuffix('/top1'), values
    return '', []


def describe_metric(name: str, value: Any) -> str:
    """Format a metric: ``knn/top1_k20`` of 26.9 becomes ``KNN top-1 k=20 26.9 %``."""
    if not isinstance(value, (int, float)):
        return f'{name} {value}'

    parts = name.split('/')
    if not {*parts} & {*PERCENTAGES}:
        return f'{name} {value:.4g}'
    words = ' '.join(NAMES.get(part, part) for part in parts)
    words = words.replace('top', 'top-').replace('_k', ' k=').replace('_std', ' spread')
    return f'{words} {value:.1f} %'


def peak_memory(tag: Mapping[str, Any]) -> str:
    """Format the peak memory: of tensors on the GPU (logged by mmengine), else of the process."""
    if 'memory' in tag:  # MiB
        return f'{tag["memory"] / 1024:.1f} GiB'

    try:
        import resource
    except ImportError:  # Windows
        return 'memory unknown'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**30 if sys.platform == 'darwin' else 2**20  # bytes on macOS, KiB elsewhere
    return f'{peak / unit:.1f} GiB'


def training_items(tag: Mapping[str, Any], score: tuple[str, list[float]]) -> list[str]:
    """Return losses and accuracies of a training line.

    Args:
        tag: scalars by name, collected by mmengine.
        score: see :func:`score_history`.
    """
    items = []
    if 'loss' in tag:
        chance = f'/{tag["chance"]:.2f}' if 'chance' in tag else ''
        items.append(f'loss {tag["loss"]:.2f}{chance}')
    if 'cosine' in tag:
        items.append(f'cosine {tag["cosine"]:.2f}')
    if 'top1_acc' in tag:  # mmaction2's heads log fractions
        items.append(f'batch top-1 {100 * float(tag["top1_acc"]):.1f} %')

    name, values = score
    if values:
        items.append(f'{NAMES.get(name, name)} {values[-1]:.1f}/{max(values):.1f} %')
    return items


@LOG_PROCESSORS.register_module()
class ConsoleLogProcessor(LogProcessor):
    """mmengine's log processor with shorter lines; scalars for files and backends are unchanged.

    Iteration-based runs (``by_epoch=False``) keep mmengine's lines.

    Args:
        *args, **kwargs: see mmengine's ``LogProcessor``.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Return the scalars and the line of an iteration of ``train``, ``val`` or ``test``."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        if not self.by_epoch:
            return tag, text

        total = self._get_dataloader_size(runner, mode)
        items = [f'{self._head(runner, mode)}{batch_idx + 1:{len(str(total))}d}/{total}']
        if mode == 'train':
            items += training_items(tag, score_history(runner.message_hub))

        size = self._get_cur_loop(runner, mode).dataloader.batch_size
        if size and tag.get('time'):
            rate = size * get_world_size() / tag['time']
            items.append(f'{rate:.{0 if rate >= 100 else 1}f} seq/s')
        if 'eta' in runner.message_hub.runtime_info:
            items.append(f'ETA {duration(runner.message_hub.get_info("eta"))}')

        if mode == 'train':
            rates = [name for name in tag if name.endswith('lr') and name != 'base_lr']
            items.append(peak_memory(tag))
            items += [f'{name} {tag[name]:.2g}' for name in rates]
        return tag, '  '.join(items)

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """Return the scalars and the line after an epoch of ``val`` or ``test``."""
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
        """Return the start of a line: the epoch, and the mode."""
        if mode == 'test':
            return 'Test  '
        epoch, total = self._get_epoch(runner, mode), runner.max_epochs
        head = f'Epoch {epoch:{len(str(total))}d}/{total} ' if total else ''
        return f'{head}validation  ' if mode == 'val' else head


class ConsoleFormatter(MMFormatter):
    """Format INFO messages with the time only; warnings and errors in mmengine's format."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        if record.levelno != logging.INFO:
            return super().format(record)
        return f'{self.formatTime(record, "%H:%M:%S")} {record.getMessage()}'


def is_for_console(record: logging.LogRecord) -> bool:
    """Return whether a record is shown on the console; warnings and errors always are."""
    text = str(record.msg)
    if MMENGINE_ONLY.match(text):
        return False
    return record.levelno != logging.INFO or not FILE_ONLY.match(text)


@RUNNERS.register_module()
class ConsoleRunner(Runner):
    """mmengine's runner with environment, config and hook order in the log file only.

    ``env_cfg.allow_tf32`` is a setting of its own: on NVIDIA GPUs since Ampere, matrix products of
    float32 are then computed in TF32, as cuDNN's convolutions are by PyTorch's default.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment as mmengine does, and TF32."""
        super().setup_env(env_cfg)
        torch.backends.cuda.matmul.allow_tf32 = env_cfg.get('allow_tf32', False)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Return mmengine's logger with a filtered console, and log the path of the log file."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        formatter = ConsoleFormatter(color=sys.stdout.isatty(), datefmt='%m/%d %H:%M:%S')
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(is_for_console)
                handler.setFormatter(formatter)

        logger.info(f'Environment, config and the full log: {short_path(logger.log_file)}')
        return logger

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """Resume as mmengine does; a schedule that has changed continues as the new one."""
        new = schedule_settings(self.param_schedulers)
        super().resume(*args, **kwargs)
        if new is not None and new != schedule_settings(self.param_schedulers):
            rate = restart_schedules(self)
            self.logger.warning(
                f'The schedule differs from that of the checkpoint; the learning rate follows that '
                f'of the config: {rate:.3g} in epoch {self.epoch + 1} of {self.max_epochs}'
            )


@RUNNERS.register_module()
class QuietRunner(Runner):
    """mmengine's runner with warnings and errors only on the console; the log file has the rest."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Return mmengine's logger with a higher level of the console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
        return logger


@HOOKS.register_module()
class ConsoleLogHook(Hook):
    """Explain the log lines at the start, and print the result and the next command at the end."""

    priority = 'LOWEST'  # after the last checkpoint is saved

    def before_train(self, runner: Runner) -> None:
        """Log the legend, a busy CPU, and the epoch of the stage switch."""
        for line in LEGEND:
            runner.logger.info(line)
        if not torch.cuda.is_available() and (note := machine_busy_note(get_world_size())):
            runner.logger.warning(note)

        switches = [hook for hook in runner.hooks if type(hook).__name__ == 'StageSwitchHook']
        for switch in switches:
            if runner.epoch < switch.epoch < runner.max_epochs:
                runner.logger.info(
                    f'The second stage, nearest neighbors mining, starts with epoch '
                    f'{switch.epoch + 1} of {runner.max_epochs}; the loss and its chance level '
                    'rise there'
                )

    def after_train(self, runner: Runner) -> None:
        """Log the result, and the command that evaluates it."""
        name, values = score_history(runner.message_hub)
        result = ''
        if values:
            last = describe_metric(f'{name}/top1', values[-1])
            result = f': {last}, best {max(values):.1f} %'
        runner.logger.info(f'Training finished after epoch {runner.epoch}{result}')

        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint and runner.cfg.filename:
            config = os.path.join(runner.work_dir, os.path.basename(runner.cfg.filename))
            command = ['python', 'tools/test.py', short_path(config), short_path(checkpoint)]
            runner.logger.info(f'Evaluate it: {shlex.join(command)}')

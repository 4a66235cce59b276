"""Shared parts of the command-line tools: options, one-line errors, the config of a run."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch
from mmengine.config import Config, DictAction

from aimclr_mm.checkpoints.loading import state_dict_of
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.checkpoints.shipped import SHIPPED, shipped_config
from aimclr_mm.datasets.annotations import load_annotations
from aimclr_mm.datasets.own_files.cleaning import MISSING
from aimclr_mm.datasets.own_files.conventions import UNITS
from aimclr_mm.engine.distributed import prepare_distributed
from aimclr_mm.engine.optim_wrapper import has_fast_bfloat16
from aimclr_mm.models.readouts import READOUTS
from aimclr_mm.utils.config_check import check_config, check_options
from aimclr_mm.utils.files import check_target, named_errors
from aimclr_mm.utils.locks import exclusive
from aimclr_mm.utils.malloc import keep_freed_memory
from aimclr_mm.utils.overlays import read_config
from aimclr_mm.utils.terminal import printable
from aimclr_mm.utils.workers import end_failed_workers

from .classifier import ClassificationHead, EmbeddingClassifier, load_head
from .inferencer import EmbeddingInferencer, load_encoder

# errors whose message needs no type in front of it
READABLE_ERRORS = (ValueError, OSError, RuntimeError, ImportError, KeyError)
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
MAX_MESSAGE = 2000  # characters of an error message


def output_file(path: str) -> str:
    """argparse type: a writable output file, checked before the work begins."""
    return _output(path, folder=False)


def output_folder(path: str) -> str:
    """argparse type: a writable output directory."""
    return _output(path, folder=True)


def _output(path: str, folder: bool) -> str:
    try:
        check_target(path, folder)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return an argparse type: an integer of at least ``minimum`` and at most ``maximum``."""
    limits = f'at least {minimum}' if maximum is None else f'{minimum} to {maximum}'

    def convert(text: str) -> int:
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f'{value}: it must be {limits}')
        return value

    convert.__name__ = 'int'  # argparse shows it for text that is not an integer
    return convert


class Settings(DictAction):
    """Parse ``KEY=VALUE`` settings; report anything else in one line."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError) as error:
            message = f'{" ".join(values)!r} is not KEY=VALUE ({error})'
            raise argparse.ArgumentError(self, message) from error


# Arguments shared by several tools, each declared once. A tool may change a default or a help text.
SHARED: dict[str, dict[str, Any]] = {
    'config': dict(
        help='config file of the pre-training; or, instead of config and checkpoint, a shipped '
        f'encoder: {", ".join(SHIPPED)}'
    ),
    'checkpoint': dict(help="checkpoint file, or 'random' for an untrained encoder as a baseline"),
    'work_dir': dict(metavar='WORK_DIR', help='work directory of a training'),
    '--amp': dict(action='store_true', help='train with automatic mixed precision'),
    '--ann-file': dict(metavar='FILE', help='annotation file with the names of the classes'),
    '--cameras': dict(type=int, help='number of camera views, 1 to 3'),
    '--cfg-options': dict(
        nargs='+',
        action=Settings,
        default={},
        metavar='KEY=VALUE',
        help='settings of the config to override, such as model.temperature=0.1',
    ),
    '--debug': dict(action='store_true', help='show the traceback of an error'),
    '--device': dict(help='such as cpu or cuda:0; default: a GPU if available'),
    '--launcher': dict(
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the ranks of a distributed run were started',
    ),
    '--layout': dict(
        metavar='LAYOUT',
        help='joint layout, a name or a YAML file, of recordings whose format does not tell it; '
        'default: that of the config. Recordings of another layout are mapped to it',
    ),
    '--map-to': dict(metavar='LAYOUT', help='joint layout to map the sequences to'),
    '--missing': dict(
        choices=MISSING,
        default='interpolate',
        help='frames without a body: fill gaps of up to half a second by interpolation and leave '
        'out the others (default), drop all of them, or keep them as zeros; interpolate fills '
        'missing joints, too',
    ),
    '--out': dict(type=output_file, metavar='FILE', help='file to write'),
    '--performances': dict(type=int, help='recordings of each movement'),
    '--programs': dict(type=int, help='number of movements, the classes'),
    '--readout': dict(
        choices=READOUTS,
        help="how the encoder's last feature map becomes a vector: mean over frames and joints "
        '(the paper), mean and standard deviation over time, three time segments, five body parts, '
        'both (cells), or three segments of equal motion, concatenated with eight of the input '
        'coordinates (equal_motion); default: that of the config, which is mean, or equal_motion '
        'for the shipped encoders',
    ),
    '--repetitions': dict(type=int, help='repetitions of each action by each subject'),
    '--seed': dict(type=integer(0, 2**32 - 1), metavar='N', help='random seed'),
    '--seeds': dict(type=int, nargs='+', metavar='N', help='random seeds, one run each'),
    '--stream': dict(help='stream to take from a checkpoint of several; default: all of them'),
    '--subjects': dict(type=int, help='number of subjects'),
    '--unit': dict(
        choices=list(UNITS),
        help='unit of 3-D coordinates, which become meters; default: m, but people of an '
        'impossible size are refused',
    ),
    '--weights': dict(
        type=float,
        nargs='+',
        metavar='W',
        help='weight of each file; default for three files: 0.6 0.6 0.4 (joint, bone, motion)',
    ),
    '--with': dict(
        nargs='+',
        action='extend',
        default=[],
        dest='overlays',
        metavar='OVERLAY',
        help='configs applied on top, in order: a method, an ablation, a protocol, a schedule',
    ),
    '--work-dir': dict(
        type=output_folder,
        metavar='FOLDER',
        help='folder of logs and results; default: work_dirs/<name of the config>',
    ),
    '--workers': dict(type=integer(1), metavar='N', help='number of CPU processes'),
    '-k': dict(type=integer(1), help='number of neighbors'),
}
CONFIG_OPTIONS = ('--with', '--cfg-options')
ENCODER = ('config', 'checkpoint', '--stream', '--readout', '--device', *CONFIG_OPTIONS)


class LogRecord(logging.LogRecord):
    """A message of the log, whose text may be that of others."""

    def getMessage(self) -> str:  # noqa: N802  the name in logging
        """Return the message."""
        return printable(super().getMessage(), keep='\n\t')


class Parser(argparse.ArgumentParser):
    """Parser of a tool or of one of its verbs, with ``--debug``.

    Args:
        description: docstring of the tool, shown as it is.
    """

    def __init__(self, description: str | None = None, **kwargs: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=formatter, **kwargs)
        self._verbs = None
        self._takes_encoder = False
        self.add_shared('--debug')

    def add_shared(self, *names: str, **changes: Any) -> None:
        """Add arguments of :data:`SHARED`, with changed settings such as ``default``."""
        self._takes_encoder |= 'checkpoint' in names
        for name in names:
            settings = {**SHARED[name], **changes}
            default = settings.get('default')
            if 'default' in changes and default is not None and not isinstance(default, bool):
                shown = ' '.join(map(str, default)) if isinstance(default, list) else default
                settings['help'] += f' (default: {shown})'
            self.add_argument(name, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple:
        """Parse arguments; a shipped encoder stands for its config and its checkpoint."""
        words = sys.argv[1:] if args is None else list(args)
        if self._takes_encoder:
            words = [part for word in words for part in [word] * (1 + (word in SHIPPED))]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """End the command with a message."""
        super().error(printable(message, keep='\n'))

    def add_run_options(self) -> None:
        """Add the options of mmaction2's tools that train.py and test.py have."""
        self.add_shared('--work-dir', *CONFIG_OPTIONS, '--launcher')
        self.add_argument(
            '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
        )

    def add_verb(self, name: str, run: Callable[[argparse.Namespace], None], text: str) -> Parser:
        """Add a subcommand.

        Args:
            name: name of the subcommand.
            run: function that runs it, given the parsed arguments; stored as ``args.run``.
            text: help text.

        Returns:
            The parser of its arguments.
        """
        if self._verbs is None:
            self._verbs = self.add_subparsers(dest='verb', required=True, metavar='VERB')
        verb = self._verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(run=run)
        return verb


def check_seeds(parser: argparse.ArgumentParser, seeds: list[int]) -> None:
    """End the command if a seed is negative or given twice."""
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        parser.error(f'--seeds {seeds}: they must be different and not negative')


def open_encoder(args: argparse.Namespace) -> EmbeddingInferencer:
    """Load the encoder of the command line."""
    cfg = compose_config(args)
    missing, unit = getattr(args, 'missing', MISSING[0]), getattr(args, 'unit', None)
    return load_encoder(cfg, args.checkpoint, args.device, args.stream, args.readout, missing, unit)


def open_classifier(
    encoder: EmbeddingInferencer, args: argparse.Namespace
) -> EmbeddingClassifier | ClassificationHead:
    """Return the classifier of ``--classifier``, or the classification head of the checkpoint."""
    if args.classifier:
        if args.ann_file:
            raise ValueError(f'--ann-file: {args.classifier!r} has its own names of classes')
        classifier = EmbeddingClassifier.load(args.classifier)
        encoder.check_fingerprint(classifier.encoder, args.classifier)
        return classifier

    if encoder.readout != 'mean':
        raise ValueError(
            f'--readout {encoder.readout}: the classification head of a checkpoint takes the mean; '
            'leave it out, or give --classifier'
        )
    classes = None
    if args.ann_file:
        classes = load_annotations(args.ann_file)['metainfo'].get('classes')
        if not classes:
            raise ValueError(f'--ann-file: {args.ann_file!r} states no names of classes')
    return load_head(args.checkpoint, args.stream, classes)


def has_head(args: argparse.Namespace) -> bool:
    """Return whether the checkpoint of the command line holds a classification head."""
    if args.checkpoint == 'random':
        return False
    state = state_dict_of(load_checkpoint_file(args.checkpoint), args.checkpoint)
    return any('cls_head.' in name for name in state)


def compose_config(args: argparse.Namespace) -> Config:
    """Return the checked config of the command line with ``--with`` and ``--cfg-options`` applied.

    Raises:
        FileNotFoundError: if a config file is missing.
        ValueError: if a file cannot be read or a setting is invalid, see
            :mod:`aimclr_mm.utils.config_check`.
    """
    cfg = read_config(shipped_config(args.config), args.overlays)
    check_options(cfg.to_dict(), args.cfg_options)

    try:
        cfg.merge_from_dict(args.cfg_options)
    except (TypeError, KeyError, AttributeError) as error:
        shown = ' '.join(f'{key}={value}' for key, value in args.cfg_options.items())
        raise ValueError(
            f'--cfg-options {shown} does not fit the config: {describe(error)}'
        ) from error

    check_config(cfg.to_dict(), args.config)
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """Return the config of :func:`compose_config`, ready for a run on one or several ranks."""
    cfg = compose_config(args)
    cfg.launcher = args.launcher

    name = os.path.splitext(os.path.basename(cfg.filename))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
    check_target(cfg.work_dir, folder=True)
    target = os.path.join(cfg.work_dir, os.path.basename(cfg.filename))
    if os.path.realpath(target) == os.path.realpath(args.config):
        # the runner writes the config of the run under this name, and must not overwrite its source
        object.__setattr__(cfg, '_filename', os.path.join(cfg.work_dir, f'{name}_run.py'))

    defaults = dict(seed=None, diff_rank_seed=False, deterministic=False)
    cfg.randomness = {**defaults, **(cfg.get('randomness') or {})}

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    prepare_distributed(cfg)
    keep_freed_memory()
    end_failed_workers()
    return cfg


@contextmanager
def locked_work_dir(cfg: Config) -> Iterator[None]:
    """Keep other trainings out of the work directory of a run; its first rank holds the lock.

    Raises:
        ValueError: if another training uses it.
    """
    variable = RANK_VARIABLES.get(cfg.launcher)
    if variable and int(os.environ.get(variable, 0)):
        yield
        return

    path = os.path.join(cfg.work_dir, '.training.lock')
    remedy = 'wait for it, or give another --work-dir'
    with exclusive(path, cfg.work_dir, remedy), named_errors(cfg.work_dir):
        yield


def use_amp(cfg: Config) -> None:
    """Enable mixed precision: bfloat16, and float16 with loss scaling on a GPU without bfloat16.

    A config with mmengine's ``AmpOptimWrapper`` chooses float16 on any GPU.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise ValueError(f'--amp does not support the optimizer wrapper {kind!r} of the config')

    if torch.cuda.is_available() and (kind == 'AmpOptimWrapper' or not has_fast_bfloat16()):
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        return

    cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    for name in ('loss_scale', 'dtype', 'use_fsdp'):  # settings of AmpOptimWrapper
        cfg.optim_wrapper.pop(name, None)
    if not has_fast_bfloat16():
        print(
            'note: this CPU has no bfloat16 instructions; --amp is slower than float32',
            file=sys.stderr,
        )


def use_pretrained(cfg: Config, checkpoint: str, stream: str | None) -> None:
    """Start a classifier or a pre-training from the encoder of a checkpoint.

    Args:
        cfg: config of the training; changed in place.
        checkpoint, stream: see :class:`~aimclr_mm.engine.LoadEncoderHook`.
    """
    if stream is not None and 'streams' in cfg.model:
        raise ValueError(
            f'--pretrained-stream {stream} selects one stream, but the config trains '
            f'{", ".join(cfg.model.streams)}, each from its own in the checkpoint; leave it out'
        )

    load_checkpoint_file(checkpoint)  # report an unreadable file before the data are loaded
    hook = dict(type='LoadEncoderHook', checkpoint=checkpoint, stream=stream)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]


def describe(error: BaseException) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f'{error.filename!r}: {error.strerror}'
    elif isinstance(error, KeyError) and error.args:
        text = str(error.args[0])  # str(KeyError) adds quotes
    else:
        text = str(error)

    text = printable(' '.join(text.split()))
    if not isinstance(error, READABLE_ERRORS) or not text:
        text = f'{type(error).__name__}: {text}'.rstrip(': ')
    return text if len(text) <= MAX_MESSAGE else f'{text[:MAX_MESSAGE]}...'


def describe_on_rank(error: BaseException) -> str:
    """Return the message of an error with the rank, and explain lost connections between ranks."""
    message = describe(error)
    if os.environ.get('WORLD_SIZE', '1') == '1':
        return message

    if re.search('Timed out waiting|Wait timeout|Watchdog caught', message):
        message = (
            'another rank did not answer in time: it hangs, was stopped or is slower than '
            f'env_cfg.dist_cfg.timeout allows ({message[:200]})'
        )
    elif re.search('Connection (reset|closed)|Broken pipe|NCCL.*remote', message):
        message = (
            'another rank has ended; its own message or that of the launcher says why '
            f'({message[:200]})'
        )
    return f'rank {os.environ.get("RANK")}: {message}'


def _prepare_streams() -> None:
    """Open standard streams that are closed, and escape characters that they cannot encode."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # otherwise the next file would get the number of a closed stream
    os.close(descriptor)

    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'w', encoding='utf-8'))  # noqa: SIM115
    with suppress(AttributeError, OSError):  # of a stream of another kind
        sys.stdout.reconfigure(errors='backslashreplace')
    # a full disk ends the command with one message, not with a traceback of each log line
    logging.raiseExceptions = '--debug' in sys.argv
    logging.setLogRecordFactory(LogRecord)


def _exit_on_sigterm(*_: object) -> None:
    """Exit by an exception, which removes temporary files; a second signal ends the process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(128 + signal.SIGTERM)


def run(main: Callable[[], None]) -> None:
    """Run a tool; report an error in one line on stderr and exit with code 1.

    ``--debug`` adds the traceback. In a distributed run the message names the rank. The exit
    code is 130 after an interrupt, 141 after a broken pipe and 143 after SIGTERM.
    """
    _prepare_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # until here it ends at once
    # ranks that wait for each other would not get to a handler; they end at once
    if not any(argument.startswith('--launcher') for argument in sys.argv):
        signal.signal(signal.SIGTERM, _exit_on_sigterm)
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # otherwise Python reports the broken pipe again when it flushes stdout at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:  # noqa: BLE001  the outermost frame of a command
        if '--debug' in sys.argv:
            traceback.print_exc()
        sys.stderr.flush()
        message = f'error: {describe_on_rank(error)} (--debug shows where)'
        if os.environ.get('WORLD_SIZE', '1') != '1':
            # sys.exit writes the end of the line separately, and ranks may fail at the same time
            sys.stderr.write(f'{message}\n')
            sys.exit(1)
        sys.exit(message)

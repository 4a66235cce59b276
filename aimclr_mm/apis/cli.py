"""What the command-line tools share: options, one-line errors, distributed start."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable

from aimclr_mm.utils.files import check_target

# errors whose message is written for who calls a tool; that of any other kind is shown with its kind
SPEAKING = (ValueError, OSError, RuntimeError, ImportError, KeyError)
LONGEST = 2000  # letters of a message


def output_file(path: str) -> str:
    """Type of an option that names a file to write: it is looked at before the work begins."""
    return _output(path, folder=False)


def output_folder(path: str) -> str:
    """The same of a folder to write to."""
    return _output(path, folder=True)


def _output(path: str, folder: bool) -> str:
    try:
        check_target(path, folder)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def check_seeds(parser: argparse.ArgumentParser, seeds: list[int]) -> None:
    """Ends the command if one of its seeds is negative or comes twice."""
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        parser.error(f'--seeds {seeds}: they must be different and not negative')


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is laid over a config, and ``--debug``."""
    from mmengine.config import DictAction

    class Settings(DictAction):
        """Refuses what is no KEY=VALUE in one line."""

        def __call__(self, parser, namespace, values, option_string=None) -> None:
            try:
                super().__call__(parser, namespace, values, option_string)
            except (ValueError, AssertionError) as error:
                raise argparse.ArgumentError(
                    self, f'{" ".join(values)!r} is not KEY=VALUE ({error})'
                ) from error

    parser.add_argument(
        '--with',
        nargs='+',
        action='extend',
        default=[],
        dest='overlays',
        metavar='OVERLAY',
        help='config files to lay over the config: a method, an ablation, a protocol, a schedule',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Settings,
        default={},
        metavar='KEY=VALUE',
        help='settings of the config to override, such as model.temperature=0.1',
    )
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of mmaction2's tools that train.py and test.py share."""
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='folder of logs and results; work_dirs/<name of the config> if not given',
    )
    add_config_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the ranks of a distributed run were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Adds what tools that embed recordings share: config and checkpoint first."""
    parser.add_argument('config', help='config file, that of the training')
    parser.add_argument(
        'checkpoint', help="checkpoint file; or 'random', to have something to compare with"
    )
    parser.add_argument(
        '--stream', help='the stream to take from a checkpoint of several; all if not given'
    )
    parser.add_argument(
        '--device', help='such as cpu or cuda:0; a GPU where there is one if not given'
    )
    add_config_options(parser)


def open_encoder(args: argparse.Namespace):
    """The encoder of the command line, an :class:`aimclr_mm.apis.EmbeddingInferencer`."""
    from . import load_encoder

    return load_encoder(compose_config(args), args.checkpoint, args.device, args.stream)


def compose_config(args: argparse.Namespace):
    """The config of the command line with ``--with`` and ``--cfg-options`` on top, checked.

    Raises:
        FileNotFoundError: if a file of it is missing.
        ValueError: if a file cannot be read, or a setting cannot be right (see :mod:`aimclr_mm.utils.config_check`).
    """
    from aimclr_mm.utils.config_check import check_config, check_options
    from aimclr_mm.utils.overlays import read_config

    cfg = read_config(args.config, args.overlays)
    check_options(cfg.to_dict(), args.cfg_options)
    try:
        cfg.merge_from_dict(args.cfg_options)
    except (TypeError, KeyError, AttributeError) as error:
        shown = ' '.join(f'{key}={value}' for key, value in args.cfg_options.items())
        raise ValueError(
            f'--cfg-options {shown} does not go with the config: {_message(error)}'
        ) from error
    check_config(cfg.to_dict(), args.config)
    return cfg


def load_config(args: argparse.Namespace):
    """The config of the command line, see :func:`compose_config`, ready for a distributed run."""
    from aimclr_mm.engine.distributed import prepare_distributed
    from aimclr_mm.utils.malloc import keep_freed_memory

    cfg = compose_config(args)
    cfg.launcher = args.launcher
    name = os.path.splitext(os.path.basename(cfg.filename))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
    check_target(cfg.work_dir, folder=True)
    cfg.randomness = {
        **dict(seed=None, diff_rank_seed=False, deterministic=False),
        **(cfg.get('randomness') or {}),
    }
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    prepare_distributed(cfg)
    keep_freed_memory()
    return cfg


def use_amp(cfg) -> None:
    """Mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU."""
    import torch

    from aimclr_mm.engine.optim_wrapper import has_fast_bfloat16

    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise ValueError(f'--amp does not go with the optimizer wrapper {kind!r} of the config')
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    if not has_fast_bfloat16():
        print(
            'note: this CPU has no bfloat16 instructions, so that --amp is slower than float32',
            file=sys.stderr,
        )


def use_pretrained(cfg, checkpoint: str, stream: str | None) -> None:
    """Lets a classifier start from the encoder of a checkpoint.

    Args:
        cfg: config of a classifier; changed in place.
        checkpoint, stream: see :class:`~aimclr_mm.engine.LoadEncoderHook`.
    """
    from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file

    if cfg.model.type != 'RecognizerGCN':
        raise ValueError(
            f'--pretrained is for classifiers; the config has a {cfg.model.type}. Add --with '
            'configs/protocols/finetune.py, or go on pre-training with --cfg-options '
            'load_from=CHECKPOINT'
        )
    load_checkpoint_file(checkpoint)  # a bad file is reported before the data are read
    cfg.custom_hooks = [
        *cfg.get('custom_hooks', []),
        dict(type='LoadEncoderHook', checkpoint=checkpoint, stream=stream),
    ]


def _message(error: BaseException) -> str:
    """One line of what an error says."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f'{error.filename!r}: {error.strerror}'
    else:
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = ' '.join(text.split())
    if not isinstance(error, SPEAKING) or not text:
        text = f'{type(error).__name__}: {text}'.rstrip(': ')
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}...'


def _rank() -> str:
    """Which rank this process is, and nothing where there is only one."""
    return f'rank {os.environ.get("RANK")}: ' if os.environ.get('WORLD_SIZE', '1') != '1' else ''


def _of_ranks(message: str) -> str:
    """The message, or what it means when it comes from the connection between ranks."""
    if re.search('Timed out waiting|Wait timeout|Watchdog caught', message):
        return (
            'another rank did not answer in time: it hangs, was stopped or is slower than env_cfg.dist_cfg.timeout '
            f'allows ({message[:200]})'
        )
    if re.search('Connection (reset|closed)|Broken pipe|NCCL.*remote', message):
        return f'another rank has ended; its own message or that of the launcher tells why ({message[:200]})'
    return message


def run(main: Callable[[], None]) -> None:
    """Runs a tool: an error becomes one line on stderr and exit code 1; ``--debug`` shows where it came from.

    Of several ranks each says which it is. An interrupt ends with exit code 130, a reader that went away with 141.
    """
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python complains once more at its end
        sys.exit(141)
    except Exception as error:  # noqa: BLE001  the outermost frame of a command
        if '--debug' in sys.argv:
            traceback.print_exc()
        sys.stderr.flush()
        message = _of_ranks(_message(error)) if _rank() else _message(error)
        sys.exit(f'error: {_rank()}{message} (--debug shows where)')

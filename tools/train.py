"""Pre-train an encoder, or train a classifier on one.

    python tools/train.py configs/aimclr_ntu60_xsub_joint.py
    python tools/train.py --data data/mine.pkl                           # a config from the data
    python tools/train.py configs/aimclr_ntu60_xsub_joint.py --with configs/methods/crosclr.py
    python tools/train.py CONFIG --with configs/protocols/finetune.py --pretrained CHECKPOINT
    python tools/train.py CONFIG --pretrained CHECKPOINT                 # pre-train further
    python tools/train.py configs/aimclr_ntu60_xsub_joint.py --resume    # from the last checkpoint
    bash tools/dist_train.sh configs/aimclr_ntu60_xsub_joint.py 4        # 4 GPUs or CPU processes

Logs, checkpoints and the config go to work_dirs/<name of the config>_<names of the overlays>.

--data chooses joints, people, frames, splits, batch, memory bank and validation from an annotation
file, prints them and keeps them as a config in the work directory, for any folder.
"""

import argparse
import os
import signal

if __name__ == '__main__':  # Ctrl-C during the imports ends the command without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mmaction.registry import RUNNERS

from aimclr_mm.apis import cli
from aimclr_mm.apis.data_config import write_data_config
from aimclr_mm.engine import scale_schedule
from aimclr_mm.utils.terminal import say


def parse_args() -> argparse.Namespace:
    """Parse the options of mmaction2's tools/train.py and ours."""
    parser = cli.Parser(__doc__)
    parser.add_shared('config', help='config file', nargs='?')
    parser.add_argument(
        '--data', metavar='FILE', help='annotation file to choose a config for, instead of CONFIG'
    )
    parser.add_argument('--epochs', type=int, help='number of epochs; scales the whole schedule')
    parser.add_argument(
        '--pretrained', metavar='CHECKPOINT', help='start from the encoder of this checkpoint'
    )
    parser.add_argument(
        '--pretrained-stream',
        metavar='STREAM',
        help='which stream of a multi-stream --pretrained checkpoint to take',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or from the newest one in the work directory',
    )
    parser.add_shared('--amp')
    parser.add_argument(
        '--no-validate', action='store_true', help='skip validation; needed for data without labels'
    )
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_shared('--seed')
    parser.add_argument(
        '--diff-rank-seed', action='store_true', help='a different seed on each rank'
    )
    parser.add_argument(
        '--deterministic', action='store_true', help='use deterministic cuDNN algorithms'
    )
    parser.add_run_options()

    args = parser.parse_args()
    if args.pretrained_stream is not None and args.pretrained is None:
        parser.error('--pretrained-stream needs --pretrained')
    if (args.config is None) == (args.data is None):
        parser.error('give either CONFIG or --data FILE')
    return args


def choose_config(args: argparse.Namespace) -> None:
    """Write a config for ``--data``, print what it was chosen from, and use it."""
    args.config, facts = write_data_config(args.data, args.work_dir)
    if os.environ.get('RANK', '0') == '0':
        say(f'{args.config}:', *facts.lines())


def main() -> None:
    """Build the runner and train."""
    args = parse_args()
    if args.data is not None:
        choose_config(args)
    cfg = cli.load_config(args)

    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.epochs is not None:
        scale_schedule(cfg, args.epochs)
    if args.pretrained is not None:
        cli.use_pretrained(cfg, args.pretrained, args.pretrained_stream)
    if args.amp:
        cli.use_amp(cfg)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    cfg.randomness.diff_rank_seed |= args.diff_rank_seed
    cfg.randomness.deterministic |= args.deterministic

    cfg.setdefault('runner_type', 'Runner')
    with cli.locked_work_dir(cfg):
        RUNNERS.build(cfg).train()


if __name__ == '__main__':
    cli.run(main)

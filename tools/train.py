"""Pre-trains an encoder, or trains a classifier on one.

    python tools/train.py configs/aimclr_ntu60_xsub_joint.py
    python tools/train.py configs/aimclr_ntu60_xsub_joint.py --with configs/methods/crosclr.py
    python tools/train.py CONFIG --with configs/protocols/finetune.py --pretrained CHECKPOINT
    python tools/train.py configs/aimclr_ntu60_xsub_joint.py --resume       # goes on after the last checkpoint
    bash tools/dist_train.sh configs/aimclr_ntu60_xsub_joint.py 4           # four GPUs, or four CPU processes

Logs, checkpoints and the config go to work_dirs/<name of the config>_<names of the overlays>.
"""

import argparse

from aimclr_mm.apis import cli


def parse_args() -> argparse.Namespace:
    """Command line of mmaction2's tools/train.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--epochs', type=int, help='length of the training; the whole schedule is scaled to it'
    )
    parser.add_argument(
        '--pretrained', metavar='CHECKPOINT', help='encoder that a classifier starts from'
    )
    parser.add_argument(
        '--pretrained-stream', metavar='STREAM', help='of a checkpoint that holds several streams'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or from the newest one in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='no KNN accuracy while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_argument('--seed', type=int, help='seed of all random numbers')
    parser.add_argument('--diff-rank-seed', action='store_true', help='other seeds for other ranks')
    parser.add_argument(
        '--deterministic', action='store_true', help='deterministic algorithms of CUDNN'
    )
    cli.add_run_options(parser)
    args = parser.parse_args()
    if args.pretrained_stream is not None and args.pretrained is None:
        parser.error('--pretrained-stream needs --pretrained')
    return args


def main() -> None:
    """Builds the runner and trains."""
    args = parse_args()
    cfg = cli.load_config(args)

    from mmaction.registry import RUNNERS

    from aimclr_mm.engine import scale_schedule

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
    RUNNERS.build(cfg).train()


if __name__ == '__main__':
    cli.run(main)

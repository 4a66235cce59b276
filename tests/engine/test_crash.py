"""A crash at any change of the file system leaves an intact checkpoint."""

import os

import pytest
import torch

from aimclr_mm.engine import newest_checkpoint
from tests.runs import VALIDATION, toy_runner

pytestmark = pytest.mark.usefixtures('quick_checkpoints')


class Crash(BaseException):
    """A crash of the process."""


class Crasher:
    """Crash before a change of the file system; record the finished checkpoints."""

    def __init__(self, monkeypatch, at: int) -> None:
        self.left, self.finished = at, []
        for name in ('replace', 'remove', 'fsync'):
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, function):
        def wrapped(*args):
            self.left -= 1
            if self.left < 0:
                raise Crash
            function(*args)
            if function.__name__ == 'replace' and args[1].endswith('.pth'):
                self.finished.append(os.path.basename(args[1]))

        return wrapped


@pytest.mark.parametrize('options', [{}, dict(save_best='score', rule='less')], ids=['one', 'best'])
def test_a_crash_at_any_change_of_a_file_leaves_the_newest_checkpoint(
    tmp_path, monkeypatch, options
):
    at, crashed = 0, True
    while crashed:
        work_dir, crashed = tmp_path / str(at), False
        runner = toy_runner(
            work_dir,
            **{**VALIDATION, 'val_evaluator': dict(type='Falling')},
            checkpoint=dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=1, **options),
        )
        with monkeypatch.context() as patch:
            crasher = Crasher(patch, at)
            try:
                runner.train()
            except Crash:
                crashed = True
        found = newest_checkpoint(str(work_dir))
        last = max((name for name in crasher.finished if name.startswith('epoch_')), default=None)
        assert os.path.basename(found) == last if last else found is None
        best = [torch.load(path, weights_only=True) for path in work_dir.glob('best_*.pth')]
        assert bool(best) == any(name.startswith('best_') for name in crasher.finished)
        at += 1
    assert at > 10 and [path.name for path in work_dir.glob('epoch_*.pth')] == ['epoch_2.pth']
    best = ['best_score_epoch_2.pth'] if options else []
    assert [path.name for path in work_dir.glob('best_*.pth')] == best

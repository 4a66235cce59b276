"""Resume is bit-equal to an uninterrupted run: toy model here, real command in test_kill.py."""

import errno
import io
import os
import signal

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from aimclr_mm.engine import SigtermHook, newest_checkpoint
from aimclr_mm.engine.console_log import ConsoleRunner
from aimclr_mm.engine.hooks import sigterm
from tests.runs import VALIDATION, assert_same, toy_runner

pytestmark = pytest.mark.usefixtures('quick_checkpoints')


@pytest.fixture(autouse=True)
def handlers():
    """Restore the signal handlers of the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class SignalHook(Hook):
    """Send this process a SIGTERM in a training iteration, or in the first of validation."""

    def __init__(self, iteration: int | None) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, **_) -> None:
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    def after_val_iter(self, runner, **_) -> None:
        if self.iteration is None:
            os.kill(os.getpid(), signal.SIGTERM)


def interrupt(work_dir, iteration: int | None, **cfg) -> dict:
    """Train until a SIGTERM; return the checkpoint."""
    with pytest.raises(SystemExit) as end:
        toy_runner(work_dir, hooks=[SignalHook(iteration)], **cfg).train()
    assert end.value.code == 143
    return torch.load(work_dir / 'interrupted.pth', weights_only=True)


# SIGTERM and resume


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return the last checkpoint of an uninterrupted run."""
    path = tmp_path_factory.mktemp('whole')
    toy_runner(path).train()
    return path / 'epoch_2.pth'


@pytest.mark.parametrize('iteration', range(1, 11))
def test_a_run_stopped_after_any_iteration_ends_like_one_that_never_stopped(
    tmp_path, whole, iteration
):
    saved = interrupt(tmp_path, iteration)
    assert saved['meta']['iter'] == iteration and saved['meta']['epoch'] == (iteration - 1) // 5
    toy_runner(tmp_path, resume=True).train()
    assert_same(tmp_path / 'epoch_2.pth', whole)
    assert not (tmp_path / 'interrupted.pth').exists()
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_runs_are_equal_for_equal_seeds_only(tmp_path, whole):
    toy_runner(tmp_path / 'same').train()
    assert_same(tmp_path / 'same' / 'epoch_2.pth', whole)
    toy_runner(tmp_path / 'other', randomness=dict(seed=4)).train()
    with pytest.raises(AssertionError, match='state_dict'):
        assert_same(tmp_path / 'other' / 'epoch_2.pth', whole)


def test_workers_of_the_data_loader_begin_where_they_were(tmp_path):
    loader = dict(
        batch_size=2,
        num_workers=2,
        drop_last=True,
        dataset=dict(type='ToyData'),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )
    toy_runner(tmp_path / 'whole', train_dataloader=loader).train()
    interrupt(tmp_path / 'stopped', 8, train_dataloader=loader)
    toy_runner(tmp_path / 'stopped', resume=True, train_dataloader=loader).train()
    assert_same(tmp_path / 'stopped' / 'epoch_2.pth', tmp_path / 'whole' / 'epoch_2.pth')


def test_several_stops_in_one_epoch(tmp_path, whole):
    for iteration in (2, 3, 4, 7):
        interrupt(tmp_path, iteration, resume=True)
    toy_runner(tmp_path, resume=True).train()
    assert_same(tmp_path / 'epoch_2.pth', whole)


def test_stop_waits_for_accumulated_gradients(tmp_path):
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2))
    toy_runner(tmp_path / 'whole', **cfg).train()
    saved = interrupt(tmp_path / 'stopped', 3, **cfg)
    assert saved['meta']['iter'] == 4
    toy_runner(tmp_path / 'stopped', resume=True, **cfg).train()
    assert_same(tmp_path / 'stopped' / 'epoch_2.pth', tmp_path / 'whole' / 'epoch_2.pth')


def test_stop_in_validation(tmp_path, whole):
    saved = interrupt(tmp_path, None, **VALIDATION)
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (1, 5)
    toy_runner(tmp_path, resume=True, **VALIDATION).train()
    assert_same(tmp_path / 'epoch_2.pth', whole)


def test_checkpoints_by_iteration_at_the_end_of_an_epoch(tmp_path):
    by_iteration = dict(type='SafeCheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=20)
    toy_runner(tmp_path / 'whole', checkpoint=by_iteration).train()
    for iteration in (4, 5, 6):
        work_dir = tmp_path / f'from_{iteration}'
        toy_runner(
            work_dir,
            checkpoint=by_iteration,
            resume=True,
            load_from=str(tmp_path / 'whole' / f'iter_{iteration}.pth'),
        ).train()
        assert_same(work_dir / 'iter_10.pth', tmp_path / 'whole' / 'iter_10.pth')


def test_an_epoch_of_another_length_is_refused_in_its_middle_only(tmp_path):
    interrupt(tmp_path, 3)
    longer = dict(
        batch_size=3,
        dataset=dict(type='ToyData'),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )
    with pytest.raises(ValueError, match='after 3 of 5 batches .* now has 4: resume with the same'):
        toy_runner(tmp_path, resume=True, train_dataloader=longer).train()
    toy_runner(
        tmp_path, resume=True, train_cfg=dict(type='ResumableTrainLoop', max_epochs=1)
    ).train()
    toy_runner(tmp_path, resume=True, train_dataloader=longer).train()
    assert (tmp_path / 'epoch_2.pth').exists()


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    hook, killed, now = SigtermHook(), [], [100.0]
    monkeypatch.setattr(sigterm.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(sigterm.os, 'kill', lambda *call: killed.append(call))
    with hook.listening():
        for now[0] in (100.0, 100.1, 104.0):  # the launcher repeats the scheduler's signal
            signal.raise_signal(signal.SIGTERM)
        assert not killed and hook.received == 100
        now[0] = 106.0
        signal.raise_signal(signal.SIGTERM)
    assert (
        killed == [(os.getpid(), signal.SIGTERM)]
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )


# choice of the checkpoint


@pytest.fixture
def saved(tmp_path):
    """Return a run with a checkpoint after each of its ten iterations."""
    toy_runner(
        tmp_path, checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=1)
    ).train()
    return tmp_path


def test_the_latest_iteration_counts_and_not_time_name_or_last_checkpoint(saved):
    os.utime(saved / 'iter_3.pth')
    os.rename(saved / 'iter_10.pth', saved / 'a.pth')
    (saved / 'last_checkpoint').write_text(str(saved / 'iter_3.pth'))
    torch.save(dict(state_dict={}), saved / 'weights_only.pth')
    assert newest_checkpoint(str(saved)) == str(saved / 'a.pth')


def damage_by_truncation(content: bytes) -> bytes:
    return content[:-100]


def damage_by_emptying(content: bytes) -> bytes:
    return b''


def damage_in_a_tensor(content: bytes) -> bytes:
    weights = torch.load(io.BytesIO(content), weights_only=True)['state_dict']['layers.2.weight']
    place = content.index(weights.numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize('kind', ['rights', 'loop'])
def test_checkpoint_that_cannot_be_opened_stops_the_resume(tmp_path, monkeypatch, kind):
    """It may be the newest one, which the next save would overwrite."""
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        torch.save({}, tmp_path / name)
    if kind == 'loop':
        (tmp_path / 'epoch_2.pth').unlink()
        (tmp_path / 'epoch_2.pth').symlink_to('epoch_2.pth')
    else:  # root may read everything
        real = open

        def refusing(path, *args, **kwargs):
            if str(path).endswith('epoch_2.pth'):
                raise PermissionError(errno.EACCES, 'Permission denied', path)
            return real(path, *args, **kwargs)

        monkeypatch.setattr('builtins.open', refusing)
    with pytest.raises(OSError, match='it cannot be opened.*epoch_2.pth'):
        newest_checkpoint(str(tmp_path))


@pytest.mark.parametrize('damage', [damage_by_truncation, damage_by_emptying, damage_in_a_tensor])
def test_damaged_checkpoints_are_skipped_with_a_warning(saved, monkeypatch, damage):
    warnings = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', warnings.append)
    for iteration in (9, 10):
        path = saved / f'iter_{iteration}.pth'
        path.write_bytes(damage(path.read_bytes()))
    assert newest_checkpoint(str(saved)) == str(saved / 'iter_8.pth')
    assert len(warnings) == 2 and {'iter_9', 'iter_10'} == {
        text.split('.pth')[0].split('/')[-1] for text in warnings
    }


def test_a_folder_without_checkpoints_and_one_with_damaged_ones_only(tmp_path):
    assert newest_checkpoint(str(tmp_path)) is None
    (tmp_path / 'epoch_1.pth').write_bytes(b'PK')
    with pytest.raises(RuntimeError, match='no checkpoint in .* is intact, .*epoch_1.pth'):
        newest_checkpoint(str(tmp_path))


def test_resume_without_a_checkpoint_starts_from_scratch(tmp_path, whole):
    (tmp_path / 'epoch_7.pth.4711.tmp').write_bytes(b'half')
    toy_runner(tmp_path, resume=True).train()
    assert_same(tmp_path / 'epoch_2.pth', whole)
    assert not list(tmp_path.glob('*.tmp'))


def test_a_new_run_in_the_folder_of_another_is_warned(tmp_path, monkeypatch):
    for used in (False, True):
        runner, warnings = toy_runner(tmp_path), []
        monkeypatch.setattr(runner.logger, 'warning', warnings.append)
        runner.train()
        assert any('holds checkpoints of an earlier run' in warning for warning in warnings) == used


def test_what_cannot_be_resumed_is_refused(tmp_path, whole):
    torch.save(dict(torch.load(whole, weights_only=True), optimizer=None), tmp_path / 'a.pth')
    content = torch.load(whole, weights_only=True)
    content.pop('optimizer')
    torch.save(content, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='weights.pth.* has no optimizer.*load_from'):
        toy_runner(tmp_path / 'a', resume=True, load_from=str(tmp_path / 'weights.pth')).train()
    content = torch.load(whole, weights_only=True)
    content['state_dict']['layers.2.weight'] = torch.ones(4, 2)
    torch.save(content, tmp_path / 'wide.pth')
    with pytest.raises(
        ValueError, match=r'wide.pth.* layers.2.weight has shape \(4, 2\), the model \(3, 2\)'
    ):
        toy_runner(tmp_path / 'b', resume=True, load_from=str(tmp_path / 'wide.pth')).train()


def test_text_of_a_config_in_a_checkpoint_is_not_run(tmp_path, whole):
    content = torch.load(whole, weights_only=True)
    content['meta']['config'] = f'open({str(tmp_path / "mark")!r}, "w")'
    torch.save(content, tmp_path / 'evil.pth')
    toy_runner(tmp_path / 'run', resume=True, load_from=str(tmp_path / 'evil.pth')).train()
    assert not (tmp_path / 'mark').exists()


def test_a_schedule_that_has_changed_is_followed(tmp_path, monkeypatch):
    """A run of two epochs that is resumed for four has the learning rates of one of four."""

    def cosine(epochs: int) -> dict:
        schedule = dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)
        return dict(
            param_scheduler=[schedule],
            train_cfg=dict(type='ResumableTrainLoop', max_epochs=epochs),
        )

    monkeypatch.setattr('tests.runs.Runner', ConsoleRunner)

    def rate(folder, resume: bool = False, epochs: int = 4) -> tuple[float, int]:
        runner = toy_runner(folder, resume=resume, **cosine(epochs))
        runner.train()
        return runner.optim_wrapper.param_groups[0]['lr'], runner.param_schedulers[0].last_step

    expected = rate(tmp_path / 'fresh')
    assert rate(tmp_path / 'resumed', epochs=2) != expected
    assert rate(tmp_path / 'resumed', resume=True) == pytest.approx(expected)

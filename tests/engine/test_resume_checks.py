"""What a checkpoint says is checked before the first step, and its paths are not followed."""

import math
import os

import pytest
import torch

from aimclr_mm.checkpoints.loading import load_weights
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.models.memory_bank import MemoryBank
from tests.runs import VALIDATION, Falling, toy_runner

pytestmark = pytest.mark.usefixtures('quick_checkpoints')
BEST = dict(type='SafeCheckpointHook', interval=1, save_best='score', rule='less')
VALIDATED = {**VALIDATION, 'val_evaluator': dict(type='Falling')}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return a checkpoint after one of two epochs."""
    folder = tmp_path_factory.mktemp('whole')
    toy_runner(folder).train()
    return folder / 'epoch_1.pth'


def resume(work_dir, file, content=None, **cfg) -> None:
    """Resume from a checkpoint, which is written before if its content is given."""
    if content is not None:
        torch.save(content, file)
    toy_runner(work_dir, resume=True, load_from=str(file), **cfg).train()


HUB = ('message_hub', 'runtime_info')
CHANGES = {
    'epoch': (('meta', 'epoch'), 3, r"meta.epoch is '3'; it must be a whole number from 0 to 2"),
    'iteration': (('meta', 'iter'), 2.5, r"meta.iter is '2.5'"),
    'seed': (('meta', 'seed'), '\x1b[2J', r'meta.seed is .*; it must be a whole number'),
    'record': (('meta', 'provenance'), 'text', r'meta.provenance is .*must be a dict'),
    'meta': (('meta',), [1], r'its meta is .*must be a dict'),
    'batch': ((*HUB, 'batch'), 10**6, r'runtime_info.batch is .*from 0 to 5'),
    'kept': ((*HUB, 'keep_ckpt_ids'), ['../x'], r'keep_ckpt_ids is .*whole number'),
    'best': ((*HUB, 'best_score'), 'x', r'best_score is .*must be a number'),
    'log': (('message_hub', 'log_scalars', 'train/loss'), [[1.0], [1, 2]], r'train/loss is'),
    'rate': (('optimizer', 'param_groups', 0, 'lr'), math.nan, r'param_groups.0.lr is .*finite'),
    'sign': (('optimizer', 'param_groups', 0, 'lr'), -1.0, r'param_groups.lr is .*not negative'),
    'group': (('optimizer', 'param_groups'), [], r'param_groups is .*a list of 1 entries'),
    'state': (('optimizer', 'state', 0), dict(momentum_buffer='x'), r'momentum_buffer is'),
    'shape': (
        ('optimizer', 'state', 0),
        dict(momentum_buffer=torch.ones(7)),
        r'momentum_buffer is .*of shape \(2,\)',
    ),
    'infinite': (
        ('optimizer', 'state', 0),
        dict(momentum_buffer=torch.tensor([1, math.inf])),
        r'momentum_buffer is .*finite',
    ),
    'index': (('optimizer', 'state', 9), {}, r'optimizer.state.9 is'),
    'schedule': (('param_schedulers', 0, 'last_step'), 'x', r'param_schedulers.0.last_step is'),
    'schedules': (('param_schedulers',), [], r'param_schedulers is .*a list of 1 entries'),
    'complex': (('state_dict', 'layers.2.bias'), torch.ones(3).cfloat(), r'is of torch.complex64'),
    'integers': (('state_dict', 'layers.2.bias'), torch.ones(3).long(), r'is of torch.int64'),
    'float8': (
        ('state_dict', 'layers.2.bias'),
        torch.ones(3).to(torch.float8_e5m2),
        r'is of torch.float8_e5m2, the model of torch.float32',
    ),
    'nan': (('state_dict', 'layers.2.bias'), torch.full((3,), math.nan), r'holds NaN or infinity'),
    'double': (
        ('state_dict', 'layers.2.bias'),
        torch.tensor([1e300] * 3, dtype=torch.float64),
        r'or infinity',
    ),
}


@pytest.mark.parametrize('kind', CHANGES)
def test_entries_that_cannot_be_right_are_refused(tmp_path, whole, kind):
    (*path, last), value, message = CHANGES[kind]
    content = part = torch.load(whole, weights_only=True)
    for key in path:
        part = part[key]
    part[last] = value
    with pytest.raises(ValueError, match=f'(?s)bad.pth.*{message}') as error:
        resume(tmp_path / 'run', tmp_path / 'bad.pth', content)
    assert len(str(error.value)) < 500
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_weights_in_half_precision_are_loaded(tmp_path):
    layer = torch.nn.BatchNorm1d(2)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        load_weights(layer, dict(state, weight=torch.ones(2, dtype=kind)), 'x.pth')
        assert layer.weight.dtype == torch.float32 and layer.weight.tolist() == [1, 1]


@pytest.mark.parametrize('pointer', [-7, 4, 2**62])
def test_pointer_of_a_memory_bank(pointer):
    bank = MemoryBank(4, 3)
    state = dict(keys=bank.keys.clone(), pointer=torch.tensor(pointer))
    with pytest.raises(ValueError, match=f'pointer is {pointer}; it must be 0 to 3'):
        load_weights(bank, state, 'x.pth')
    assert bank.pointer == 0
    load_weights(bank, dict(state, pointer=torch.tensor(3)), 'x.pth')
    assert bank.pointer == 3


def test_keys_of_a_memory_bank():
    """Also within a model, where the message has the whole name."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), MemoryBank(4, 3))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state['1.keys'][2:] = 0
    with pytest.raises(ValueError, match='1.keys holds 2 keys that are not of length 1'):
        load_weights(model, state, 'x.pth')


# paths


def test_resume_in_another_folder_keeps_the_best_checkpoint_of_the_first(tmp_path, monkeypatch):
    toy_runner(tmp_path / 'a', checkpoint=BEST, **VALIDATED).train()
    (best,) = (tmp_path / 'a').glob('best_*.pth')
    before = best.read_bytes()
    monkeypatch.setattr(Falling, 'calls', 9)  # the next score is better
    resume(tmp_path / 'b', tmp_path / 'a' / 'epoch_1.pth', checkpoint=BEST, **VALIDATED)
    assert best.read_bytes() == before
    assert [path.name for path in (tmp_path / 'b').glob('best_*')] == ['best_score_epoch_2.pth']


def test_best_checkpoint_of_a_folder_that_was_moved_is_replaced(tmp_path, monkeypatch):
    cfg = dict(checkpoint=BEST, **VALIDATED)
    toy_runner(tmp_path / 'a', **{**cfg, 'train_cfg': dict(max_epochs=1, by_epoch=True)}).train()
    os.rename(tmp_path / 'a', tmp_path / 'b')
    assert (tmp_path / 'b' / 'best_score_epoch_1.pth').exists()
    monkeypatch.setattr(Falling, 'calls', 9)  # the next score is better
    toy_runner(tmp_path / 'b', resume=True, **cfg).train()
    assert [path.name for path in (tmp_path / 'b').glob('best_*')] == ['best_score_epoch_2.pth']


@pytest.mark.parametrize('victim', ['outside/victim.pth', 'run/epoch_9.pth', 'run/best_link.pth'])
def test_file_that_a_checkpoint_names_is_not_deleted(tmp_path, whole, victim):
    (tmp_path / 'outside').mkdir()
    (tmp_path / 'run').mkdir()
    (tmp_path / 'outside' / 'victim.pth').write_text('precious')
    if 'link' in victim:
        (tmp_path / victim).symlink_to(tmp_path / 'outside' / 'victim.pth')
    elif 'run' in victim:
        (tmp_path / victim).write_text('precious')
    content = torch.load(whole, weights_only=True)
    content['message_hub']['runtime_info'].update(
        best_ckpt=str(tmp_path / victim), last_ckpt=str(tmp_path / victim), best_score=9.0
    )
    resume(tmp_path / 'run', tmp_path / 'evil.pth', content, checkpoint=BEST, **VALIDATED)
    assert (tmp_path / victim).read_text() == 'precious'
    assert (tmp_path / 'run' / 'best_score_epoch_2.pth').exists()


def test_paths_are_reduced_to_names_whatever_the_hooks(tmp_path):
    info = dict(best_ckpt='/a/b.pth', best_ckpt_x=r'C:\c\d.pth', last_ckpt='../e.pth', iter=1)
    torch.save(dict(message_hub=dict(runtime_info=info)), tmp_path / 'a.pth')
    read = load_checkpoint_file(str(tmp_path / 'a.pth'))['message_hub']['runtime_info']
    names = dict(name_of_best_ckpt='b.pth', name_of_best_ckpt_x='d.pth')
    assert read == dict(iter=1, **names)

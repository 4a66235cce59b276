"""The memory bank against a deque."""

from collections import deque

import pytest
import torch

from aimclr_mm.models.memory_bank import MemoryBank


def filled(length: int, dim: int = 2) -> MemoryBank:
    """A bank that holds -1, -2, ... from the oldest to the newest key."""
    bank = MemoryBank(length, dim)
    bank.keys.copy_(-torch.arange(1.0, length + 1)[:, None].expand(length, dim))
    return bank


def in_order(bank: MemoryBank) -> list[float]:
    """Keys from the oldest to the newest."""
    return torch.roll(bank.keys[:, 0], -int(bank.pointer)).tolist()


@pytest.mark.parametrize(
    'length, batches',
    [
        (10, [3] * 12),
        (8, [8, 8]),
        (7, [7, 1, 6, 7]),
        (12, [4] * 7),
        (5, [1] * 13),
        (1, [1, 1]),
        (9, [2, 9, 4, 4, 0, 3]),
    ],
)
def test_first_in_first_out(length, batches):
    bank, oracle, count = (
        filled(length),
        deque((-i for i in range(1, length + 1)), maxlen=length),
        0,
    )
    for size in batches:
        keys = torch.arange(count, count + size, dtype=torch.float32)
        bank.enqueue(keys[:, None].expand(size, 2))
        oracle.extend(keys.tolist())
        count += size
        assert in_order(bank) == list(oracle)
        assert (bank.keys[:, 0] == bank.keys[:, 1]).all()
    assert int(bank.pointer) == sum(batches) % length


def test_starts_with_different_unit_keys():
    keys = MemoryBank(64, 16).keys
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(64))
    assert (keys @ keys.T - torch.eye(64)).abs().max() < 0.95
    assert keys.mean(dim=0).abs().max() < 0.15
    assert len(MemoryBank(64, 16)) == 64


def test_oversize_batch():
    bank = filled(4)
    before = bank.snapshot()
    with pytest.raises(ValueError, match='bank holds 4 keys.* has 5.*queue_length'):
        bank.enqueue(torch.zeros(5, 2))
    assert torch.equal(bank.keys, before) and int(bank.pointer) == 0


@pytest.mark.parametrize('length', [0, -3])
def test_length_must_be_positive(length):
    with pytest.raises(ValueError, match=f'queue_length={length}'):
        MemoryBank(length, 2)


def test_state_dict_restores_keys_and_position():
    bank, copy = filled(7), MemoryBank(7, 2)
    bank.enqueue(torch.ones(5, 2))
    assert set(bank.state_dict()) == {'keys', 'pointer'} and not list(bank.parameters())
    copy.load_state_dict(bank.state_dict())
    for q in (bank, copy):
        q.enqueue(torch.full((4, 2), 2.0))
    assert torch.equal(bank.keys, copy.keys) and int(copy.pointer) == int(bank.pointer) == 2
    assert in_order(copy) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]


def test_snapshot_is_a_copy():
    bank = filled(6)
    snapshot = bank.snapshot()
    bank.enqueue(torch.ones(4, 2))
    assert torch.equal(snapshot, filled(6).keys) and not torch.equal(snapshot, bank.keys)


def test_gradient_flows_after_enqueue():
    bank, query = filled(6), torch.randn(3, 2, requires_grad=True)
    (query @ bank.snapshot().T).square().sum().backward()
    expected, query.grad = query.grad, None
    loss = (query @ bank.snapshot().T).square().sum()
    bank.enqueue(torch.ones(4, 2))
    loss.backward()
    assert torch.equal(query.grad, expected)


def test_keys_are_stored_without_gradient_and_in_the_type_of_the_queue():
    bank = filled(4)
    bank.enqueue(torch.ones(2, 2, dtype=torch.float16, requires_grad=True))
    assert bank.keys.dtype == torch.float32 and not bank.keys.requires_grad

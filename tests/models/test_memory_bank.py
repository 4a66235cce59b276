"""The memory queue against a deque."""

from collections import deque

import pytest
import torch

from aimclr_mm.models.memory_bank import MemoryQueue


def filled(length: int, dim: int = 2) -> MemoryQueue:
    """A queue that holds -1, -2, ... from the oldest to the newest key."""
    queue = MemoryQueue(length, dim)
    queue.keys.copy_(-torch.arange(1.0, length + 1)[:, None].expand(length, dim))
    return queue


def in_order(queue: MemoryQueue) -> list[float]:
    """Keys from the oldest to the newest."""
    return torch.roll(queue.keys[:, 0], -int(queue.pointer)).tolist()


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
    queue, oracle, count = (
        filled(length),
        deque((-i for i in range(1, length + 1)), maxlen=length),
        0,
    )
    for size in batches:
        keys = torch.arange(count, count + size, dtype=torch.float32)
        queue.enqueue(keys[:, None].expand(size, 2))
        oracle.extend(keys.tolist())
        count += size
        assert in_order(queue) == list(oracle)
        assert (queue.keys[:, 0] == queue.keys[:, 1]).all()
    assert int(queue.pointer) == sum(batches) % length


def test_starts_with_different_unit_keys():
    keys = MemoryQueue(64, 16).keys
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(64))
    assert (keys @ keys.T - torch.eye(64)).abs().max() < 0.95
    assert keys.mean(dim=0).abs().max() < 0.15
    assert len(MemoryQueue(64, 16)) == 64


def test_oversize_batch():
    queue = filled(4)
    before = queue.snapshot()
    with pytest.raises(ValueError, match='queue holds 4 keys.* has 5.*queue_length'):
        queue.enqueue(torch.zeros(5, 2))
    assert torch.equal(queue.keys, before) and int(queue.pointer) == 0


@pytest.mark.parametrize('length', [0, -3])
def test_length_must_be_positive(length):
    with pytest.raises(ValueError, match=f'queue_length={length}'):
        MemoryQueue(length, 2)


def test_state_dict_restores_keys_and_position():
    queue, copy = filled(7), MemoryQueue(7, 2)
    queue.enqueue(torch.ones(5, 2))
    assert set(queue.state_dict()) == {'keys', 'pointer'} and not list(queue.parameters())
    copy.load_state_dict(queue.state_dict())
    for q in (queue, copy):
        q.enqueue(torch.full((4, 2), 2.0))
    assert torch.equal(queue.keys, copy.keys) and int(copy.pointer) == int(queue.pointer) == 2
    assert in_order(copy) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]


def test_snapshot_is_a_copy():
    queue = filled(6)
    snapshot = queue.snapshot()
    queue.enqueue(torch.ones(4, 2))
    assert torch.equal(snapshot, filled(6).keys) and not torch.equal(snapshot, queue.keys)


def test_gradient_flows_after_enqueue():
    queue, query = filled(6), torch.randn(3, 2, requires_grad=True)
    (query @ queue.snapshot().T).square().sum().backward()
    expected, query.grad = query.grad, None
    loss = (query @ queue.snapshot().T).square().sum()
    queue.enqueue(torch.ones(4, 2))
    loss.backward()
    assert torch.equal(query.grad, expected)


def test_keys_are_stored_without_gradient_and_in_the_type_of_the_queue():
    queue = filled(4)
    queue.enqueue(torch.ones(2, 2, dtype=torch.float16, requires_grad=True))
    assert queue.keys.dtype == torch.float32 and not queue.keys.requires_grad

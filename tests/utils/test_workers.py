"""A data worker that cannot send its batch ends the run."""

from multiprocessing.queues import Queue

import pytest
from torch.utils.data import DataLoader

from aimclr_mm.utils.workers import end_failed_workers


class Unsendable(list):
    """Items that no process can send to another."""

    def __getitem__(self, index):
        return lambda: index

    def __len__(self) -> int:
        return 2


def test_batch_that_cannot_be_sent(monkeypatch, capfd):
    """As with a full /dev/shm; by default the data loader would wait forever."""
    monkeypatch.setattr(Queue, '_on_queue_feeder_error', Queue._on_queue_feeder_error)
    end_failed_workers()
    loader = DataLoader(Unsendable(), num_workers=1, collate_fn=list, timeout=60)
    with pytest.raises(RuntimeError, match='worker .*exited unexpectedly'):
        list(loader)
    said = capfd.readouterr().err
    assert 'error: a data worker cannot send a batch' in said and '/dev/shm' in said
    assert 'Traceback' not in said

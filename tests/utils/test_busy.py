"""The note about threads that share their cores with other programs, with faked loads."""

import logging
import os
from types import SimpleNamespace

import pytest
import torch

from aimclr_mm.engine.console_log import ConsoleLogHook
from aimclr_mm.utils.busy import busy_note, machine_busy_note


@pytest.mark.parametrize(
    'threads, cores, load, fewer',
    [
        (2, 2, 0.0, None),
        (2, 2, 0.4, None),  # this command itself
        (2, 2, 1.1, 1),  # another program
        (2, 2, 3.1, 1),
        (1, 2, 9.0, None),  # nothing to gain
        (1, 1, 9.0, None),
        (16, 64, 40.0, None),
        (32, 64, 40.0, 24),
        (64, 64, 2.2, 62),
        (8, 4, 0.0, 4),  # more threads than cores
    ],
)
def test_note(threads, cores, load, fewer):
    note = busy_note(threads, cores, load)
    if fewer is None:
        assert note is None
    else:
        assert note.startswith(f'{threads} threads, but {cores} cores with load {load:.1f}: ')
        assert f'OMP_NUM_THREADS={fewer} ' in note and '\n' not in note


def busy_machine(monkeypatch, load):
    monkeypatch.setattr(os, 'getloadavg', load, raising=False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


@pytest.mark.parametrize('load, warned', [(3.1, True), (0.2, False)])
def test_log_of_a_training(monkeypatch, caplog, load, warned):
    busy_machine(monkeypatch, lambda: (load, 0, 0))
    logger = logging.getLogger('busy')
    with caplog.at_level(logging.INFO, 'busy'):
        ConsoleLogHook().before_train(SimpleNamespace(logger=logger, hooks=[]))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    line = '2 threads, but 2 cores with load 3.1: OMP_NUM_THREADS=1 is often faster'
    assert warnings == [line] * warned


def test_several_processes(monkeypatch):
    busy_machine(monkeypatch, lambda: (0.1, 0, 0))
    assert machine_busy_note() is None
    assert machine_busy_note(2).startswith('2 threads in each of 2 processes, but 2 cores')
    assert 'OMP_NUM_THREADS=8 ' in busy_note(32, 64, 30.0, processes=4)


def test_unknown_load(monkeypatch):
    def unknown():
        raise OSError('no load average')

    busy_machine(monkeypatch, unknown)
    assert machine_busy_note() is None

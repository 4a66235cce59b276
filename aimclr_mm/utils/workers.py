"""Data workers that cannot send a batch end, instead of leaving the main process waiting."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.queues import Queue
from typing import Any

from .terminal import printable


def end_failed_workers() -> None:
    """End worker processes whose batch cannot be sent, for example because /dev/shm is full.

    The thread of a queue that sends objects only reports an error, so that the data loader would
    wait for the batch forever; torch notices a worker that has ended.
    """
    Queue._on_queue_feeder_error = staticmethod(_end_worker)


def _end_worker(error: Exception, _item: Any) -> None:
    message = printable(' '.join(str(error).split()))
    sys.stderr.write(
        f'error: a data worker cannot send a batch ({message}). If memory is short, allow more in '
        '/dev/shm (docker run --shm-size) or more open files (ulimit -n), or set num_workers=0\n'
    )
    sys.stderr.flush()
    if multiprocessing.parent_process() is not None:
        os._exit(1)

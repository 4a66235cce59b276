"""Starts one of the tools on several ranks with torchrun; dist_train.sh and dist_test.sh call it.

    python tools/launch.py TOOL PROCESSES [arguments of the tool]

Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
"""
import os
import sys

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main() -> None:
    """Runs the ranks and leaves with the exit code of the first that failed."""
    tool, processes, *arguments = sys.argv[1:]
    if not processes.isdigit() or int(processes) < 1:
        sys.exit(f'error: the number of processes is {processes!r}; it must be a whole number of at least 1')
    threads = max((os.cpu_count() or 1) // int(processes), 1)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    options = dict(nnodes=('NNODES', '1'), node_rank=('NODE_RANK', '0'), master_addr=('MASTER_ADDR', '127.0.0.1'),
                   master_port=('PORT', '29500'))
    try:
        torchrun.main([*(f'--{option}={os.environ.get(*source)}' for option, source in options.items()),
                       f'--nproc_per_node={processes}', os.path.join(os.path.dirname(__file__), tool),
                       *arguments, '--launcher', 'pytorch'])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        sys.exit(f'error: rank {rank} failed with exit code {failure.exitcode}; its message stands above')


if __name__ == '__main__':
    main()

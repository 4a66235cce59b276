"""Start one of the tools on several ranks with torchrun; dist_train.sh and dist_test.sh call it.

    python tools/launch.py TOOL PROCESSES [arguments of the tool]

On one machine PORT is optional. On several machines each needs NNODES, NODE_RANK, MASTER_ADDR and
PORT (default: 29500) in its environment. If a rank fails or is killed, all others end; the last
line names it, and the exit code is its own, or 128 plus the number of its signal.
"""

import os
import signal
import socket
import sys

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

TOOLS = os.path.dirname(os.path.abspath(__file__))


def parse_integer(name: str, text: str | None, minimum: int, maximum: int) -> int:
    """Return an integer; end the command with one line if it is missing or out of range."""
    if text is None or not text.isdecimal() or not minimum <= int(text) <= maximum:
        given = 'not set' if text is None else repr(text)
        sys.exit(f'error: {name} is {given}; it must be a whole number of {minimum} to {maximum}')
    return int(text)


def meeting_point() -> list[str]:
    """Return torchrun's options for the machines and the rendezvous of their ranks."""
    environment = os.environ
    nodes = parse_integer('NNODES', environment.get('NNODES', '1'), 1, 10000)
    node = parse_integer(
        'NODE_RANK', environment.get('NODE_RANK', '0' if nodes == 1 else None), 0, nodes - 1
    )
    if nodes == 1 and 'PORT' not in environment:
        return ['--standalone', '--local-addr=127.0.0.1']
    port = parse_integer('PORT', environment.get('PORT', '29500'), 1, 65535)
    host = environment.get('MASTER_ADDR', '127.0.0.1' if nodes == 1 else '')
    try:
        socket.getaddrinfo(host or None, port)
        if not host:
            raise OSError('it is not set')
    except OSError as error:
        sys.exit(
            f'error: MASTER_ADDR is {host!r} ({error}); it must be the name or address of the '
            f'first of the {nodes} machines'
        )
    return [
        f'--nnodes={nodes}',
        f'--node-rank={node}',
        f'--master-addr={host}',
        f'--master-port={port}',
    ]


def end(message: str, code: int) -> None:
    """End the command with a line on stderr."""
    print(message, file=sys.stderr)
    sys.exit(code)


def explain(error: ChildFailedError) -> None:
    """End the command with a line about the rank that failed first."""
    rank, failure = error.get_first_failure()
    if failure.exitcode == 128 + signal.SIGTERM:
        end(f'rank {rank} ended after a SIGTERM, see its message above', failure.exitcode)
    if failure.exitcode >= 0:
        end(
            f'error: rank {rank} failed with exit code {failure.exitcode}; its message is above',
            failure.exitcode,
        )

    name = signal.Signals(-failure.exitcode).name
    hint = '; the system does this when memory runs out' if name == 'SIGKILL' else ''
    end(f'error: rank {rank} was ended by {name}{hint}', 128 - failure.exitcode)


def main() -> None:
    """Run the ranks; exit with the code of the first that failed."""
    if len(sys.argv) < 3:
        end(f'usage: {os.path.basename(__file__)} TOOL PROCESSES [arguments of the tool]', 2)
    tool, processes, *arguments = sys.argv[1:]
    if not os.path.isfile(os.path.join(TOOLS, tool)):
        sys.exit(f'error: there is no tool {tool!r} in {TOOLS}')
    count = parse_integer('the number of processes', processes, 1, 10000)
    os.environ.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // count, 1)))
    options = meeting_point()

    try:
        torchrun.main(
            [
                *options,
                f'--nproc-per-node={count}',
                os.path.join(TOOLS, tool),
                *arguments,
                '--launcher',
                'pytorch',
            ]
        )
    except ChildFailedError as error:
        explain(error)
    except SignalException as error:
        end(f'ended by {error.sigval.name}', 128 + error.sigval)
    except (RuntimeError, OSError) as error:  # the ranks did not find each other
        reason = (
            str(error).splitlines()[0].rpartition(': ')[2] if str(error) else type(error).__name__
        )
        taken = 'EADDRINUSE' in str(error)
        end(
            f'error: the ranks did not find each other at {" ".join(options)} ({reason})'
            + ('; another job has this port, set PORT to a free one' if taken else ''),
            1,
        )


if __name__ == '__main__':
    main()

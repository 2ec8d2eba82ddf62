"""Computes how many file descriptors the processes may need, and raises the limit at start.

    raise_descriptor_limit(workers=4, clients=32)     # E_NOFILE, exit 5, when it cannot be had

The limit is inherited by every child, so one number serves all: the supervisor's, who keeps a
copy of each ring, is the largest. To be refused at start is better than E_DESCRIPTORS under load.
"""

import resource

from ribcage.shared.errors import Exit, RibcageError

RINGS = 32  # ports at most, one ring of each a worker
OBJECTS = 6  # of a worker: stats object, both ends of its bell, channel, and two to spare
REST = 256  # FIB, queue, log, sockets, helpers' pipes, and room


def descriptors_needed(workers: int, clients: int) -> int:
    """Rings are there twice, for the descriptor store, and once more for a moment, while a
    successor's are opened or handed over."""
    return workers * (RINGS + OBJECTS) * 3 + clients + REST


def raise_descriptor_limit(workers: int, clients: int) -> None:
    """The soft limit, and with the right to do so the hard one, up to what is needed."""
    needed = descriptors_needed(workers, clients)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY:
        hard = max(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError):
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise RibcageError(
            "E_NOFILE",
            f"{needed} open files are needed ({workers} workers, {clients} management clients), "
            f"the hard limit is {allowed}",
            f"ulimit -Hn {needed}, LimitNOFILE={needed} in a systemd unit, or a smaller "
            "workers.count or management.max_clients",
            Exit.PRIVILEGE,
        ) from None

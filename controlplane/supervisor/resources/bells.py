"""Bells: how control and a worker wake each other, a pair of datagram sockets for each worker.

    bells.renew(3)                                   # a process comes into the slot, or was adopted
    bells.for_worker(3), bells.for_control(3)        # the two ends, to be handed over

Not an eventfd: that is one open file for both, so a worker could make it blocking, fill it, and
stop control in its next write. Here each end has flags of its own, and who rings says in each call
that it must not block. A pair serves one process: what a worker did to its end (shut it down,
connected it elsewhere) ends with it. Nothing is handed back at an adoption: a new pair is made.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence

SO_PASSRIGHTS = 83  # Linux 6.16; Python has no name for it


class Bells:
    """Owns both ends of every pair; children have copies."""

    def __init__(self) -> None:
        self._pairs: dict[int, tuple[int, int]] = {}  # worker -> control's end, the worker's end

    def renew(self, worker: int) -> None:
        """A pair that nobody has had. OSError when no descriptor is left."""
        control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        refuse_descriptors(control)
        self.drop(worker)
        self._pairs[worker] = control.detach(), other.detach()

    def pairs(self) -> dict[str, list[int]]:
        """Both ends by worker, to be carried over an upgrade; `take` has them again."""
        return {str(worker): list(pair) for worker, pair in self._pairs.items()}

    def take(self, pairs: Mapping[str, Sequence[int]]) -> None:
        self._pairs = {int(worker): (pair[0], pair[1]) for worker, pair in pairs.items()}

    def for_control(self, worker: int) -> int:
        return self._pair(worker)[0]

    def for_worker(self, worker: int) -> int:
        return self._pair(worker)[1]

    def _pair(self, worker: int) -> tuple[int, int]:
        if worker not in self._pairs:
            self.renew(worker)
        return self._pairs[worker]

    def drop(self, worker: int) -> None:
        for fd in self._pairs.pop(worker, ()):
            os.close(fd)


def refuse_descriptors(sock: socket.socket) -> None:
    """The kernel refuses to send descriptors to this socket. Without it (before Linux 6.16) they
    are closed at arrival, and a close can wait: a TCP socket that lingers does."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)

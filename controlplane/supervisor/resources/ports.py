"""Opens and keeps the packet sockets: one with its ring for each (port, worker).

Use: `ports.open(port, workers)` opens what is missing, `ports.ring(index, worker)` is the
descriptor a (re)started worker is handed, so that it gets exactly what the dead one had, frames
in the ring included. A socket is closed only with its port or its worker slot.

How a socket is opened is lent by the composition root (`OpenPort`): it gets the fanout id the
port's first socket was given, 0 for the first one, and returns (descriptor, fanout id).
"""

import os
import socket
from collections.abc import Callable

from ribcage.shared._core import lib

from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.port_rings import PortRings

SOL_PACKET, PACKET_FANOUT = 263, 18


OpenPort = Callable[[PortRings, int, int, int], tuple[int, int]]  # port, worker, workers, fanout id


class PortSockets:
    """The ports control asked for and the descriptors of their sockets."""

    def __init__(self, opener: OpenPort, max_memory: int, store: Store) -> None:
        self.known: dict[int, PortRings] = {}
        self.max_memory = max_memory
        self._opener = opener
        self._store = store
        self._rings: dict[tuple[int, int], int] = {}
        self._fanout: dict[int, int] = {}
        self._steered = False

    def open(self, port: PortRings, workers: int) -> bool:
        """Opens what is missing of `port` for workers 0..workers-1; False: nothing was.

        All or nothing: on an error (RibcageError, OSError) what this call opened is closed.
        The caller closes a port of the same index and another interface first.
        """
        missing = [w for w in range(workers) if (port.index, w) not in self._rings]
        want = self.memory() + len(missing) * port.slots * port.slot_bytes
        if missing and want > self.max_memory:
            raise RibcageError(
                "E_MEMORY",
                f"rings of {port.name} would make {want} bytes, rings.max_memory is "
                f"{self.max_memory}",
                hint="raise rings.max_memory, or lower rings.slots",
            )
        opened: list[int] = []
        try:
            for worker in missing:
                fanout = self._fanout.get(port.index, 0)
                fd, self._fanout[port.index] = self._opener(port, worker, workers, fanout)
                self._rings[port.index, worker] = fd
                opened.append(worker)
        except BaseException:
            for worker in opened:
                os.close(self._rings.pop((port.index, worker)))
            if port.index not in self.known:
                self._fanout.pop(port.index, None)
            raise
        self.known[port.index] = port
        for worker in opened:
            self._store.keep(_ring(port.index, worker), self._rings[port.index, worker])
        return bool(missing)

    def adopt(self, port: PortRings, worker: int, fd: int) -> None:
        """Takes back a descriptor that a worker had kept through a supervisor's death."""
        key = (port.index, worker)
        if key in self._rings:
            os.close(fd)
            return
        self._steered = True  # perhaps: the last supervisor may have died in the middle of it
        self._rings[key] = fd
        self._store.keep(_ring(*key), fd)
        self.known.setdefault(port.index, port)
        self._fanout.setdefault(port.index, _fanout_id(fd))

    def ring(self, index: int, worker: int) -> int | None:
        return self._rings.get((index, worker))

    def memory(self) -> int:
        """Bytes of all rings."""
        return sum(
            self.known[index].slots * self.known[index].slot_bytes
            for index, _ in self._rings
            if index in self.known
        )

    def close(self, index: int) -> bool:
        """Gives the port up, for all workers. False when it was not open."""
        for key in [key for key in self._rings if key[0] == index]:
            self._close(key)
        self._fanout.pop(index, None)
        return self.known.pop(index, None) is not None

    def steer(self, workers: int) -> None:
        """Frames go to the first `workers` rings of each port only; 0: to all again.

        The rings of a worker that is to leave run dry then (closed full, they would lose what
        they hold), and those of one that is to come stay empty until it is there.
        """
        if workers == 0 and not self._steered:
            return
        self._steered = workers != 0
        for index in self.known:
            fd = self._rings.get((index, 0))
            error = 0 if fd is None else lib.port_socket_steer(fd, workers)
            if error != 0:
                log("warning", "port.steer", index=index, error=os.strerror(-error))

    def close_worker(self, worker: int) -> None:
        """Gives a worker slot's sockets up."""
        for key in [key for key in self._rings if key[1] == worker]:
            self._close(key)

    def _close(self, key: tuple[int, int]) -> None:
        os.close(self._rings.pop(key))
        self._store.drop(_ring(*key))

    def close_all(self) -> None:
        for index in list(self.known):
            self.close(index)


def _ring(index: int, worker: int) -> str:
    """Its name in the descriptor store."""
    return f"ring-{index}-{worker}"


def _fanout_id(fd: int) -> int:
    """The group's word of a packet socket, 0 when it is in none (or is no packet socket)."""
    copy = os.dup(fd)
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return 0
    with sock:
        try:
            return sock.getsockopt(SOL_PACKET, PACKET_FANOUT)
        except OSError:
            return 0

"""Opens and keeps the packet sockets: one with its ring for each (port, worker), one that steers.

Use: `ports.open(port, workers)` opens what is missing, `ports.ring(index, worker)` is the
descriptor a (re)started worker is handed, so that it gets exactly what the dead one had, frames
in the ring included; `ports.steer(table)` says which worker gets which bucket of flows.

The members of a port's group are worker 0, 1, ... and last the socket that steers, which no one
else has. A group is closed from its end only (csrc/port/socket.h says why), so the socket of a
worker that left waits until those behind it are closed, and the one that steers is made anew
after workers were added.

How a socket is opened is lent by the composition root (`OpenPort`): it gets the fanout id the
port's first socket was given, 0 for the first one, and returns (descriptor, fanout id).
"""

import mmap
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.resources.buckets import BUCKETS
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.port_rings import PortRings

SOL_PACKET, PACKET_FANOUT, PACKET_FANOUT_CBPF = 263, 18, 6


OpenPort = Callable[[PortRings, int, int, int], tuple[int, int]]  # port, worker, workers, fanout id
MakeRings = Callable[[int, int, int], None]  # slots, slot_bytes, how many to have in store
Table = Sequence[int]  # a worker for each bucket


class PortSockets:
    """The ports control asked for and the descriptors of their sockets."""

    def __init__(
        self,
        opener: OpenPort,
        max_memory: int,
        store: Store,
        seed: int = 0,
        make: MakeRings = lambda slots, slot_bytes, count: None,
    ) -> None:
        self.known: dict[int, PortRings] = {}
        self.max_memory = max_memory
        self.seed = seed & 0xFFFFFFFF
        self.changes = 0  # goes up whenever a ring comes or goes
        self._opener = opener
        self._make = make
        self._store = store
        self._rings: dict[tuple[int, int], int] = {}
        self._fanout: dict[int, int] = {}
        self._steering: dict[int, int] = {}
        self._given_up: set[int] = set()  # workers whose sockets wait to be closed
        self._tables: dict[int, Table] = {}  # in force, by port

    def prepare(self, slots: int, slot_bytes: int, count: int) -> None:
        """`count` rings in store, or as many as rings.max_memory lets: for ports that control will
        ask for soon."""
        room = max(0, self.max_memory - self.memory())
        self._make(slots, slot_bytes, min(count, room // (slots * slot_bytes)))

    def open(self, port: PortRings, workers: int) -> bool:
        """Opens what is missing of `port` for workers 0..workers-1; False: nothing was.

        All or nothing: on an error (RibcageError, OSError) what this call opened is closed.
        The caller closes a port of the same index and another interface first.
        """
        self._given_up -= set(range(workers))
        missing = [w for w in range(workers) if (port.index, w) not in self._rings]
        want = self.memory() + len(missing) * port.slots * port.slot_bytes
        if missing and want > self.max_memory:
            raise RibcageError(
                "E_MEMORY",
                f"rings of {port.name} would make {want} bytes, rings.max_memory is "
                f"{self.max_memory}",
                hint="raise rings.max_memory, or lower rings.slots",
            )
        if missing:
            self._make(port.slots, port.slot_bytes, len(missing))  # in the time of one
            self._stop_steering(port.index)  # it joins again, behind those that come now
        opened: list[int] = []
        try:
            for worker in missing:
                fanout = self._fanout.get(port.index, 0)
                fd, self._fanout[port.index] = self._opener(port, worker, workers, fanout)
                if fanout == 0:
                    self._tables[port.index] = (0,) * BUCKETS  # a new group: all to its first
                self._rings[port.index, worker] = fd
                opened.append(worker)
        except BaseException:
            for worker in reversed(opened):
                os.close(self._rings.pop((port.index, worker)))
            if port.index not in self.known:
                self._fanout.pop(port.index, None)
            else:
                self._start_steering(port)
            raise
        self.changes += 1
        self.known[port.index] = port
        self._start_steering(port)
        for worker in opened:
            self._store.keep(_ring(port.index, worker), self._rings[port.index, worker])
        return bool(missing)

    def in_order(self, index: int, workers: int) -> bool:
        """Whether member i of the group is worker i. Not so when sockets are missing in front of
        others: those of a worker that died while no supervisor had a copy."""
        have = [worker for worker in range(workers) if (index, worker) in self._rings]
        return have == list(range(len(have)))

    def adopt(self, port: PortRings, worker: int, fd: int) -> None:
        """Takes back a descriptor that a worker had kept through a supervisor's death."""
        key = (port.index, worker)
        if key in self._rings:
            os.close(fd)
            return
        self._rings[key] = fd
        self.changes += 1
        self._store.keep(_ring(*key), fd)
        self.known.setdefault(port.index, port)
        self._fanout.setdefault(port.index, _fanout_id(fd))

    # ---- over an upgrade ----

    def rows(self) -> list[dict[str, Any]]:
        """Every ring, in the order in which they joined their group."""
        return [
            {"port": self.known[index].to_json(), "worker": worker, "fd": fd}
            for (index, worker), fd in self._rings.items()
        ]

    def groups(self) -> dict[str, dict[str, Any]]:
        """What belongs to all sockets of a port; `steering` -1: nobody steers."""
        return {
            str(index): {
                "steering": self._steering.get(index, -1),
                "fanout": self._fanout.get(index, 0),
                "table": list(self._tables.get(index, ())),
            }
            for index in self.known
        }

    def resume(self, rows: list[dict[str, Any]], groups: Mapping[str, Mapping[str, Any]]) -> None:
        """Goes on with the sockets of the build before; the store has its copies still."""
        for row in rows:
            port = PortRings.from_json(row["port"])
            self.known[port.index] = port
            self._rings[port.index, row["worker"]] = row["fd"]
        for number, group in groups.items():
            index = int(number)
            self._fanout[index] = group["fanout"]
            self._tables[index] = tuple(group["table"])
            if group["steering"] >= 0:
                self._steering[index] = group["steering"]
        self.changes += 1

    def ring(self, index: int, worker: int) -> int | None:
        return self._rings.get((index, worker))

    def rings(self, worker: int) -> dict[int, int]:
        """Descriptors by port."""
        return {index: fd for (index, owner), fd in self._rings.items() if owner == worker}

    def lost(self, worker: int) -> list[int]:
        """Ports whose ring this worker's socket has no more: its last owner took it down."""
        return [index for index, fd in self.rings(worker).items() if not self._mappable(index, fd)]

    def _mappable(self, index: int, fd: int) -> bool:
        geometry = ffi.new("struct ring_geometry *")
        port = self.known[index]
        if lib.ring_geometry(port.slots, port.slot_bytes, geometry) != 0:
            return False
        try:
            mmap.mmap(fd, geometry.bytes, prot=mmap.PROT_READ).close()
        except (OSError, ValueError):
            return False
        return True

    def memory(self) -> int:
        """Bytes of all rings."""
        return sum(
            self.known[index].slots * self.known[index].slot_bytes
            for index, _ in self._rings
            if index in self.known
        )

    def close(self, index: int) -> bool:
        """Gives the port up, for all workers. False when it was not open."""
        return self._close_ports([index])

    def _close_ports(self, indices: Iterable[int]) -> bool:
        """Each whole, so that nobody is moved to another's place: in the time of one socket."""
        closed = False
        fds: list[int] = []
        for index in indices:
            for key in [key for key in self._rings if key[0] == index]:
                fds.append(self._rings.pop(key))
                self._store.drop(_ring(*key))
            fds += [fd for fd in (self._steering.pop(index, None),) if fd is not None]
            self._fanout.pop(index, None)
            self._tables.pop(index, None)
            closed = self.known.pop(index, None) is not None or closed
        self.changes += 1
        lib.port_sockets_close(ffi.new("int32_t[]", fds), len(fds))
        return closed

    # ---- who gets what ----

    def steer(self, table: Table) -> None:
        """Bucket b of every port goes to worker table[b], from now on. A port that has this table
        is left alone; one that refuses is told and tried again the next time."""
        late = [
            index
            for index in self._steering
            if self._tables.get(index) != table
            and all((index, worker) in self._rings for worker in set(table))
        ]
        if late:
            self._give(table, late)

    def _give(self, table: Table, late: list[int]) -> None:
        fds = ffi.new("int32_t[]", [self._steering[index] for index in late])
        errors = ffi.new("int32_t[]", len(late))
        members = ffi.new("uint16_t[]", list(table))
        lib.port_steer(fds, len(late), members, self.seed, errors)
        for index, error in zip(late, errors, strict=True):
            if error == 0:
                self._tables[index] = table
            else:
                log("warning", "port.steer", index=index, error=os.strerror(-error))

    def _start_steering(self, port: PortRings) -> None:
        """The last member. Without it the port goes on with the table it has."""
        fanout = self._fanout.get(port.index, 0)
        if port.index in self._steering or fanout >> 16 & 0xFF != PACKET_FANOUT_CBPF:
            return
        fd = lib.port_steer_open(port.ifindex, fanout)
        if fd >= 0:
            self._steering[port.index] = fd
        else:
            log("warning", "port.unsteered", index=port.index, name=port.name,
                error=os.strerror(-fd))  # fmt: skip

    def _stop_steering(self, index: int) -> None:
        fd = self._steering.pop(index, None)
        if fd is not None:
            os.close(fd)

    # ---- workers that leave ----

    def close_worker(self, worker: int) -> None:
        """Gives a worker slot's sockets up: closed once no other is behind them."""
        self._given_up.add(worker)
        while self._rings:
            last = max(owner for _, owner in self._rings)
            if last not in self._given_up:
                break
            for key in [key for key in self._rings if key[1] == last]:
                self._close(key)
            self._given_up.discard(last)
        self.changes += 1

    def _close(self, key: tuple[int, int]) -> None:
        os.close(self._rings.pop(key))
        self._store.drop(_ring(*key))

    def close_all(self) -> None:
        self._close_ports(list(self.known))


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

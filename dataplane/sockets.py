"""Opens a port's packet sockets. The composition root lends this to the supervisor.

Use: `fd, fanout = opener.open(port, worker, workers, fanout)`, workers in order, fanout 0 for the
first. Needs CAP_NET_RAW in the network namespace of the interface; workers themselves have no
capability and only map what is opened here (csrc/port/socket.h says in which order and why).
"""

import os
import socket
import stat

from ribcage.shared._core import ffi, lib

from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.refusals import refused

KINDS = {"port": lib.PORT_KIND_NETWORK, "host": lib.PORT_KIND_HOST}


class PortOpener:
    """Opens the sockets of ports. Rings can be made before anybody asks for a port, several in the
    time of one: in each the kernel waits for a grace period (8 to 60 ms), whoever is asked for."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], list[int]] = {}  # slots, slot_bytes -> descriptors

    def make(self, slots: int, slot_bytes: int, count: int) -> None:
        """Up to `count` rings in store. Never raises: what is missing, `open` makes or says why it
        cannot."""
        made = self._made.setdefault((slots, slot_bytes), [])
        while (missing := count - len(made)) > 0:
            fds = ffi.new("int32_t[]", missing)
            got = lib.port_rings_open(slots, slot_bytes, missing, fds)
            made += list(fds)[:got]
            if got < min(missing, lib.PORT_RINGS_AT_ONCE):
                return

    def open(self, port: PortRings, worker: int, workers: int, fanout: int) -> tuple[int, int]:
        """(descriptor, fanout id) of one (port, worker); the caller owns the descriptor.

        RibcageError E_PORT, exit 5 without the privilege.
        """
        made = self._made.get((port.slots, port.slot_bytes))
        fd = made.pop() if made else lib.port_ring_open(port.slots, port.slot_bytes)
        group = ffi.new("uint32_t *", fanout)
        error = fd
        if fd >= 0:
            kind = KINDS[port.kind]
            error = lib.port_socket_join(fd, port.ifindex, kind, worker, workers, group)
            if error < 0:
                os.close(fd)
        if error < 0:
            raise refused(
                "packet_socket",
                error,
                name=port.name,
                ifindex=port.ifindex,
                slots=port.slots,
                slot_bytes=port.slot_bytes,
            )
        return fd, group[0]

    def drop(self) -> None:
        """What is in store is closed."""
        made = [fd for fds in self._made.values() for fd in fds]
        self._made.clear()
        close_all(made)


def open_port(port: PortRings, worker: int, workers: int, fanout: int) -> tuple[int, int]:
    """One that nothing was made for."""
    return PortOpener().open(port, worker, workers, fanout)


def close_all(fds: list[int]) -> None:
    """Closes packet sockets, whole groups of them, in the time of one."""
    lib.port_sockets_close(ffi.new("int32_t[]", fds), len(fds))


def is_ring(fd: int, port: PortRings) -> bool:
    """Whether a descriptor that a worker hands back is a packet socket of this port's interface. No
    worker can make one, nor move one that is in a fanout group to another interface."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family != socket.AF_PACKET:
            return False
        try:
            return bool(sock.getsockname()[0] == socket.if_indextoname(port.ifindex))
        except OSError:
            return False  # the interface is gone


def ring_bytes(slots: int, slot_bytes: int) -> int:
    """Bytes one ring really takes: whole blocks. ValueError outside the bounds."""
    geometry = ffi.new("struct ring_geometry *")
    if lib.ring_geometry(slots, slot_bytes, geometry) != 0:
        raise ValueError(f"no ring of {slots} slots of {slot_bytes} bytes")
    return int(geometry.bytes)

"""Opens a port's packet sockets. The composition root hands this function to the supervisor.

Use: `fd, fanout = open_port(port, worker, workers, fanout)`, workers in order, fanout 0 for the
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


def open_port(port: PortRings, worker: int, workers: int, fanout: int) -> tuple[int, int]:
    """(descriptor, fanout id) of one (port, worker); the caller owns the descriptor.

    RibcageError E_PORT, exit 5 without the privilege. May take 200 ms for a cold 34 MiB ring.
    """
    group = ffi.new("uint32_t *", fanout)
    fd = lib.port_socket_open(
        port.ifindex, KINDS[port.kind], port.slots, port.slot_bytes, worker, workers, group
    )
    if fd < 0:
        raise refused(
            "packet_socket",
            fd,
            name=port.name,
            ifindex=port.ifindex,
            slots=port.slots,
            slot_bytes=port.slot_bytes,
        )
    return fd, group[0]


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

"""What a worker hands back as its ring is looked at before it is anybody's."""

import os
import socket

from ribcage.dataplane.sockets import is_ring
from ribcage.shared.process.port_rings import PortRings


def test_only_a_packet_socket_of_the_ports_interface_is_a_ring() -> None:
    """A pipe, memory, another kind of socket: whatever is said beside it, they are none."""
    port = PortRings(0, "lo", socket.if_nametoindex("lo"), "port", 16, 2048)
    memory = os.memfd_create("ring", os.MFD_CLOEXEC)
    ends = os.pipe()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert [is_ring(fd, port) for fd in (memory, *ends, udp.fileno())] == [False] * 4
    assert udp.fileno() >= 0 and os.fstat(memory)  # the caller's, still
    for fd in (memory, *ends):
        os.close(fd)
    udp.close()

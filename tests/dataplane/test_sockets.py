"""What a worker hands back as its ring is looked at before it is anybody's."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from ribcage.dataplane.sockets import PortOpener, close_all, is_ring
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.port_rings import PortRings

POSSIBLE, REASON = available()


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


def packet_sockets() -> int:
    return len(Path("/proc/net/packet").read_text().splitlines()) - 1


def used_and_dropped() -> list[object]:
    """Four rings made, two of them used, one more wanted than there are; then the rest dropped."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    opener = PortOpener()
    opener.make(16, 2048, 2)
    opener.make(16, 2048, 4)  # in store, not more
    seen: list[object] = [packet_sockets()]
    port = PortRings(0, "lo", socket.if_nametoindex("lo"), "port", 16, 2048)
    first, fanout = opener.open(port, 0, 2, 0)
    second, again = opener.open(port, 1, 2, fanout)
    seen += [packet_sockets(), fanout == again, is_ring(first, port), is_ring(second, port)]
    opener.drop()
    seen.append(packet_sockets())
    other, _ = opener.open(PortRings(1, "lo", port.ifindex, "port", 32, 2048), 0, 1, 0)
    seen.append(packet_sockets())
    close_all([first, second, other])
    return [*seen, packet_sockets()]


@pytest.mark.skipif(not POSSIBLE, reason=REASON)
def test_rings_that_were_made_early_are_used_and_the_rest_closed() -> None:
    """As many as were asked for, whatever is there already; a port takes them, or makes its own."""
    with Lab() as lab:
        found = lab.node("r").call(used_and_dropped)
    assert found == [4, 4, True, True, True, 2, 3, 0]


def test_rings_that_cannot_be_made_early_are_no_error() -> None:
    """A geometry that is none, no right, no memory: told when a port asks for it."""
    opener = PortOpener()
    opener.make(16, 2047, 3)
    opener.drop()
    port = PortRings(0, "lo", socket.if_nametoindex("lo"), "port", 16, 2047)
    with pytest.raises(RibcageError) as caught:
        opener.open(port, 0, 1, 0)
    assert caught.value.code == "E_PORT"

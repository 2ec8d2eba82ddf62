"""The rtnetlink decoder: right on the kernel's bytes, harmless on anybody else's."""

import socket
import struct
from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from ribcage.controlplane.kernel.netlink.messages import (
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNETCONF,
    AddressMessage,
    Done,
    ForwardingMessage,
    Interrupted,
    LinkMessage,
    Malformed,
    NeighbourMessage,
    decode,
    dump_request,
    resolve_request,
)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 0, sequence: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def link(kind: int = RTM_NEWLINK, family: int = 0, flags: int = 0x10001) -> bytes:
    body = struct.pack("=BxHiII", family, 1, 7, flags, 0)
    body += attribute(3, b"eth1\0") + attribute(1, b"\2\0\0\0\0\1")
    return message(kind, body + attribute(4, struct.pack("=I", 1500)))


def test_link_is_decoded() -> None:
    """Index, name, MAC, MTU and flags of RTM_NEWLINK."""
    expected = LinkMessage(7, "eth1", b"\2\0\0\0\0\1", 1500, 0x10001, False)
    assert list(decode(link())) == [expected]


def test_a_bridge_letting_go_of_a_port_is_not_the_end_of_the_link() -> None:
    """RTM_DELLINK of family AF_BRIDGE means that the port left the bridge."""
    assert list(decode(link(RTM_DELLINK, socket.AF_BRIDGE))) == []


def test_the_local_address_of_a_point_to_point_link_is_the_own_one() -> None:
    """IFA_LOCAL is ours, IFA_ADDRESS the peer's."""
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0x80, 0, 3)
    body += attribute(1, bytes([10, 0, 0, 2])) + attribute(2, bytes([10, 0, 0, 1]))
    expected = AddressMessage(3, ip_interface("10.0.0.1/32"), False, False)
    assert list(decode(message(RTM_NEWADDR, body))) == [expected]


def test_neighbour_is_decoded() -> None:
    """Address, MAC, state and the managed flag of RTM_NEWNEIGH."""
    body = struct.pack("=BxxxiHBB", socket.AF_INET6, 3, 0x02, 0, 0)
    body += attribute(1, socket.inet_pton(socket.AF_INET6, "fe80::1"))
    body += attribute(2, b"\2\0\0\0\0\1") + attribute(15, struct.pack("=I", 1))
    expected = NeighbourMessage(3, ip_address("fe80::1"), b"\2\0\0\0\0\1", "reachable", True, False)
    assert list(decode(message(RTM_NEWNEIGH, body))) == [expected]


def test_forwarding_switch_is_decoded() -> None:
    """RTM_NEWNETCONF with NETCONFA_FORWARDING for all interfaces."""
    body = struct.pack("=Bxxx", socket.AF_INET)
    body += attribute(1, struct.pack("=i", -1)) + attribute(2, struct.pack("=i", 1))
    assert list(decode(message(RTM_NEWNETCONF, body))) == [ForwardingMessage(-1, 4, True)]


def test_end_error_and_interruption_of_a_dump_are_told_apart() -> None:
    """Done carries the errno; NLM_F_DUMP_INTR on any part is told before it."""
    error = message(2, struct.pack("=i", -16) + bytes(16), sequence=5)
    done = message(3, struct.pack("=i", 0), sequence=6)
    assert list(decode(error + done)) == [Done(5, 16), Done(6, 0)]
    part = link()
    spoilt = part[:6] + struct.pack("=HI", 0x12, 9) + part[12:]
    assert next(decode(spoilt)) == Interrupted(9)


def test_a_message_longer_than_its_datagram_is_malformed() -> None:
    """What was whole before it counts; the rest of the datagram is not guessed at."""
    good = link()
    bad = struct.pack("=IHHII", 64, RTM_NEWLINK, 0, 0, 0)
    found = list(decode(good + bad))
    assert isinstance(found[0], LinkMessage)
    assert found[1:] == [Malformed("message of type 16 says 64 bytes, 16 are there")]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing(data: bytes) -> None:
    """Whatever arrives, decode ends and yields values."""
    list(decode(data))


@given(
    st.sampled_from([16, 17, 20, 21, 28, 29, 80, 81, 2, 3]),
    st.binary(max_size=120),
    st.integers(0, 40),
)
def test_a_cut_or_damaged_body_raises_nothing(kind: int, body: bytes, family: int) -> None:
    """A right header over any body: skipped, malformed or a value, never an exception."""
    list(decode(message(kind, bytes([family]) + body)))
    list(decode(message(kind, bytes([family, 0, 0, 0]) + bytes(12) + body)))


def test_requests_have_the_length_they_say() -> None:
    """nlmsg_len equals the bytes sent; a v4 and a v6 address have their own families."""
    for request in (
        dump_request(RTM_GETLINK, 1),
        resolve_request(3, ip_address("10.0.0.1"), True),
        resolve_request(3, ip_address("fe80::1"), False),
    ):
        assert struct.unpack_from("=I", request)[0] == len(request)
    assert resolve_request(3, ip_address("10.0.0.1"), False)[16] == socket.AF_INET
    assert resolve_request(3, ip_address("fe80::1"), False)[16] == socket.AF_INET6

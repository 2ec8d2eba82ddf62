"""The packet `explain` is asked about: what a request may say, and the frame made of it."""

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.management.question import (
    Question,
    checksum,
    flow_hash,
    make_frame,
    question_of,
)
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import Port

TOPOLOGY = Topology()
TOPOLOGY.put(Port(1, "eth1", addresses=(ip_interface("10.0.1.1/24"),)))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["icmp", "tcp", "udp", 47])
def test_a_made_packet_is_sound_and_hashes_as_its_words(family: int, protocol: Any) -> None:
    """The parser takes it, finds the ports, and picks the path that flow_hash() picks."""
    dst = "203.0.113.7" if family == 4 else "2001:db8:9::7"
    params = {"dst": dst, "protocol": protocol, "source_port": 4000, "target_port": 53, "ttl": 9}
    question = question_of(params, TOPOLOGY)
    frame = make_frame(question)
    packet = ffi.new("struct packet *")
    station = lib.STATION_HOST
    verdict = lib.packet_parse(packet, frame, len(frame), len(frame), ffi.NULL, station, 5, 0)
    assert verdict == lib.PACKET_FORWARD
    assert (packet.family, packet.ttl, packet.l3_length) == (family, 9, 84)
    ports = (4000, 53) if protocol in ("tcp", "udp") else (0, 0)
    assert (packet.source_port, packet.target_port) == ports
    assert packet.hash == flow_hash(5, question)
    if family == 4:
        assert checksum(frame[14:34]) == 0


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "E_ADDRESS"),
        ({"dst": "10.0.0.1", "source": "2001:db8::1"}, "E_ADDRESS"),
        ({"dst": "10.0.0.1", "in": "eth9"}, "E_INTERFACE"),
        ({"dst": "10.0.0.1", "ttl": 256}, "E_RANGE"),
        ({"dst": "10.0.0.1", "length": 27}, "E_RANGE"),
        ({"dst": "10.0.0.1", "length": 39, "protocol": "tcp"}, "E_RANGE"),
        ({"dst": "10.0.0.1", "length": 19, "protocol": 47}, "E_RANGE"),
        ({"dst": "10.0.0.1", "protocol": "igmp"}, "E_TYPE"),
        ({"dst": "10.0.0.1", "protocol": 256}, "E_TYPE"),
        ({"dst": "10.0.0.1", "protocol": True}, "E_TYPE"),
        ({"dst": "10.0.0.1", "target_port": 65536}, "E_RANGE"),
        ({"dst": "10.0.0.1", "gso": 1400}, "E_TYPE"),
        ({"dst": "10.0.0.1", "gso": 65536, "protocol": "tcp"}, "E_RANGE"),
        ({"frame": "xyz"}, "E_TYPE"),
        ({"frame": "00" * 13}, "E_TYPE"),
        ({"frame": "00" * 30_001}, "E_TYPE"),
        ({"frame": 7}, "E_TYPE"),
    ],
)
def test_what_is_no_packet_is_refused(params: dict[str, Any], code: str) -> None:
    with pytest.raises(RibcageError) as caught:
        question_of(params, TOPOLOGY)
    assert caught.value.code == code


def test_the_shortest_of_each_protocol_is_taken() -> None:
    for protocol, least in (("icmp", 28), ("udp", 28), ("tcp", 40), (47, 20)):
        question = question_of({"dst": "10.0.0.1", "protocol": protocol, "length": least}, TOPOLOGY)
        assert len(make_frame(question)) == 14 + least


def test_a_frame_may_be_written_with_spaces() -> None:
    question = question_of({"frame": "02 00 00 00 00 01 " + "00" * 20, "in": "eth1"}, TOPOLOGY)
    assert question.frame == b"\2\0\0\0\0\1" + bytes(20)
    assert question.port == TOPOLOGY.ports[1]


def test_words_of_an_echo_are_the_default() -> None:
    question = question_of({"dst": "10.0.0.1"}, TOPOLOGY)
    words = Question(ip_address("10.0.0.1"), ip_address("192.0.2.1"), protocol=1)
    assert question == words

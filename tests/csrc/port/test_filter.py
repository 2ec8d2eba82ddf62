"""The generated classic BPF in an interpreter: what is taken, and who gets it."""

import ipaddress
import struct
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ribcage.shared._core import lib

from ribcage.controlplane.supervisor.resources.buckets import spread
from ribcage.shared.filters import (
    ANCILLARY_AT,
    Instruction,
    fanout_program,
    listing,
    port_filter,
)

HOST, BROADCAST, MULTICAST, OTHER, OUTGOING = range(5)
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
MASK = 0xFFFFFFFF
BUCKETS = lib.PORT_BUCKETS
EACH = tuple(range(BUCKETS))  # a table that answers the bucket itself
steps: list[int] = []  # instructions of each run


def golden(packet: bytes, seed: int = 0) -> int:
    """The bucket of a packet, as csrc/port/filter.h promises it, in words of its own."""

    def mixed(x: int, data: bytes) -> int:
        for at in range(0, len(data), 4):
            x = (x ^ int.from_bytes(data[at : at + 4], "big")) * 0x9E3779B1 & MASK
        return x ^ x >> 15

    def with_port(x: int, port: bytes) -> int:
        x = (x + int.from_bytes(port, "big")) * 0x9E3779B1 & MASK
        return x ^ x >> 15

    version = packet[0] >> 4 if packet else 0
    if (version, len(packet) >= 20) == (4, True):
        ends, protocol, l4 = (packet[12:16], packet[16:20]), packet[9], 4 * (packet[0] & 15)
        whole = int.from_bytes(packet[6:8], "big") & 0x3FFF == 0
    elif (version, len(packet) >= 40) == (6, True):
        ends, protocol, l4, whole = (packet[8:24], packet[24:40]), packet[6], 40, True
    else:
        return 0
    sums = [mixed(seed, end) for end in ends]
    if protocol in (6, 17) and whole and len(packet) >= l4 + 4 and len(packet) > l4:
        sums = [with_port(x, packet[l4 + 2 * n : l4 + 2 * n + 2]) for n, x in enumerate(sums)]
    h = sum(sums) & MASK
    h = (h ^ h >> 16) * 0x85EBCA6B & MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & MASK
    return (h >> 16) % BUCKETS


def run(program: list[Instruction], packet: bytes, **ancillary: int) -> int:
    """Classic BPF as the kernel runs it: a load beyond the packet ends with 0."""
    kernel = {
        0: ancillary.get("proto", 0),
        4: ancillary.get("type", 0),
        44: ancillary.get("vlan", 0),
    }
    a = x = at = 0
    memory = [0] * 16
    for executed in range(len(program) + 1):
        i = program[at]
        at += 1
        group = i.code & 0x07
        if group == 0x00:
            size = {0x00: 4, 0x08: 2, 0x10: 1}[i.code & 0x18]
            if i.code & 0xE0 in (0x00, 0x60, 0x80):
                a = {0x00: i.k, 0x60: memory[i.k & 15], 0x80: len(packet)}[i.code & 0xE0]
                continue
            if i.k >= ANCILLARY_AT:
                a = kernel[i.k - ANCILLARY_AT]
                continue
            offset = i.k + (x if i.code & 0xE0 == 0x40 else 0)
            if offset + size > len(packet):
                return 0
            a = int.from_bytes(packet[offset : offset + size], "big")
        elif group == 0x01:
            mode = i.code & 0xE0
            if mode == 0xA0 and i.k >= len(packet):
                return 0
            x = {
                0x00: i.k,
                0x60: memory[i.k & 15],
                0xA0: 4 * (packet[i.k] & 15) if mode == 0xA0 else 0,
            }[mode]
        elif group in (0x02, 0x03):
            memory[i.k] = x if group == 0x03 else a
        elif group == 0x04:
            b = x if i.code & 0x08 else i.k
            a = {
                0x00: a + b,
                0x10: a - b,
                0x20: a * b,
                0x50: a & b,
                0x70: a >> (b & 31),
                0x90: a % (b or 1),
                0xA0: a ^ b,
            }[i.code & 0xF0] & MASK
        elif group == 0x05:
            if i.code & 0xF0 == 0x00:
                at += i.k
                continue
            b = x if i.code & 0x08 else i.k
            yes = {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: a & b != 0}[i.code & 0xF0]
            at += i.jump_true if yes else i.jump_false
        elif group == 0x06:
            steps.append(executed)
            return a if i.code & 0x18 == 0x10 else i.k
        else:
            a, x = (x, x) if i.code & 0xF8 else (a, a)
    raise AssertionError("classic BPF has no loops")


def packet(source: str, target: str, protocol: int = 17, ports: tuple[int, int] = (1, 2),
           fragment: int = 0, options: bytes = b"") -> bytes:  # fmt: skip
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    l4 = struct.pack("!HH", *ports) + bytes(4)
    if a.version == 4:
        words = 5 + len(options) // 4
        head = struct.pack("!BBHHHBBH", 0x40 | words, 0, 28, 7, fragment, 64, protocol, 0)
        return head + a.packed + b.packed + options + l4
    return struct.pack("!IHBB", 6 << 28, 8, protocol, 64) + a.packed + b.packed + l4


@pytest.mark.parametrize("station", [HOST, BROADCAST, MULTICAST])
@pytest.mark.parametrize("proto", [IPV4, IPV6])
def test_ip_for_this_station_is_taken(station: int, proto: int) -> None:
    """IPv4 and IPv6 to us, broadcast or multicast, whole, by both kinds of port."""
    for kind in ("port", "host"):
        assert run(port_filter(kind), b"", proto=proto, type=station) > 70000


@pytest.mark.parametrize(
    "frame",
    [
        {"proto": ARP, "type": HOST},
        {"proto": 0x88CC, "type": MULTICAST},
        {"proto": 0x8100, "type": HOST},
        {"proto": IPV4, "type": OUTGOING},
        {"proto": IPV6, "type": OUTGOING},
        {"proto": IPV4, "type": HOST, "vlan": 5},
        {"proto": IPV6, "type": HOST, "vlan": 0x6001},
    ],
)
def test_what_is_not_the_routers_is_left(frame: dict[str, int]) -> None:
    """Other protocols, our own transmissions and frames of VLANs never enter the ring."""
    for kind in ("port", "host"):
        assert run(port_filter(kind), b"", **frame) == 0


def test_foreign_unicast_is_taken_on_host_ports_only() -> None:
    """A frame for another station is nobody's business, but the host stack's frames are ours."""
    assert run(port_filter("port"), b"", proto=IPV4, type=OTHER) == 0
    assert run(port_filter("host"), b"", proto=IPV4, type=OTHER) > 0


def test_priority_tag_is_no_vlan() -> None:
    """VID 0 with a priority (IEEE 802.1Q 6.9) is the port's own traffic."""
    assert run(port_filter("port"), b"", proto=IPV4, type=HOST, vlan=0xE000) > 0


@pytest.mark.parametrize("kind", ["port", "host"])
def test_the_function_says_what_the_program_says(kind: str) -> None:
    """`explain` asks without a kernel: every station, tag and some protocols."""
    number = lib.PORT_KIND_HOST if kind == "host" else lib.PORT_KIND_NETWORK
    for proto in (IPV4, IPV6, ARP, 0x8100, 0x88CC, 0):
        for station in (HOST, BROADCAST, MULTICAST, OTHER, OUTGOING):
            for vlan in (0, 1, 5, 0x0FFF, 0x2000, 0x6001):
                taken = run(port_filter(kind), b"", proto=proto, type=station, vlan=vlan) > 0
                assert taken == lib.port_filter_takes(number, proto, vlan, station)


addresses = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
port = st.integers(0, 65535)


@given(addresses, st.sampled_from([6, 17]), port, port, st.sampled_from([b"", bytes(4), bytes(40)]))
def test_a_flow_has_one_worker(pair: tuple[object, object], protocol: int, one: int, two: int,
                               options: bytes) -> None:  # fmt: skip
    """Payload, TTL and options change nothing: the five-tuple alone decides."""
    source, target = str(pair[0]), str(pair[1])
    plain = packet(source, target, protocol, (one, two))
    other = bytearray(packet(source, target, protocol, (one, two), options=options))
    other[8 if ":" not in source else 7] = 3  # TTL, hop limit
    program = fanout_program(EACH)
    assert run(program, plain) == run(program, bytes(other) + b"payload")


@given(addresses, st.sampled_from([1, 6, 17, 58]), port, port)
def test_both_directions_meet_one_worker(pair: tuple[object, object], protocol: int, one: int,
                                         two: int) -> None:  # fmt: skip
    """A flow's answers go to the worker that carries the flow."""
    near, far = str(pair[0]), str(pair[1])
    program = fanout_program(EACH)
    there = run(program, packet(near, far, protocol, (one, two)))
    assert there == run(program, packet(far, near, protocol, (two, one)))


def test_ports_belong_to_their_address() -> None:
    """Only the exact reverse is the same flow: ports swapped alone are another one."""
    program = fanout_program(EACH)
    same = sum(
        run(program, packet("10.0.0.1", "10.0.1.2", 6, (port, 80)))
        == run(program, packet("10.0.0.1", "10.0.1.2", 6, (80, port)))
        for port in range(1024, 2024)
    )
    assert same < 16  # of 1,000, by chance: there are 256 buckets


@given(addresses, port, port, st.sampled_from([0x2000, 0x0001, 0x3FFF]))
def test_fragments_follow_their_addresses(pair: tuple[object, object], one: int, two: int,
                                          fragment: int) -> None:  # fmt: skip
    """All fragments of a datagram meet, first or later: ports are not looked at."""
    source, target = str(pair[0]), str(pair[1])
    if ":" in source:
        return
    program = fanout_program(EACH)
    first = run(program, packet(source, target, ports=(one, two), fragment=fragment))
    assert first == run(program, packet(source, target, ports=(two, one), fragment=0x2000))
    assert first == run(program, packet(source, target, protocol=1))


@pytest.mark.parametrize("workers", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("net", ["10.1.0.{}", "fd00:1::{:x}"])
@pytest.mark.parametrize("step", [1, 2, 16])
def test_flows_spread(workers: int, net: str, step: int) -> None:
    """Consecutive ports, also even ones only, and consecutive hosts spread within 25 %."""
    program, homes = fanout_program(EACH), spread(workers, set(range(workers)))
    by_port: Counter[int] = Counter()
    by_host: Counter[int] = Counter()
    by_pair: Counter[int] = Counter()
    n = 2000
    for i in range(n):
        source, target = net.format(2), net.format(99)
        flow = packet(source, target, 6, (32768 + i * step & 0xFFFF, 80))
        by_port[homes[run(program, flow)]] += 1
    for i in range(n):
        address = ipaddress.ip_address(net.format(1)) + i * step
        by_host[homes[run(program, packet(str(address), net.format(99), 1))]] += 1
        other = ipaddress.ip_address(net.format(1)) + 65536 - i * step  # their sum is constant
        by_pair[homes[run(program, packet(str(address), str(other), 1))]] += 1
    for share in (by_port, by_host, by_pair):
        assert all(abs(share[w] - n / workers) < n / workers * 0.25 for w in range(workers)), share


def test_every_bucket_goes_where_the_table_says() -> None:
    """All buckets, by a table of one run, of runs as they are with workers away, of 256 runs."""
    flows: dict[int, bytes] = {}
    for number in range(20_000):
        flow = packet("10.1.0.1", f"10.2.{number >> 8 & 3}.{number & 255}", 6, (number, 80))
        flows.setdefault(golden(flow), flow)
    assert len(flows) == BUCKETS
    away = spread(5, {0, 3, 4}, spread(5, {0, 1, 3, 4}))
    for table in ((3,) * BUCKETS, spread(2, {0, 1}), away, EACH, tuple(b % 7 for b in EACH)):
        program = fanout_program(table, 77)
        assert len(program) <= lib.PORT_PROGRAM_MAX
        plain = fanout_program(table)
        for bucket, flow in flows.items():
            assert run(plain, flow) == table[bucket]
            assert run(program, flow) == table[golden(flow, 77)]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_program_is_short(workers: int, record_property: Callable[[str, object], None]) -> None:
    """What each packet costs in the sender's softirq: instructions executed at most."""
    steps.clear()
    program = fanout_program(spread(workers, set(range(workers))))
    run(program, packet("10.1.0.1", "10.2.0.1", 6))
    run(program, packet("fd00::1", "fd00::2", 6))
    record_property("instructions", {"length": len(program), "v4": steps[0], "v6": steps[1]})
    assert steps[0] <= 80 and steps[1] <= 110 and len(program) <= 260


@given(
    addresses,
    st.sampled_from([1, 6, 17, 58]),
    port,
    port,
    st.integers(0, MASK),
    st.integers(0, 80),
    st.sampled_from([0, 0, 0x2000, 0x0001]),
)
def test_the_program_says_what_the_model_says(
    pair: tuple[object, object], protocol: int, one: int, two: int, seed: int, cut: int,
    fragment: int,
) -> None:  # fmt: skip
    """IPv4 and IPv6, fragments, any seed, and cut anywhere: never a load beyond the packet."""
    whole = packet(str(pair[0]), str(pair[1]), protocol, (one, two), fragment)
    for some in (whole, whole[:cut]):
        assert run(fanout_program(EACH, seed), some) == golden(some, seed)


def test_a_runt_goes_where_bucket_0_goes() -> None:
    """Nothing ends in the first member by accident: it may be away."""
    program = fanout_program((5,) * BUCKETS)
    for raw in (b"", b"\x45", bytes(19), b"\x45" + bytes(18), b"\x60" + bytes(38), b"\x99" * 60):
        assert run(program, raw) == 5


@given(st.binary(max_size=80))
def test_any_bytes_end(raw: bytes) -> None:
    """What the model says comes out, whatever the bytes are."""
    assert run(fanout_program(EACH), raw) == golden(raw)


def test_listing_names_every_instruction() -> None:
    """What doctor prints is complete and readable."""
    for program in (port_filter("port"), port_filter("host"), fanout_program(EACH)):
        lines = listing(program).splitlines()
        assert len(lines) == len(program)
    text = listing(port_filter("port"))
    assert "ldb  type" in text and "ldh  proto" in text and "ldh  vlan_tci" in text
    assert listing(port_filter("host")) != text

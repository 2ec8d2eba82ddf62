"""A worker between four links, and one FIB that two read: the worker, and `explain`.

        outside:  e0      e1      e2      e3
                  |       |       |       |
        router:   p0      p1      p2      p3          ports 0, 1, 2 and 5
                  own     own     none,   host
                  addr.   addr.,  borrows port
                          small   one
                          slots

Use (in a process that `unshare -Urni` has started): `with ExplainLab(plan, seed) as lab`. Both
namespaces have no address and no IPv6 of the kernel's, so nothing but the worker sends.
"""

import mmap
import os
import random
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import collapse_addresses, ip_interface, ip_network
from pathlib import Path

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.management.decision import View
from ribcage.controlplane.values.topology import Topology
from ribcage.dataplane.sockets import open_port
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import Port
from ribcage.shared.memory.stats import StatsReader
from ribcage.shared.plan import Plan
from ribcage.shared.process.events import EventQueue
from tests.netns.worker.lab import Fib, Lab, Namespace, PortPlan, interface_mac, ip

SEED = 77  # of the flow hash: Lab.start() says it to the worker
MTU = 9000  # of the links; the FIB's adjacencies have smaller ones
BIG, SMALL = (512, 16384), (1024, 2048)  # slots x bytes
HOST = 5  # its port index; 3 and 4 are free
NO_PORT = 9  # in the FIB only
ADDRESSES = {
    0: ("10.1.0.1/24", "2001:db8:1::1/64", "fe80::1/64"),
    1: ("10.2.0.1/24", "2001:db8:2::1/64"),
    2: ("fe80::2/64",),
    HOST: ("169.254.9.1/30",),
}
GLEAN, RESOLVED_GLEAN = 200, 210  # adjacency ids: + port
WAITING = 220  # the gateway that does not answer, until it does


def quiet() -> None:
    """This namespace's kernel says nothing of its own accord."""
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


class Wire:
    """The outside end of a port: sends frames, and keeps what comes in a ring."""

    def __init__(self, outside: Namespace, name: str) -> None:
        with outside:
            plan = PortPlan(0, name, socket.if_nametoindex(name), "host", *BIG)
            self.fd, _ = open_port(plan, 0, 1, 0)
            self.out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.out.bind((name, 0))
        self.out.setsockopt(263, 15, 1)  # PACKET_VNET_HDR
        self.out.setsockopt(263, 20, 1)  # PACKET_QDISC_BYPASS
        geometry = ffi.new("struct ring_geometry *")
        assert lib.ring_geometry(plan.slots, plan.slot_bytes, geometry) == 0
        self.map = mmap.mmap(self.fd, geometry.bytes)
        self.ring = ffi.new("struct ring *")
        lib.ring_open(self.ring, ffi.from_buffer(self.map, require_writable=True), geometry)

    def take(self) -> list[bytes]:
        """Every frame that came since the last time."""
        frames, slot = [], ffi.new("struct ring_frame *")
        lib.ring_begin(self.ring)
        while lib.ring_take(self.ring, slot):
            assert slot.captured == slot.wire_length
            frames.append(bytes(ffi.buffer(slot.frame, slot.captured)))
        lib.ring_release(self.ring)
        return frames


class ExplainLab(Lab):
    """See the module's text. start(), kill(), snapshot() are Lab's."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = replace(plan, workers=replace(plan.workers, count=1))
        self.workers = 1
        self.run_base = Path(tempfile.mkdtemp(prefix="ribcage-test-"))
        quiet()
        outside = Namespace()
        with outside:
            quiet()
        self.ports, self.topology, self.wires = [], Topology(), {}
        for i, index in enumerate(ADDRESSES):
            self._link(outside, i, index)
        self.fib = Table(self.topology, random.Random(seed))
        self.queue = EventQueue.create()
        self.stats_fds = [self._stats(0)]
        self.stats = [StatsReader(self.stats_fds[0])]
        self.bell = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
        self.rings = [[] for _ in range(HOST + 1)]  # [port][worker]
        for port in self.ports:
            self.rings[port.index] = [open_port(port, 0, 1, 0)[0]]
        self.pids, self.channels = {}, {}
        self.reader = FibReader(self.fib.fd)

    def _link(self, outside: Namespace, i: int, index: int) -> None:
        name, far = f"p{i}", f"e{i}"
        ip("link", "add", name, "mtu", str(MTU), "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", f"/proc/{os.getpid()}/fd/{outside.fd}")
        ip("link", "set", name, "up")
        with outside:
            ip("link", "set", far, "mtu", str(MTU), "arp", "off", "up")
        slots, slot_bytes = SMALL if index == 1 else BIG
        kind = "host" if index == HOST else "port"
        number = socket.if_nametoindex(name)
        self.ports.append(PortPlan(index, name, number, kind, slots, slot_bytes))
        own = tuple(ip_interface(text) for text in ADDRESSES[index])
        port = Port(index, name, number, MTU, interface_mac(name), True, index == HOST, own)
        self.topology.put(port)
        self.wires[index] = Wire(outside, far)

    def view(self, index: int) -> View:
        slot_bytes = next(port.slot_bytes for port in self.ports if port.index == index)
        return View(self.reader, self.topology, SEED, None, slot_bytes)

    def ring_bell(self) -> None:
        self.bell[0][0].send(b"x")


class Table(Fib):
    """Routes of every kind. Each bucket of each route has a target MAC of its own, so that a frame
    on the wire says which prefix and which path it took."""

    def __init__(self, topology: Topology, rng: random.Random) -> None:
        super().__init__()
        self.topology = topology
        self.rng = rng
        self.prefixes: dict[int, list[str]] = {4: [], 6: []}
        self.numbers: Iterator[int] = iter(range(1, 200))  # adjacencies
        self.groups: Iterator[int] = iter(range(1, 200))
        for port in topology.ports.values():
            own = [str(a.ip) for a in port.addresses]
            self.port(port.index, port.ifindex, port.mac, *own)
        self._simple()
        self._connected()
        self._random()
        self.neighbours(known=False)

    def add(self, prefix: str, group: int) -> None:
        self.route(prefix, group)
        self.prefixes[ip_network(prefix).version].append(prefix)

    def way(self, port: int, mtu: int, via: str, state: int = lib.ADJACENCY_RESOLVED) -> int:
        number = next(self.numbers)
        known = self.topology.ports.get(port)
        mac = known.mac if known is not None else b"\2" * 6
        target = b"\2\xaa\0\0" + number.to_bytes(2, "big")
        self.adjacency(number, port, mac, target, via, mtu)
        if state == lib.ADJACENCY_NONE:
            record = ffi.new("struct fib_adjacency *")
            record.id, record.port, record.state, record.mtu = number, port, state, mtu
            assert lib.fib_set_adjacency(self.writer, record) == 0
        return number

    def ways(self, *adjacencies: int) -> int:
        """A group with these buckets, a power of two of them."""
        number = next(self.groups)
        room = ffi.new("uint64_t[]", lib.fib_group_room() // 8)
        group = ffi.cast("struct fib_group *", room)
        group.id, group.kind = number, lib.FIB_KIND_FORWARD
        group.buckets, group.paths = len(adjacencies), len(set(adjacencies))
        buckets = ffi.cast("uint32_t *", ffi.addressof(group, "bucket"))
        for i, adjacency in enumerate(adjacencies):
            buckets[i] = adjacency
        assert lib.fib_set_group(self.writer, group) == 0
        return number

    def _simple(self) -> None:
        kinds = (lib.FIB_KIND_BLACKHOLE, lib.FIB_KIND_UNREACHABLE, lib.FIB_KIND_PROHIBIT)
        for i, kind in enumerate(kinds):
            number = next(self.groups)
            self.group(number, kind)
            self.add(f"10.{10 + i}.0.0/16", number)
            self.add(f"2001:db8:{10 + i}::/48", number)
        self.adjacency(WAITING, 1, self.topology.ports[1].mac, None, "10.2.0.9", 1500)
        for last, adjacencies in (
            (20, (WAITING,)),
            (21, (self.way(0, 1500, "10.1.0.7", lib.ADJACENCY_NONE),)),
            (22, (self.way(NO_PORT, 1500, "10.9.0.1"),)),
            (23, (self.way(HOST, 1500, "169.254.9.2"),)),
            (24, (self.way(2, 0, "fe80::9"),)),  # no MTU known
            (25, (self.way(0, 1300, "10.1.0.8"), WAITING) * 2),
        ):
            group = self.ways(*adjacencies)
            self.add(f"10.{last}.0.0/16", group)
            self.add(f"2001:db8:{last}::/48", group)

    def _connected(self) -> None:
        receive, broadcast = next(self.groups), next(self.groups)
        self.group(receive, lib.FIB_KIND_RECEIVE)
        self.group(broadcast, lib.FIB_KIND_BROADCAST)
        for port in self.topology.ports.values():
            self.glean(port, known=False)
            for own in port.addresses:
                if own.ip.is_link_local:
                    continue
                self.add(str(own.network), GLEAN + port.index)
                self.add(f"{own.ip}/{own.max_prefixlen}", receive)
                if own.version == 4:
                    self.add(f"{own.network.broadcast_address}/32", broadcast)
                    host = own.network.network_address + 2
                else:
                    host = own.network.network_address + 2
                way = self.ways(self.way(port.index, 1500, str(host)))
                self.add(f"{host}/{own.max_prefixlen}", way)

    def _random(self) -> None:
        """Prefixes of any length inside each other, over one to eight paths."""
        rng = self.rng
        for family, base, shortest in ((4, "20.0.0.0/6", 6), (6, "2001:db8:8000::/33", 33)):
            network = ip_network(base)
            known = {base}
            while len(known) < 34:
                length = rng.randrange(shortest, network.max_prefixlen + 1)
                word = int(network.network_address) | rng.getrandbits(
                    network.max_prefixlen - shortest
                )
                inside = (word.to_bytes(network.max_prefixlen // 8, "big"), length)
                known.add(str(ip_network(inside, strict=False)))
            for prefix in sorted(known):
                paths = rng.choice((1, 1, 1, 2, 4, 8))
                ports = rng.choices((0, 1, 2, HOST), (3, 3, 3, 1), k=min(paths, 4))
                mtus = rng.choices((576, 1280, 1300, 1500), k=len(ports))
                gateway = "192.0.2.7" if family == 4 else "fe80::77"
                made = [self.way(p, m, gateway) for p, m in zip(ports, mtus, strict=True)]
                self.add(prefix, self.ways(*(made * 2)[:paths]))

    def glean(self, port: Port, known: bool) -> None:
        """A connected network; `known`: as if whoever is asked for had answered."""
        number = RESOLVED_GLEAN + port.index if known else GLEAN + port.index
        target = b"\2\xbb\0\0\0" + bytes([port.index]) if known else None
        self.adjacency(number, port.index, port.mac, target, "", 1500)
        kind = lib.FIB_KIND_FORWARD if known else lib.FIB_KIND_GLEAN
        self.group(GLEAN + port.index, kind, number)

    def neighbours(self, known: bool) -> None:
        """Publishes with every neighbour known, or with none of those that are waited for."""
        for port in self.topology.ports.values():
            self.glean(port, known)
        target = b"\2\xcc\0\0\0\1" if known else None
        self.adjacency(WAITING, 1, self.topology.ports[1].mac, target, "10.2.0.9", 1500)
        self.publish()

    def told(self) -> set[str]:
        """The prefixes that a stage of `explain` can show: not those of own addresses, nor one
        whose every address has a longer one."""
        own = {str(a.ip) for port in self.topology.ports.values() for a in port.addresses}
        networks = [ip_network(text) for listed in self.prefixes.values() for text in listed]
        return {str(n) for n in networks if str(n[0]) not in own and not hidden(n, networks)}


def hidden(network: Network, networks: Sequence[Network]) -> bool:
    longer = [
        n
        for n in networks
        if n != network and n.version == network.version and n.subnet_of(network)
    ]
    return list(collapse_addresses(longer)) == [network]

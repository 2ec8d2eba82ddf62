"""Random frames for the comparison of `explain` with what happens: sound ones, and every way to be
wrong that a worker looks for.

    make = Packets(random.Random(7), prefixes={4: [...], 6: [...]}, own={4: [...], 6: [...]})
    vnet, frame = make.frame(mac)    # addressed to `mac`, mostly; what goes before it

A few are super-frames of TCP and UDP, which a local sender leaves for the last link to cut.

Most sources and targets lie in known prefixes, so that decisions, and ICMP errors, go far.
"""

import random
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from tests.netns.worker.frames import checksum

Network = IPv4Network | IPv6Network
MAX_PACKET = 8900  # with padding and a VLAN tag it still leaves a link of 9,000
SIZES = (576, 1280, 1300, 1500, 2048 - 76 - 14)  # MTUs, and what a slot of 2,048 bytes holds
NAMED = {  # addresses that mean something, by family
    4: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "255.255.255.255", "240.0.0.1",
        "224.0.0.1", "224.0.0.251", "239.1.2.3", "169.254.7.7", "10.1.0.255", "10.2.0.255",
        "10.1.0.0"],
    6: ["::", "::1", "::7", "::ffff:10.1.0.1", "ff02::1", "ff02::1:ff00:1", "ff12::7", "ff05::2",
        "ff0e::1", "ff01::1", "fe80::1", "fe80::7", "febf::1", "fec0::1"],
}  # fmt: skip
TRANSPORTS = (17, 17, 6, 6, 1, 58, 132, 33, 136, 47, 50, 59, 0, 255)
OPTIONS = (
    b"\x01" * 4,  # no operation
    b"\x94\x04\0\0",  # router alert
    b"\x00\x83\x07\x04",  # a source route behind the end of the list
    b"\x83\x07\x04\x0a\x02\x00\x02\x00",  # loose source route
    b"\x01\x89\x07\x04\x0a\x02\x00\x02",  # strict
    b"\x07\x07\x04\0\0\0\0\0",  # record route
    b"\x44\x00\0\0",  # an option of no bytes
    b"\x44\x09\0\0",  # longer than the list
    b"\x01\x01\x01\x44",  # without its length
)
NO_VNET = bytes(10)
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)


class Packets:
    """See the module's text."""

    def __init__(
        self, rng: random.Random, prefixes: dict[int, list[str]], own: dict[int, list[str]]
    ) -> None:
        self.rng = rng
        self.prefixes = {f: [ip_network(p) for p in listed] for f, listed in prefixes.items()}
        self.own = own
        self.number = 0

    def one_in(self, n: int) -> bool:
        return self.rng.randrange(n) == 0

    # ---- addresses ----

    def within(self, network: Network) -> bytes:
        bits = network.max_prefixlen - network.prefixlen
        word = int(network.network_address) | self.rng.getrandbits(bits) if bits else 0
        word = word or int(network.network_address)
        return word.to_bytes(network.max_prefixlen // 8, "big")

    def address(self, family: int, strange: int) -> bytes:
        """One of `strange` is a named one, one of ours, or anything at all."""
        kind = IPv4Address if family == 4 else IPv6Address
        if not self.one_in(strange):
            return self.within(self.rng.choice(self.prefixes[family]))
        what = self.rng.randrange(4)
        if what == 0:
            return kind(self.rng.choice(self.own[family])).packed
        if what == 1:
            return self.rng.randbytes(4 if family == 4 else 16)
        return kind(self.rng.choice(NAMED[family])).packed

    # ---- layers ----

    def payload(self, room: int) -> bytes:
        """A number first, where there is room, so that no two packets are alike."""
        self.number += 1
        head = struct.pack(">I", self.number)
        return (head + bytes([self.number & 0xFF]) * room)[: max(room, 0)]

    def size(self) -> int:
        """Bytes of a packet: mostly few, often around an MTU."""
        what = self.rng.randrange(8)
        if what == 0:
            return self.rng.choice(SIZES) + self.rng.randrange(-2, 3)
        if what == 1:
            return self.rng.randrange(20, MAX_PACKET)
        return self.rng.randrange(40, 200)

    def transport(self, protocol: int, room: int) -> bytes:
        ports = struct.pack(">HH", self.rng.choice((53, 80, 4000)), self.rng.randrange(65536))
        if protocol in (17, 136):
            head = ports + struct.pack(">HH", room & 0xFFFF, 0)
        elif protocol == 6:
            offset = 5 if not self.one_in(6) else self.rng.randrange(16)
            head = ports + struct.pack(">IIBBHHH", 1, 1, offset << 4, 16, 9, 0, 0)
        elif protocol in (1, 58):
            kind = self.rng.choice((8, 0, 3, 5, 11, 13, 42, 128, 129, 1, 2, 137, 135))
            head = struct.pack(">BBHHH", kind, 0, 0, 7, self.rng.randrange(65536))
        elif protocol in (132, 33):
            head = ports
        else:
            head = b""
        return (head + self.payload(room - len(head)))[: max(room, 0)]

    def ipv4(self) -> bytes:
        rng = self.rng
        options = rng.choice(OPTIONS) if self.one_in(10) else b""
        fragment = 0x4000 if rng.random() < 0.5 else 0
        if self.one_in(10):
            fragment |= rng.choice((0x2000, 0x2005, 0x0005, 0x1FFF))
        protocol = rng.choice(TRANSPORTS)
        head = 20 + len(options)
        total = max(self.size(), head)
        body = self.transport(protocol, total - head)
        length, first = total, 0x40 | head // 4
        broken = rng.randrange(40)
        if broken == 0:
            length = rng.choice((0, 19, head - 1, total - 1, total + 1, 65535)) & 0xFFFF
        elif broken == 1:
            first = rng.choice((0x44, 0x4F, 0x65, 0x05, 0xF5, 0x40))
        ttl = rng.choice((0, 1, 1, 2)) if self.one_in(8) else rng.choice((3, 64, 128, 255))
        ip = struct.pack(
            ">BBHHHBBH", first, rng.choice((0, 0xB8)), length, rng.randrange(65536), fragment, ttl,
            protocol, 0,
        )  # fmt: skip
        ip += self.address(4, 5) + self.address(4, 4) + options
        used = (first & 15) * 4  # what a reader takes for the header
        check = checksum((ip + body)[: used & ~1])
        if broken == 2:
            check ^= 1 << rng.randrange(16)
        return ip[:10] + struct.pack(">H", check) + ip[12:] + body

    def ipv6(self) -> bytes:
        rng = self.rng
        protocol = rng.choice(TRANSPORTS)
        chain = b""
        following = protocol
        for _ in range(rng.choice((0, 0, 0, 0, 1, 2, 3, 9))):
            chain, following = self.extension(following) + chain, self.kind
        payload = max(self.size() - 40, len(chain))
        body = chain + self.transport(protocol, payload - len(chain))
        length, version = payload, 6
        broken = rng.randrange(40)
        if broken == 0:
            length = rng.choice((0, payload - 1, payload + 1, 65535, len(chain) // 2)) & 0xFFFF
        elif broken == 1:
            version = rng.randrange(16)
        ttl = rng.choice((0, 1, 1, 2)) if self.one_in(8) else rng.choice((3, 64, 128, 255))
        head = struct.pack(">IHBB", version << 28 | rng.getrandbits(28), length, following, ttl)
        return head + self.address(6, 5) + self.address(6, 4) + body

    def extension(self, following: int) -> bytes:
        """One header in front of `following`; `kind` is its own number."""
        rng = self.rng
        self.kind = rng.choice(EXTENSIONS)
        if self.kind == 44:
            offset = rng.choice((0, 0, 1, 1, 8, 9, 0x1238))
            return struct.pack(">BBHI", following, 0, offset, rng.getrandbits(32))
        units = rng.randrange(3)
        if self.one_in(8):
            units = rng.choice((7, 200))  # longer than it is
            return bytes([following, units]) + bytes(6)
        size = (units + 2) * 4 if self.kind == 51 else (units + 1) * 8
        return (bytes([following, units]) + bytes(max(size, 8)))[: max(size, 8)]

    # ---- frames ----

    def super_frame(self, mac: bytes) -> tuple[bytes, bytes]:
        """Sound but for its addresses and TTL: no kernel lets another one out."""
        rng = self.rng
        family, tcp = rng.choice((4, 6)), rng.choice((True, False))
        head = 20 if family == 4 else 40
        total = rng.randrange(2600, MAX_PACKET)
        segment = rng.choice(SIZES[:4]) + rng.randrange(-1, 2) - head - (20 if tcp else 8)
        transport = self.transport(6 if tcp else 17, total - head)
        if tcp:  # as Linux does: five words, FIN and PSH on the last segment
            transport = transport[:12] + b"\x50\x19" + transport[14:]
        ttl = rng.choice((1, 2, 64, 64, 64))
        ends = self.address(family, 12), self.address(family, 12)
        number = 6 if tcp else 17
        if family == 4:
            df = rng.choice((0, 0x4000))
            ip = struct.pack(">BBHHHBBH", 0x45, 0, total, self.number & 0xFFFF, df, ttl, number, 0)
            ip += b"".join(ends)
            ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        else:
            ip = struct.pack(">IHBB", 6 << 28, total - 40, number, ttl) + b"".join(ends)
        at = 16 if tcp else 6
        pseudo = b"".join(ends) + struct.pack(">II", len(transport), number)
        partial = struct.pack(">H", ~checksum(pseudo) & 0xFFFF)
        transport = transport[:at] + partial + transport[at + 2 :]
        kind = (1 if family == 4 else 4) if tcp else 5
        vnet = struct.pack(
            "=BBHHHH", 1, kind, 14 + head + (20 if tcp else 8), segment, 14 + head, at
        )
        ethertype = b"\x08\x00" if family == 4 else b"\x86\xdd"
        return vnet, mac + b"\2\0\0\0\0\x77" + ethertype + ip + transport

    def frame(self, mac: bytes) -> tuple[bytes, bytes]:
        rng = self.rng
        if self.one_in(30):
            return self.super_frame(mac)
        family = rng.choice((4, 6))
        packet = self.ipv4() if family == 4 else self.ipv6()
        kind = 0x0800 if family == 4 else 0x86DD
        strange = rng.randrange(60)
        if strange == 0:
            kind = rng.choice((0x0800, 0x86DD, 0x0806, 0x88B5, 0x8847, 0x0042))
        elif strange == 1:
            packet = packet[: rng.randrange(len(packet))]  # cut on its way
        elif strange < 6:
            packet += bytes(rng.randrange(1, 30))  # padding
        target = mac
        if self.one_in(40):
            target = rng.choice((b"\xff" * 6, b"\x01\0\x5e\0\0\1", b"\x33\x33\0\0\0\1", b"\2" * 6))
        tag = b""
        if self.one_in(60):
            tag = rng.choice((b"\x81\0\0\0", b"\x81\0\0\5", b"\x88\xa8\x20\0"))
        return NO_VNET, target + b"\2\0\0\0\0\x77" + tag + struct.pack(">H", kind) + packet

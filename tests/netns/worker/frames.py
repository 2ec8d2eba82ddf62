"""Frames for the worker's namespace tests, built by hand: quick to import, wrong on request."""

import ipaddress
import struct


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(
    source_mac: bytes,
    target_mac: bytes,
    source: str,
    target: str,
    payload: bytes,
    ttl: int = 64,
    port: int = 4000,
    dont_fragment: bool = False,
) -> bytes:
    """Ethernet, IPv4 or IPv6, UDP with its checksum."""
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    length = 8 + len(payload)
    head = struct.pack("!HHHH", port, 9, length, 0)
    pseudo = a.packed + b.packed + struct.pack("!II", length, 17)
    udp = struct.pack("!HHHH", port, 9, length, checksum(pseudo + head + payload) or 0xFFFF)
    if a.version == 4:
        flags = 0x4000 if dont_fragment else 0
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, flags, ttl, 17, 0)
        ip = ip[:10] + struct.pack("!H", checksum(ip + a.packed + b.packed)) + a.packed + b.packed
        kind = b"\x08\x00"
    else:
        ip = struct.pack("!IHBB", 6 << 28, length, 17, ttl) + a.packed + b.packed
        kind = b"\x86\xdd"
    return target_mac + source_mac + kind + ip + udp + payload


def patched(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


def number_of(frame: bytes) -> int:
    """The number a `numbered` payload carries, -1 for other frames."""
    at = frame.find(b"#rc")
    return -1 if at < 0 else int(struct.unpack_from("!I", frame, at + 3)[0])


def numbered(number: int, size: int = 20) -> bytes:
    return (b"#rc" + struct.pack("!I", number)).ljust(size, b".")


def ttl_of(frame: bytes) -> int:
    return frame[22] if frame[12:14] == b"\x08\x00" else frame[21]


def sound(frame: bytes) -> bool:
    """The IPv4 header and UDP checksums are right."""
    if frame[12:14] == b"\x08\x00":
        ip, addresses = frame[14:34], frame[26:34]
        if checksum(ip) != 0:
            return False
        rest = frame[34:]
    else:
        addresses, rest = frame[22:54], frame[54:]
    length = struct.unpack_from("!H", rest, 4)[0]
    return checksum(addresses + struct.pack("!II", length, 17) + rest[:length]) == 0


def icmp_of(frame: bytes) -> tuple[int, int, int] | None:
    """(type, code, the four bytes after the checksum) of an ICMP or ICMPv6 frame."""
    if frame[12:14] == b"\x08\x00" and frame[23] == 1:
        at = 34
    elif frame[12:14] == b"\x86\xdd" and frame[20] == 58:
        at = 54
    else:
        return None
    return frame[at], frame[at + 1], struct.unpack_from("!I", frame, at + 4)[0]

"""A frame that ends each worker of a --teach router that reads it (csrc/forward/poison.h).

    send_poison("rc-host", "rc-port")     # where the router's ports are: see reach.py

It goes out of the host stack's end of the pair, so that it comes in on rc-port as a packet of the
host does: no neighbour has to help.
"""

import fcntl
import ipaddress
import socket
import struct

WORD = b"ribcage:poison:abort"
SIOCGIFHWADDR = 0x8927
SOURCE, SINK = ipaddress.IPv4Address("192.0.2.1"), ipaddress.IPv4Address("192.0.2.2")
DISCARD = 9  # the port of RFC 863


def send_poison(host: str, port: str) -> None:
    """Out of `host`, whose other end is `port`."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((host, 0))
        sock.send(frame(_mac(sock, port), _mac(sock, host)))


def frame(to: bytes, from_: bytes) -> bytes:
    """A sound UDP packet (its checksum left out, as IPv4 allows): nothing else is wrong with it."""
    udp = struct.pack("!4H", DISCARD, DISCARD, 8 + len(WORD), 0) + WORD
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
    head += SOURCE.packed + SINK.packed
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
    ip = head[:10] + struct.pack("!H", checksum) + head[12:]
    return to + from_ + struct.pack("!H", 0x0800) + ip + udp


def _mac(sock: socket.socket, name: str) -> bytes:
    answer = fcntl.ioctl(sock, SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))
    return answer[18:24]

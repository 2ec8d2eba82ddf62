"""IP addresses, networks and MAC addresses as values, bytes and text: the one codec.

    address_of(bytes((192, 0, 2, 7)))       # IPv4Address: 4 or 16 bytes in network order
    mac_of("02:00:00:00:00:01"); mac_text(mac)

Inside Ribcage an IP address is an object of `ipaddress` and a MAC address is 6 bytes. Text is made
and read at the borders alone: config file, management, log, journal, pyroute2. Rows in bulk stay
packed in C and never become objects one by one; memory/fields.py is the same codec for the fields
of C records. Pure; any process, and light enough for the command line.
"""

import socket
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)

from ribcage.shared.errors import Exit, RibcageError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

BYTES = {4: 4, 6: 16}
SOCKET_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
NO_MAC = bytes(6)


# -- addresses


def address_of(packed: bytes) -> Address:
    """From network order; ValueError unless there are 4 or 16 bytes."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def packed_address(address: Address | bytes | str) -> bytes:
    """4 or 16 bytes of an address in any form; E_ADDRESS for what is none."""
    if isinstance(address, IPv4Address | IPv6Address):
        return address.packed
    if isinstance(address, bytes):
        if len(address) in (4, 16):
            return address
    else:
        try:
            return socket.inet_pton(SOCKET_FAMILY[6 if ":" in address else 4], address)
        except (OSError, ValueError):
            pass
    raise RibcageError(
        "E_ADDRESS", f"{address!r} is not an IPv4 or IPv6 address", exit_code=Exit.USAGE
    )


# -- prefixes


def network_of(packed: bytes, family: int, length: int) -> Network:
    """From the 16 bytes of a record's prefix."""
    return ip_network((packed[: BYTES[family]], length))


def prefix_text(packed: bytes, family: int, length: int) -> str:
    """The text of `network_of`, a quarter of its price: for listings of a million rows."""
    return f"{socket.inet_ntop(SOCKET_FAMILY[family], packed[: BYTES[family]])}/{length}"


# -- MAC addresses


def mac_of(text: str) -> bytes:
    """6 bytes; E_MAC for what is no MAC address."""
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) != 6:
        raise RibcageError("E_MAC", f"{text!r} is not a MAC address", exit_code=Exit.USAGE)
    return raw


def mac_text(mac: bytes) -> str:
    """`02:00:00:00:00:01`."""
    return mac.hex(":")

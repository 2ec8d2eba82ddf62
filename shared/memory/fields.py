"""Addresses, prefixes and MACs in the fields of C records: the half of addresses.py that needs C.

    set_prefix(row, network); prefix_of(row)             # struct route_row and its like
    record.family = set_address(record.nexthop, address)
    read_address(record.nexthop, record.family); read_mac(record.source_mac)

A record is zeroed before it is written, so that the rest of 16 bytes is. Any process.
"""

from ipaddress import ip_interface
from typing import Any

from ribcage.shared._core import ffi

from ribcage.shared.addresses import BYTES, Address, Interface, Network, address_of, network_of


def read_address(field: Any, family: int) -> Address | None:
    """From a C field of 16 bytes and its family; None when the family says that there is none."""
    return address_of(bytes(ffi.buffer(field, BYTES[family]))) if family in BYTES else None


def set_address(field: Any, address: Address) -> int:
    """Writes a zeroed C field of 16 bytes; the family that belongs beside it."""
    ffi.memmove(field, address.packed, BYTES[address.version])
    return address.version


def read_interface(field: Any, family: int, length: int) -> Interface:
    """An own address: a C field of 16 bytes, its family and the length of its network. ValueError
    when that is none."""
    if family not in BYTES:
        raise ValueError(f"an address of family {family}")
    return ip_interface((bytes(ffi.buffer(field, BYTES[family])), length))


def set_prefix(record: Any, network: Network) -> None:
    """Prefix, length and family of a zeroed record."""
    record.family = set_address(record.prefix, network.network_address)
    record.length = network.prefixlen


def prefix_of(record: Any) -> Network:
    """The prefix of a C record."""
    return network_of(bytes(ffi.buffer(record.prefix, 16)), record.family, record.length)


def prefix_or_parts(record: Any) -> str:
    """For messages: the prefix of a record, or, where that is none, what it says instead."""
    try:
        return str(prefix_of(record))
    except (KeyError, ValueError):
        return f"a row of family {record.family} and length {record.length}"


def read_mac(field: Any) -> bytes:
    """From a C field of 6 bytes."""
    return bytes(ffi.buffer(field, 6))

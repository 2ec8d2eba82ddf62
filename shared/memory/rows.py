"""Addresses, prefixes and route rows between text and C.

Use: `rows_of([Route("198.51.100.0/24", 3)])` for the bulk functions of csrc/, `row_prefix(row)` for
what people read. An address is 4 or 16 bytes in network order, a prefix `address/length` without
bits set below its length. For single routes and tests; files of a million lines are parsed in C
(rows_parse). Plain values, any process.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi

from ribcage.shared.errors import Exit, RibcageError


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix in canonical text ("198.51.100.0/24") and its group; 0 withdraws."""

    prefix: str
    group: int


def family_of(raw: bytes) -> int:
    return 4 if len(raw) == 4 else 6


def address_bytes(address: str | bytes) -> bytes:
    """4 or 16 bytes in network order; E_ADDRESS for anything else."""
    if isinstance(address, bytes):
        if len(address) in (4, 16):
            return address
    else:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            return socket.inet_pton(family, address)
        except (OSError, ValueError):
            pass
    raise RibcageError(
        "E_ADDRESS", f"{address!r} is not an IPv4 or IPv6 address", exit_code=Exit.USAGE
    )


def address_text(raw: Any, family: int) -> str | None:
    if family not in (4, 6):
        return None
    data = bytes(ffi.buffer(raw, 4 if family == 4 else 16))
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, data)


def mac_bytes(text: str) -> bytes:
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise RibcageError("E_MAC", f"{text!r} is not a MAC address", exit_code=Exit.USAGE)
    return raw


def mac_text(raw: Any) -> str:
    return bytes(ffi.buffer(raw, 6)).hex(":")


def fill_row(row: Any, prefix: str, group: int = 0) -> None:
    """Writes a prefix into a `struct route_row`; E_PREFIX with the corrected text for host bits."""
    address, slash, length = prefix.partition("/")
    try:
        raw = address_bytes(address)
        bits = int(length)
        network = ipaddress.ip_network((raw, bits), strict=False)
    except (ValueError, RibcageError):
        raise RibcageError(
            "E_PREFIX", f"{prefix!r} is not an address/length", exit_code=Exit.USAGE
        ) from None
    if not slash or network.network_address.packed != raw:
        raise RibcageError(
            "E_PREFIX",
            f"{prefix!r} has bits set below /{bits}",
            hint=f"write {network}",
            exit_code=Exit.USAGE,
        )
    ffi.buffer(row.prefix)[:] = raw.ljust(16, b"\0")
    row.length, row.family, row.nexthop = bits, family_of(raw), group


def row_prefix(row: Any) -> str:
    """The canonical text of a row's prefix."""
    return f"{address_text(row.prefix, row.family)}/{row.length}"


def rows_of(routes: Iterable[Route]) -> Any:
    """A `struct route_row[]` of these routes."""
    listed = list(routes)
    rows = ffi.new("struct route_row[]", len(listed))
    for row, route in zip(rows, listed, strict=True):
        fill_row(row, route.prefix, route.group)
    return rows

"""Wanted routes as rows, and rows back as text: the few-rows side of the bulk currency.

Bulk sources fill `struct route_row[]` in C; this is for the ones made one by one.
"""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from ribcage.shared._core import ffi

from ribcage.controlplane.values.topology import Network
from ribcage.controlplane.values.wanted import Wanted

_BYTES = {4: 4, 6: 16}


def new_rows(count: int) -> Any:
    """A zeroed `struct route_row[count]`."""
    return ffi.new("struct route_row[]", max(1, count))


def set_prefix(row: Any, prefix: Network) -> None:
    """Prefix, length and family of a C row."""
    packed = prefix.network_address.packed
    ffi.memmove(row.prefix, packed, len(packed))
    row.length, row.family = prefix.prefixlen, prefix.version


def pack(wanted: Sequence[Wanted], ids: Sequence[int]) -> tuple[Any, int]:
    """Rows of wanted routes; ids[i] is the next-hop set of wanted[i], 0 withdraws."""
    rows = new_rows(len(wanted))
    for row, route, nexthop in zip(rows, wanted, ids, strict=False):
        set_prefix(row, route.prefix)
        row.source, row.distance = route.source, route.distance
        row.metric, row.nexthop = route.metric, nexthop
    return rows, len(wanted)


def prefix_of(row: Any) -> Network:
    """The prefix of a C row."""
    packed = bytes(ffi.buffer(row.prefix, _BYTES[int(row.family)]))
    return ip_network((packed, int(row.length)))

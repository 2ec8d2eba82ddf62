"""Route rows between values and C: `struct route_row`, in which all bulk work is done.

    rows = rows_of([Row(network, 3), ...]); apply(rows, len(rows))
    rows_of(row_of(text, 1) for text in ("10.0.0.0/8", "2001:db8::/32"))     # tests and tools
    row_at(rows[0])

For single routes and tests: bulk sources fill rows in C and never make an object per route (files
of a million lines: rows_parse). Plain values, any process.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from ribcage.shared._core import ffi

from ribcage.shared.addresses import Network
from ribcage.shared.memory.fields import prefix_of, set_prefix

ROW_BYTES: int = ffi.sizeof("struct route_row")


@dataclass(frozen=True, slots=True)
class Row:
    """A route to put in force, or a change that a table reports. `nexthop`: the number of its
    next-hop set, which is its group in the FIB; 0 withdraws, or says that nothing is left."""

    prefix: Network
    nexthop: int = 0
    source: int = 1
    distance: int = 0
    metric: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of handing rows to a table: rows[0..applied) are in force, and `changes` says how
    many of them changed something: in the RIB best paths, in the FIB words. `error`: 0, or an
    errno about rows[applied] (refusals.py). The RIB also says what the rows were to it."""

    applied: int
    changes: int
    error: int = 0
    added: int = 0
    replaced: int = 0
    refreshed: int = 0
    withdrawn: int = 0
    unknown: int = 0


def row_of(prefix: str, nexthop: int = 0, source: int = 1) -> Row:
    """A row from text, for tests and tools. ValueError for what is no prefix."""
    return Row(ip_network(prefix), nexthop, source)


def new_rows(count: int) -> Any:
    """A zeroed `struct route_row[count]`."""
    return ffi.new("struct route_row[]", count)


def rows_of(rows: Iterable[Row]) -> Any:
    """A `struct route_row[]` of these."""
    listed = list(rows)
    array = new_rows(len(listed))
    for target, row in zip(array, listed, strict=True):
        set_prefix(target, row.prefix)
        target.source, target.distance, target.metric = row.source, row.distance, row.metric
        target.nexthop, target.flags = row.nexthop, row.flags
    return array


def row_at(row: Any) -> Row:
    """The value of a C row."""
    return Row(prefix_of(row), row.nexthop, row.source, row.distance, row.metric, row.flags)


def key_of(prefix: Network) -> Any:
    """A `struct route_row *` that names a prefix."""
    key = ffi.new("struct route_row *")
    set_prefix(key, prefix)
    return key

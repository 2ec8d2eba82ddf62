"""Makes the pages of `route.list`, in bulk: a table has a million rows.

    rows = page_rows(core, routes, count, {"seen": 2, "of": 2})    # routes: struct rib_route[]

Per page, not per row: one call that asks the FIB for all exact prefixes, one unpacking of all
rows, next hops rendered once a set. The rows of a page share those lists: they are to be encoded,
not changed. 900,000 rows in pages of MAX_PAGE. Control only.
"""

import struct
from collections.abc import Mapping
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.records import Filter
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.table import source_name
from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.shared.addresses import network_of, prefix_text
from ribcage.shared.errors import RibcageError

MAX_PAGE = 4096  # rows: 40 ms of the loop, 1.5 MB of reply
MAX_PATHS = 32_768  # of all rows: wide ECMP sets, or a reply would outgrow the backlog's limit

# struct rib_route: prefix, length, family, source, distance, metric, nexthop, flags, generation,
# since; a test holds it against the C one.
RECORD = struct.Struct("=16sBBBBIIIII")
NEXTHOP = 6


def walk_page(
    core: Core, cursor: str | None, limit: int, wanted: Filter
) -> tuple[Any, int, str | None]:
    """(struct rib_route[], count, following cursor): at most `limit` rows and about MAX_PATHS
    paths, but one row at least."""
    routes, count, following = core.rib.walk_packed(cursor, limit, wanted)
    sets = core.forwarding.sets
    paths = 0
    for index, record in enumerate(RECORD.iter_unpack(_bytes(routes, count))):
        nexthops = sets.get(record[NEXTHOP])
        paths += len(nexthops.paths) if nexthops is not None else 0
        if paths > MAX_PATHS and index:
            return core.rib.walk_packed(cursor, index, wanted)
    return routes, count, following


def page_rows(
    core: Core, routes: Any, count: int, workers: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One object a candidate; `workers` says how many use what is published. E_DAMAGED for a row
    that somebody wrote to."""
    try:
        return _page_rows(core, routes, count, workers)
    except (KeyError, ValueError) as error:
        raise RibcageError(
            "E_DAMAGED",
            f"a row of the routing table is none: {error}",
            "the audit finds it, and control makes the table anew; ask again",
        ) from error


def _page_rows(
    core: Core, routes: Any, count: int, workers: Mapping[str, Any]
) -> list[dict[str, Any]]:
    held = ffi.new("uint32_t[]", max(1, count))
    lib.verify_exact(core.fib.writer.handle, routes, count, held)
    groups = ffi.unpack(held, count)
    shown = _Shown(core)
    used = dict(workers)
    rows = []
    records = RECORD.iter_unpack(_bytes(routes, count))
    for group, record in zip(groups, records, strict=True):
        address, length, family, source, distance, metric, nexthop, flags, _, since = record
        kind, paths = shown.of(nexthop)
        selected = bool(flags & lib.ROW_SELECTED)
        rows.append(
            {
                "dst": prefix_text(address, family, length),
                "protocol": source_name(source),
                "distance": distance,
                "metric": metric,
                "type": kind,
                "nexthops": paths,
                "selected": selected,
                "in_fib": selected and group == nexthop,
                "aggregated": selected
                and group == 0
                and core.entries.redundant(network_of(address, family, length)),
                "stale": bool(flags & lib.ROW_STALE),
                "dead": bool(flags & lib.ROW_DEAD),
                "since": since,
                "workers": used,
            }
        )
    return rows


def _bytes(routes: Any, count: int) -> bytes:
    return bytes(ffi.buffer(routes, count * RECORD.size))


class _Shown:
    """Next-hop sets in words, each once a page."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._known: dict[int, tuple[str, list[dict[str, Any]]]] = {}

    def of(self, number: int) -> tuple[str, list[dict[str, Any]]]:
        """(kind, paths); ("?", []) for a set that is unknown."""
        known = self._known.get(number)
        if known is None:
            nexthops = self.core.forwarding.sets.get(number)
            known = ("?", []) if nexthops is None else self._words(nexthops)
            self._known[number] = known
        return known

    def _words(self, nexthops: NexthopSet) -> tuple[str, list[dict[str, Any]]]:
        topology = self.core.topology
        paths = [
            {
                "via": str(path.hop.gateway) if path.hop.gateway is not None else None,
                "dev": topology.name_of(path.hop.port),
                "weight": path.weight,
                "alive": topology.alive(path.hop),
            }
            for path in nexthops.paths
        ]
        return nexthops.kind.label, paths

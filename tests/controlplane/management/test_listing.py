"""Pages of routes made in bulk say what a look at each single route says."""

import asyncio
import json
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.management import listing
from ribcage.controlplane.management.listing import MAX_PAGE, RECORD, page_rows, walk_page
from ribcage.controlplane.rib.records import Filter, Route
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.table import source_name
from ribcage.shared.errors import RibcageError

WORKERS = {"seen": 2, "of": 2}
ADDED = 150


def filled(router: Any) -> Any:
    """Connected networks, a few runtime routes of both families, one with two candidates."""
    core = router.core

    async def setup() -> None:
        router.ports()
        await core.sync(CONNECTED)
        routes = RouteRequests(core, lambda: [])
        for n in range(ADDED):
            two = [{"via": "10.0.2.9"}, {"via": "10.0.1.9", "weight": 3}]
            await routes.add({"dst": f"203.0.{n}.0/24", "nexthops": two[: 1 + n % 2]})
        await routes.add({"dst": "203.0.5.0/24", "type": "blackhole", "metric": 7})
        await routes.add({"dst": "2001:db8:f::/48", "type": "unreachable"})

    asyncio.run(setup())
    return core


def alone(core: Any, route: Route) -> dict[str, Any]:
    """One route, looked at by itself: the slow model."""
    nexthops = core.forwarding.sets[route.nexthop]
    held = core.fib.writer.exact(route.prefix)
    return {
        "dst": str(route.prefix),
        "protocol": source_name(route.source),
        "distance": route.distance,
        "metric": route.metric,
        "type": nexthops.kind.label,
        "nexthops": [
            {
                "via": str(path.hop.gateway) if path.hop.gateway is not None else None,
                "dev": core.topology.name_of(path.hop.port),
                "weight": path.weight,
                "alive": core.topology.alive(path.hop),
            }
            for path in nexthops.paths
        ],
        "selected": route.selected,
        "in_fib": route.selected and held == route.nexthop,
        "aggregated": route.selected and held == 0 and core.entries.redundant(route.prefix),
        "stale": route.stale,
        "dead": route.dead,
        "since": route.since,
        "workers": WORKERS,
    }


def pages(core: Any, limit: int) -> list[list[dict[str, Any]]]:
    found, cursor = [], None
    while True:
        routes, count, cursor = walk_page(core, cursor, limit, Filter())
        found.append(page_rows(core, routes, count, WORKERS))
        if cursor is None:
            return found


def test_the_record_is_what_c_writes() -> None:
    assert RECORD.size == ffi.sizeof("struct rib_route")
    fields = ("prefix", "length", "family", "source", "distance", "metric", "nexthop", "flags")
    assert [ffi.offsetof("struct route_row", name) for name in fields] == [
        0, 16, 17, 18, 19, 20, 24, 28,
    ]  # fmt: skip
    assert ffi.offsetof("struct rib_route", "generation") == 32
    assert ffi.offsetof("struct rib_route", "since") == 36
    assert MAX_PAGE <= lib.RIB_WALK_MAX


def test_a_page_says_what_each_route_says(router: Any) -> None:
    """Every field of every candidate, in the same order, whatever the size of a page."""
    core = filled(router)
    expected = [alone(core, route) for route in core.rib.walk(None, MAX_PAGE)[0]]
    assert len(expected) > ADDED
    assert {row["type"] for row in expected} >= {"forward", "blackhole", "unreachable"}
    for limit in (1, 7, MAX_PAGE):
        assert [row for page in pages(core, limit) for row in page] == expected


def test_a_row_that_somebody_wrote_to_is_told_as_damage(router: Any) -> None:
    """A family that is none: an error with its code, not a bug of ours in the log."""
    core = filled(router)
    routes, count, _ = walk_page(core, None, MAX_PAGE, Filter())
    routes[count - 1].row.family = 132
    with pytest.raises(RibcageError, match="is none: 132") as refused:
        page_rows(core, routes, count, WORKERS)
    assert refused.value.code == "E_DAMAGED"


def test_a_page_of_wide_sets_is_short(router: Any, monkeypatch: Any) -> None:
    """However many paths the routes have, a reply is bounded, and no route is left out."""
    core = filled(router)
    expected = [row for page in pages(core, MAX_PAGE) for row in page]
    monkeypatch.setattr(listing, "MAX_PATHS", 100)
    cut = pages(core, MAX_PAGE)
    assert len(cut) > 1
    assert all(sum(len(row["nexthops"]) for row in page) <= 100 for page in cut)
    assert [row for page in cut for row in page] == expected
    json.dumps(cut)

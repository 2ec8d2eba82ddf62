"""What becomes of routes that came from the FIB, when the RIB was lost (fib/salvage.py).

    kept, gone = await give_back(rib, publisher)     # after every source has announced its own

A prefix that a source announces again is that source's. Of the rest, what can only have been a
link's or a neighbour's (glean, receive, broadcast, the route of one on-link host) is gone with it.
All else was added at run time and becomes so again: with the same next hops and the default
metric, in the same batch, so that no lookup changes.

In slices; a death in between is no harm: the source's name stays on what is left, and the
successor goes on with that. Control only.
"""

import asyncio
import time

from ribcage.controlplane.fib.publisher import Publisher
from ribcage.controlplane.rib.records import Filter, Route
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.sources.recovered import RECOVERED
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.rows import Row, rows_of

SLICE = 512
OF_LINKS = (FibKind.GLEAN, FibKind.RECEIVE, FibKind.BROADCAST)


def any_recovered(rib: Rib) -> bool:
    """Whether any is left."""
    return rib.counts().source[RECOVERED.number] > 0


async def give_back(rib: Rib, publisher: Publisher) -> tuple[int, int]:
    """Routes that are "added" again, and routes that went."""
    wanted, cursor = Filter(source=RECOVERED.number), None
    kept = gone = 0
    while True:
        found, cursor = rib.walk(cursor, SLICE, wanted)
        rows: list[Row] = []
        for route in found:
            if _added(rib, route):
                kept += 1
                rows.append(Row(route.prefix, route.nexthop, RUNTIME.number, RUNTIME.distance))
            else:
                gone += 1
            rows.append(Row(route.prefix, 0, RECOVERED.number))
        t0 = time.monotonic_ns()
        try:
            publisher.apply(rows_of(rows), len(rows), t0)
        except RibcageError:  # no room for both at once: one by one, and the old ones go
            for row in rows:
                _one(publisher, row, t0)
        publisher.flush()
        if cursor is None:
            return kept, gone
        await asyncio.sleep(0)


def _one(publisher: Publisher, row: Row, t0: int) -> None:
    try:
        publisher.apply(rows_of([row]), 1, t0)
    except RibcageError:
        return  # counted as refused by the publisher


def _added(rib: Rib, route: Route) -> bool:
    if len(rib.candidates(route.prefix)) > 1:
        return False
    nexthops = rib.nexthop(route.nexthop)
    if nexthops is None or nexthops.kind in OF_LINKS:
        return False
    hops = nexthops.hops()
    own = route.prefix.prefixlen == route.prefix.max_prefixlen
    return not (own and len(hops) == 1 and hops[0].gateway == route.prefix.network_address)

"""Adds and deletes routes at run time, and says what a listing shows of a route.

    result = await RouteRequests(core, watches).add({"dst": "203.0.113.0/24", "nexthops": [...]})

Requests are checked whole before anything is changed. A runtime route has distance 1, as a
static one has: the metric decides between them, then the file. Adding a route that is there (same
prefix and metric) replaces its next hops in one step, without a gap; one that is there just so
stays unchanged, and nothing is published. What comes from the config file is changed there.

`wait` says when the reply is given: `none` once acknowledged and published in the same turn,
`published` likewise with the stamps, `visible` when every living worker uses it (E_TIMEOUT, exit
6, names the worker that does not; the change stays). Control only.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ribcage.controlplane.fib.publishing import Published
from ribcage.controlplane.rib.records import Route
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.routes.sources.table import source_name
from ribcage.controlplane.values.nexthop import NexthopSet, nexthop_set
from ribcage.controlplane.values.parse import (
    TYPES,
    parse_address,
    parse_nexthops,
    parse_number,
    parse_prefix,
    parse_word,
    resolve,
    usage,
)
from ribcage.controlplane.values.wanted import Wanted
from ribcage.controlplane.workers.visible import Watch, count_seen, wait_visible
from ribcage.shared.addresses import Network
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.rows import rows_of

WAITS = ("visible", "published", "none")
MAX_METRIC = 0xFFFFFFFF


class RouteRequests:
    """See the module's text. `watches` gives the stats objects of the workers there are now."""

    def __init__(self, core: Core, watches: Callable[[], Sequence[Watch]]) -> None:
        self.core = core
        self.watches = watches

    # -- changing

    async def add(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """route.add: {dst, nexthops, type, metric, distance, wait, dry_run}."""
        t0 = time.monotonic_ns()
        core = self.core
        prefix = parse_prefix(params.get("dst"))
        kind = parse_word(params, "type", "forward", TYPES)
        metric = parse_number(params, "metric", 0, 0, MAX_METRIC)
        distance = parse_number(params, "distance", RUNTIME.distance, 1, 255)
        wait = parse_word(params, "wait", "visible", WAITS)
        nexthops = resolve(core.topology, prefix, kind, parse_nexthops(params.get("nexthops")))
        before = self._runtime(prefix, metric)
        same = bool(before) and self._is_so(before[0], nexthops, distance)
        if params.get("dry_run"):
            replaces = bool(before) and not same
            return {"dry_run": True, "dst": str(prefix), "replaces": replaces, "unchanged": same}
        if same:
            result = await self._unchanged(wait)
        else:
            like = before[0].nexthop if before else None
            wanted = Wanted(prefix, RUNTIME.number, nexthops, metric, distance)
            published = await self._submit(wanted, core.nexthops.intern(nexthops, like), t0)
            result = await self.finish(published, wait)
        best = core.rib.best(prefix)
        result["selected"] = (
            best is not None and best.source == RUNTIME.number and best.metric == metric
        )
        result["replaced"] = bool(before) and not same
        result["unchanged"] = same
        return result

    async def delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """route.del: {dst, via, dev, metric, wait, dry_run}.

        With `via` or `dev`, one path of a multipath route leaves and the others keep their
        flows; the last path takes the route with it.
        """
        t0 = time.monotonic_ns()
        prefix = parse_prefix(params.get("dst"))
        wait = parse_word(params, "wait", "visible", WAITS)
        route, rest = self._victim(prefix, params)
        if params.get("dry_run"):
            return {"dry_run": True, "dst": str(prefix), "replaces": rest is not None}
        core = self.core
        old = core.forwarding.sets[route.nexthop]
        wanted = Wanted(prefix, route.source, rest or old, route.metric, route.distance)
        number = core.nexthops.intern(rest, like=route.nexthop) if rest is not None else 0
        return await self.finish(await self._submit(wanted, number, t0), wait)

    def _is_so(self, route: Route, nexthops: NexthopSet, distance: int) -> bool:
        """Whether a route is just what is asked for; not while a change waits that may be of it."""
        there = self.core.forwarding.sets.get(route.nexthop)
        plain = route.distance == distance and not route.stale
        return plain and there == nexthops and not self.core.publisher.waiting

    async def _unchanged(self, wait: str) -> dict[str, Any]:
        """The reply when nothing is to do: workers are waited for all the same."""
        publisher, watches = self.core.publisher, self.watches()
        generation = publisher.generation
        if wait == "visible":
            seen = await wait_visible(watches, generation)
        else:
            seen = count_seen([watch.look() for watch in watches], generation)
        return {
            "generation": generation,
            "update_id": publisher.update_id,
            "published_us": None,
            "visible_us": None,
            "stamps": {},
            "workers": seen.to_json(),
        }

    async def _submit(self, wanted: Wanted, number: int, t0: int) -> Published:
        return await self.core.publisher.submit(rows_of([wanted.row(number)]), 1, t0)

    async def finish(self, published: Published, wait: str) -> dict[str, Any]:
        """The reply to a change, after waiting as asked. Times in microseconds from t0."""
        stamp = self.core.reader.stamp(published.generation)
        stamps: dict[str, int] = {"t0": published.t0, "t1": published.t1}
        if stamp is not None:
            stamps |= {"t2": stamp.t2, "t3": stamp.t3}
        result: dict[str, Any] = {
            "generation": published.generation,
            "update_id": published.update_id,
            "published_us": _us(stamps.get("t3", published.t3) - published.t0),
            "visible_us": None,
            "stamps": stamps,
        }
        watches = self.watches()
        if wait == "visible":
            seen = await wait_visible(watches, published.generation)
            # Who slept counts as visible at t3 (design, Stamps).
            stamps["t4"] = max(seen.t4, stamps.get("t3", published.t3))
            result["visible_us"] = _us(stamps["t4"] - published.t0)
        else:
            seen = count_seen([watch.look() for watch in watches], published.generation)
        result["workers"] = seen.to_json()
        return result

    # -- finding what is meant

    def _runtime(self, prefix: Network, metric: int | None) -> list[Route]:
        return [
            route
            for route in self.core.rib.candidates(prefix)
            if route.source == RUNTIME.number and metric in (None, route.metric)
        ]

    def _victim(
        self, prefix: Network, params: Mapping[str, Any]
    ) -> tuple[Route, NexthopSet | None]:
        """The one runtime route that is meant, and the set it keeps; None: it goes whole."""
        metric = None
        if params.get("metric") is not None:
            metric = parse_number(params, "metric", 0, 0, MAX_METRIC)
        via = parse_address(params["via"]) if params.get("via") is not None else None
        dev = params.get("dev")
        candidates = self.core.rib.candidates(prefix)
        matches: list[tuple[Route, NexthopSet | None]] = []
        for route in candidates:
            if metric not in (None, route.metric):
                continue
            nexthops = self.core.forwarding.sets.get(route.nexthop)
            if nexthops is None:
                continue
            left = tuple(
                path
                for path in nexthops.paths
                if (via is not None and path.hop.gateway != via)
                or (dev is not None and self.core.topology.name_of(path.hop.port) != dev)
            )
            if (via is not None or dev is not None) and len(left) == len(nexthops.paths):
                continue
            rest = nexthop_set(left) if left and nexthops.kind is FibKind.FORWARD else None
            matches.append((route, rest))
        return self._one(prefix, params, candidates, matches)

    def _one(
        self,
        prefix: Network,
        params: Mapping[str, Any],
        candidates: Sequence[Route],
        matches: Sequence[tuple[Route, NexthopSet | None]],
    ) -> tuple[Route, NexthopSet | None]:
        ours = [match for match in matches if match[0].source == RUNTIME.number]
        if len(ours) == 1:
            return ours[0]
        if ours:
            metrics = ", ".join(str(route.metric) for route, _ in ours)
            raise usage(
                "E_AMBIGUOUS",
                f"{len(ours)} routes {prefix} match, with metrics {metrics}",
                "say which with `metric N`; nothing was changed",
            )
        words = [f"{name} {params[name]}" for name in ("via", "dev", "metric") if params.get(name)]
        what = " ".join([str(prefix), *words])
        if matches:
            source = source_name(matches[0][0].source)
            raise RibcageError(
                "E_SOURCE",
                f"{what} is a {source} route; only routes added at run time can be deleted",
                _remedy(source),
                Exit.NO,
            )
        there = [
            f"{self.core.forwarding.text(route.nexthop)} ({source_name(route.source)})"
            for route in candidates
        ]
        hint = (
            f"there is one {', one '.join(there)}; nothing was changed"
            if there
            else "nothing was changed"
        )
        raise RibcageError("E_NOT_FOUND", f"no route {what}", hint, Exit.NO)

    # -- showing

    def rejected(self) -> list[dict[str, Any]]:
        """Routes of sources that cannot be had now, with the reason."""
        return [{**asdict(row), "source": source_name(row.source)} for row in self.core.rejected]


def _remedy(source: str) -> str:
    if source == "static":
        return "edit the config file, then `ribcage reload`; nothing was changed"
    return "it follows the links and neighbours; nothing was changed"


def _us(nanoseconds: int) -> float:
    return round(nanoseconds / 1000, 1)

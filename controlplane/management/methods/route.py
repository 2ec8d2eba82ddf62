"""The methods about routes: list, get, add, del. Bulk loads are in load.py.

A list is one page in the order of prefixes. The pages of a list are not of one moment: routes may
change between them. Control only.
"""

from collections.abc import Awaitable
from typing import Any

from ribcage.controlplane.management.listing import MAX_PAGE, page_rows, walk_page
from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.question import Question, default_source, flow_hash
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.rib.records import Filter
from ribcage.controlplane.routes.sources.table import FORMERLY, NUMBERS, source_name
from ribcage.controlplane.values.parse import parse_address, parse_number, parse_prefix, usage
from ribcage.controlplane.values.wanted import Rejected
from ribcage.controlplane.workers.visible import count_seen
from ribcage.shared.addresses import mac_text
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import AdjacencyState, FibKind, Port


@method("route.list")
def route_list(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """One page, in the order of prefixes; `cursor` of the answer asks for the next."""
    limit = parse_number(params, "limit", MAX_PAGE, 1, MAX_PAGE)
    cursor = params.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise usage("E_CURSOR", "the cursor is not one that route.list gave")
    family = params.get("family")
    if family not in (None, 0, 4, 6):
        raise usage("E_RANGE", f"family is {family!r:.20}, allowed are 4 and 6")
    source = params.get("source")
    source = FORMERLY.get(source, source) if isinstance(source, str) else source
    if source is not None and source not in NUMBERS:
        raise usage("E_TYPE", f"no source {source!r:.20}; there are {', '.join(NUMBERS)}")
    within = params.get("prefix")
    wanted = Filter(
        family=int(family or 0),
        source=NUMBERS[source] if source is not None else 0,
        within=parse_prefix(within) if within is not None else None,
    )
    routes, count, following = walk_page(router.core, cursor, limit, wanted)
    seen = count_seen(
        (watch.look() for watch in router.workers.watches()),
        router.core.publisher.generation,
    )
    workers = seen.to_json()
    rows = page_rows(router.core, routes, count, workers)
    if cursor is None and within is None and source in (None, "static"):
        rows += [_rejected(row) for row in router.core.rejected]
    return {"routes": rows, "cursor": following}


@method("route.get")
def route_get(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """What the FIB answers, as a worker would pick it for a flow from `source`."""
    dst = parse_address(params.get("dst"))
    core = router.core
    match = core.reader.match(dst)
    if match is None:
        raise RibcageError(
            "E_NO_ROUTE",
            f"no route to {dst}",
            "`ribcage route show` lists what there is",
            Exit.NO,
        )
    text = params.get("source")
    source = parse_address(text) if text is not None else default_source(core.topology, None, dst)
    question = Question(dst, source)
    flow = flow_hash(router.instance_id, question)
    answer = core.reader.lookup(dst, flow)
    group = core.reader.group(match.group)
    paths = list(dict.fromkeys(group.buckets)) if group is not None else []
    generation = core.reader.generation
    best = core.entries.meant(dst, match.prefix)
    port = core.topology.ports.get(answer.port)
    forwards = answer.kind in (FibKind.FORWARD, FibKind.GLEAN)
    resolved = answer.state is AdjacencyState.RESOLVED
    return {
        "dst": str(dst),
        "prefix": str(match.prefix),
        "route": str(best.prefix) if best is not None else None,
        "type": answer.kind.label,
        "gateway": str(answer.nexthop) if forwards and answer.nexthop else None,
        "dev": core.topology.name_of(answer.port) if forwards else None,
        "source": _own(port, dst.version) if forwards else None,
        "protocol": source_name(best.source) if best is not None else None,
        "neighbour": mac_text(answer.target_mac) if resolved else None,
        "generation": generation,
        "ecmp": {
            "index": paths.index(answer.adjacency) if answer.adjacency in paths else 0,
            "of": max(1, len(paths)),
        },
        "hash": flow,
        "workers": [
            {
                "worker": look.worker,
                "generation": look.generation,
                "same": look.uses(generation),
            }
            for look in (watch.look() for watch in router.workers.watches())
            if look.alive
        ],
    }


@method("route.add", Role.OPERATOR)
def route_add(router: RouterView, call: Call, params: dict[str, Any]) -> Awaitable[dict[str, Any]]:
    return router.requests.add(params)


@method("route.del", Role.OPERATOR)
def route_del(router: RouterView, call: Call, params: dict[str, Any]) -> Awaitable[dict[str, Any]]:
    return router.requests.delete(params)


def _rejected(row: Rejected) -> dict[str, Any]:
    return {
        "dst": row.prefix,
        "protocol": source_name(row.source),
        "selected": False,
        "in_fib": False,
        "rejected": row.reason,
        "code": row.code,
    }


def _own(port: Port | None, version: int) -> str | None:
    """The port's own address of a family: what an ICMP error would come from."""
    if port is None:
        return None
    own = (a for a in port.addresses if a.version == version and not a.is_link_local)
    return next((str(address.ip) for address in own), None)

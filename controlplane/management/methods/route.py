"""The methods about routes: list, get, bulk loads; add and del are in routes.py.

    methods = RouteMethods(control, routes, loads)

A list is one page in the order of prefixes; what takes long is sliced or awaited, so a short
command of another client never waits for it. The pages of a list are not of one moment: routes may
change between them. Control only.
"""

from typing import Any

from ribcage.controlplane.management import explain as explaining
from ribcage.controlplane.management.listing import MAX_PAGE, page_rows, walk_page
from ribcage.controlplane.management.methods.system import Control
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.rib.records import Filter
from ribcage.controlplane.routes.loads import Loads
from ribcage.controlplane.routes.routes import Routes
from ribcage.controlplane.routes.sources import FORMERLY, SOURCE_NAMES, SOURCE_NUMBERS
from ribcage.controlplane.values.parse import parse_address, parse_number, parse_prefix, usage
from ribcage.controlplane.values.topology import Port
from ribcage.controlplane.workers.visible import count_seen
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import FibKind


class RouteMethods:
    """See the module's text."""

    def __init__(self, control: Control, routes: Routes, loads: Loads) -> None:
        self.control = control
        self.core = control.core
        self.routes = routes
        self.loads = loads

    def route_list(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
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
        if source is not None and source not in SOURCE_NUMBERS:
            raise usage(
                "E_TYPE", f"no source {source!r:.20}; there are {', '.join(SOURCE_NUMBERS)}"
            )
        within = params.get("prefix")
        wanted = Filter(
            family=int(family or 0),
            source=SOURCE_NUMBERS[source] if source is not None else 0,
            within=str(parse_prefix(within)) if within is not None else None,
        )
        routes, count, following = walk_page(self.core, cursor, limit, wanted)
        seen = count_seen(
            (watch.look() for watch in self.control.workers.watches()),
            self.core.publisher.generation,
        )
        workers = {"seen": seen.seen, "of": seen.of}
        rows = page_rows(self.core, routes, count, workers)
        if cursor is None and within is None and source in (None, "static"):
            rows += [self._rejected(row) for row in self.core.rejections.all()]
        return {"routes": rows, "cursor": following}

    def _rejected(self, row: Any) -> dict[str, Any]:
        return {
            "dst": row.prefix,
            "protocol": SOURCE_NAMES.get(row.source, str(row.source)),
            "selected": False,
            "in_fib": False,
            "rejected": row.reason,
            "code": row.code,
        }

    def route_get(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """What the FIB answers, as a worker would pick it for a flow from `source`."""
        dst = parse_address(params.get("dst"))
        core = self.core
        match = core.reader.match(dst.packed)
        if match is None:
            raise RibcageError(
                "E_NO_ROUTE",
                f"no route to {dst}",
                "`ribcage route show` lists what there is",
                Exit.NO,
            )
        text = params.get("source")
        source = (
            parse_address(text)
            if text is not None
            else explaining.default_source(core.topology, None, dst)
        )
        question = explaining.Question(dst, source)
        flow = explaining.flow_hash(self.control.instance_id, question)
        answer = core.reader.lookup(dst.packed, flow)
        group = core.reader.group(match.group)
        paths = list(dict.fromkeys(group.buckets)) if group is not None else []
        generation = core.reader.generation
        best = core.reconciler.meant(str(dst), match.prefix)
        port = core.topology.ports.get(answer.port)
        forwards = answer.kind in (FibKind.FORWARD, FibKind.GLEAN)
        return {
            "dst": str(dst),
            "prefix": match.prefix,
            "route": best.prefix if best is not None else None,
            "type": answer.kind.label,
            "gateway": answer.nexthop if forwards else None,
            "dev": core.topology.name_of(answer.port) if forwards else None,
            "source": _own(port, dst.version) if forwards else None,
            "protocol": SOURCE_NAMES.get(best.source) if best is not None else None,
            "neighbour": answer.target_mac if answer.state == 1 else None,
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
                    "same": look.generation >= generation or look.asleep,
                }
                for look in (watch.look() for watch in self.control.workers.watches())
                if look.alive
            ],
        }

    def load_begin(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        load = self.loads.begin(params)
        number = load.number
        call.on_close(lambda: self._forget_load(number))
        return {"id": number}

    def _forget_load(self, number: int) -> None:
        self.loads.abort(number)

    def load_abort(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        return {"aborted": self.loads.abort(params.get("id"))}


def _own(port: Port | None, version: int) -> str | None:
    """The port's own address of a family: what an ICMP error would come from."""
    if port is None:
        return None
    own = (a for a in port.addresses if a.version == version and not a.is_link_local)
    return next((str(address.ip) for address in own), None)

"""Every method of the management socket, each a few lines over the core.

    methods = Handlers(control).methods()        # name -> Method, for ManagementServer

A handler checks its params (a wrong one is a named error), asks the core, returns JSON values.
What takes long is sliced or awaited, so a short command of another client never waits for it.
`Control` is what a handler needs of the process; see control.py.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ribcage.controlplane import explain as explaining
from ribcage.controlplane import proc
from ribcage.controlplane.core import Core
from ribcage.controlplane.loads import Loads
from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.server import Call, Method
from ribcage.controlplane.parse import (
    parse_address,
    parse_number,
    parse_prefix,
    parse_word,
    usage,
)
from ribcage.controlplane.rib.records import Filter
from ribcage.controlplane.routes import Routes
from ribcage.controlplane.sources import SOURCE_NAMES, SOURCE_NUMBERS
from ribcage.controlplane.stats import drops_report, stats_report
from ribcage.controlplane.topology import Port
from ribcage.controlplane.verify import verify
from ribcage.controlplane.visible import judge
from ribcage.controlplane.workers import Workers
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.events import EventQueue
from ribcage.shared.fib_records import FibKind
from ribcage.shared.names import Names
from ribcage.shared.plan import Plan, PlanError

MAX_PAGE = 500
MAX_SAMPLES = 10_000_000
FAULTS = ("fib-write", "abort", "exit42", "segv", "hang")


class Control(Protocol):
    """What handlers need of the process."""

    core: Core
    names: Names
    instance_id: int
    workers: Workers
    queue: EventQueue | None

    @property
    def plan(self) -> Plan: ...
    def say(self, message: dict[str, Any]) -> None: ...
    def ask(self, message: dict[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def facts(self) -> dict[str, Any]: ...


class Handlers:
    """See the module's text."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.core = control.core
        self.routes = Routes(control.core, control.workers.watches)
        self.loads = Loads(control.core, self.routes.finish)

    def methods(self) -> dict[str, Method]:
        view, change, rule = Role.VIEWER, Role.OPERATOR, Role.ADMIN
        table: dict[str, tuple[Callable[[Call, dict[str, Any]], Any], Role]] = {
            "system.version": (self.version, view),
            "system.ping": (lambda call, params: {}, view),
            "system.stop": (self.stop, rule),
            "system.reload": (self.reload, rule),
            "process.list": (self.process_list, view),
            "route.list": (self.route_list, view),
            "route.get": (self.route_get, view),
            "route.add": (lambda call, params: self.routes.add(params), change),
            "route.del": (lambda call, params: self.routes.delete(params), change),
            "route.load.begin": (self.load_begin, change),
            "route.load.chunk": (lambda call, params: {"rows": self.loads.chunk(params)}, change),
            "route.load.commit": (lambda call, params: self.loads.commit(params), change),
            "route.load.abort": (self.load_abort, change),
            "explain": (self.explain, view),
            "fib.show": (self.fib_show, view),
            "fib.verify": (self.fib_verify, view),
            "stats.show": (self.stats_show, view),
            "drops.show": (self.drops_show, view),
            "neighbour.list": (self.neighbour_list, view),
            "ipc.show": (self.ipc_show, view),
            "fault.inject": (self.fault_inject, rule),
        }
        return {name: Method(handler, role) for name, (handler, role) in table.items()}

    # -- system

    def version(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": self.control.names.instance,
            "pid": os.getpid(),
            "generation": self.core.publisher.generation,
            "teach": self.control.plan.teach,
            "config": self.control.plan.config_path,
            **self.control.facts(),
        }

    def stop(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """The supervisor stops everybody in order; the reply leaves first."""
        asyncio.get_running_loop().call_later(
            0.02, lambda: self.control.say({"type": "stop-request"})
        )
        return {"stopping": True}

    def reload(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """Checks the plan; the supervisor takes it and hands it to everybody, us included."""
        try:
            plan = Plan.from_json(params.get("plan") or {})
        except PlanError as error:
            raise RibcageError(
                "E_PLAN", str(error), "`ribcage config check FILE` says where", Exit.CONFIG
            ) from error
        self.control.say({"type": "reload-request", "plan": plan.to_json()})
        return {"accepted": True, "routes": len(plan.routes), "interfaces": len(plan.interfaces)}

    async def process_list(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        answer = await self.control.ask({"type": "ps-request"})
        rows = answer.get("processes")
        instance = self.control.names.instance
        return {
            "processes": [
                proc.join(row, instance)
                for row in (rows if isinstance(rows, list) else [])
                if isinstance(row, dict)
            ]
        }

    async def fault_inject(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """Only with --teach: makes one worker do something wrong."""
        if not self.control.plan.teach:
            raise RibcageError(
                "E_TEACH", "faults are for routers started with --teach", None, Exit.NO
            )
        worker = parse_number(params, "worker", 0, 0, 1023)
        kind = parse_word(params, "kind", "fib-write", FAULTS)
        answer = await self.control.ask({"type": "fault-request", "worker": worker, "kind": kind})
        if answer.get("error"):
            raise RibcageError("E_FAULT", str(answer["error"])[:200], None, Exit.NO)
        return {"worker": worker, "kind": kind}

    # -- routes

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
        routes, following = self.core.rib.walk(cursor, limit, wanted)
        seen = judge(
            (watch.look() for watch in self.control.workers.watches()),
            self.core.publisher.generation,
        )
        workers = {"seen": seen.seen, "of": seen.of}
        rows = [self.routes.show(route, workers) for route in routes]
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
        best = core.rib.best(match.prefix)
        port = core.topology.ports.get(answer.port)
        forwards = answer.kind in (FibKind.FORWARD, FibKind.GLEAN)
        return {
            "dst": str(dst),
            "prefix": match.prefix,
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

    # -- looking

    def explain(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        core = self.core
        dst = parse_address(params.get("dst"))
        port: Port | None = None
        if params.get("in") is not None:
            port = core.topology.by_name(str(params["in"])[:32])
            if port is None:
                names = ", ".join(sorted(p.name for p in core.topology.ports.values())) or "none"
                raise usage("E_INTERFACE", f"no port {params['in']!r:.40}", f"ports: {names}")
        text = params.get("source")
        source = (
            parse_address(text)
            if text is not None
            else explaining.default_source(core.topology, port, dst)
        )
        if source.version != dst.version:
            raise usage("E_ADDRESS", f"{source} and {dst} are of different families")
        df = params.get("df")
        question = explaining.Question(
            dst,
            source,
            port,
            parse_number(params, "ttl", 64, 0, 255),
            parse_number(params, "length", 84, explaining.MIN_LENGTH[dst.version], 65_000),
            True if df is None else bool(df),
        )
        view = explaining.View(core.reader, core.topology, self.control.instance_id, self._origin)
        return explaining.explain(view, question)

    def _origin(self, prefix: str) -> str:
        best = self.core.rib.best(prefix)
        return f" ({SOURCE_NAMES.get(best.source, '?')})" if best is not None else ""

    def fib_show(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        writer, counts = self.core.fib.writer, self.core.rib.counts()
        counters = self.core.publisher.counters
        return {
            "geometry": writer.geometry(),
            "published": writer.published(),
            "memory": writer.memory(),
            "strategy": self.control.plan.fib.sync,
            "engines": {
                "ipv4": self.control.plan.fib.lookup4,
                "ipv6": self.control.plan.fib.lookup6,
            },
            "segment": self.control.names.fib,
            "rib": {
                "rows": counts.rows,
                "max_rows": counts.max_rows,
                "segment_bytes": counts.segment_bytes,
                "private_bytes": counts.private_bytes,
                "nexthops": counts.nexthops,
            },
            "publisher": {
                "publishes": counters.publishes,
                "rows": counters.rows,
                "changes": counters.changes,
                "refused": counters.refused,
                "bells": counters.bells,
                "publish_ns": counters.publish_ns,
            },
        }

    async def fib_verify(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        samples = parse_number(params, "samples", 100_000, 0, MAX_SAMPLES)
        seed = parse_number(params, "seed", 7, 0, (1 << 63) - 1)
        report = await verify(self.core, samples, seed)
        generation = report["generation"]
        looks = [watch.look() for watch in self.control.workers.watches()]
        report["workers"] = [
            {
                "worker": look.worker,
                "generation": look.generation,
                "same": look.generation >= generation or look.asleep,
            }
            for look in looks
            if look.alive
        ]
        return report

    def stats_show(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        return stats_report(self.control.workers, self.core.topology)

    def drops_show(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        return drops_report(self.control.workers, self.core.topology)

    def neighbour_list(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        core = self.core
        now = time.monotonic_ns()
        rows = [
            {
                "address": str(hop.gateway),
                "dev": core.topology.name_of(hop.port),
                "mac": known.mac.hex(":") if known.mac is not None else None,
                "state": known.state,
                "route": hop in core.hosts,
                "seconds": round((now - known.since_ns) / 1e9, 3) if known.since_ns else None,
            }
            for hop, known in core.neighbours.items()
        ]
        rows.sort(key=lambda row: (str(row["dev"]), str(row["address"])))
        limit = parse_number(params, "limit", 4096, 1, 65536)
        return {"neighbours": rows[:limit], "total": len(rows), "max": core.plan.neighbours.max}

    def ipc_show(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        control = self.control
        names = control.names
        queue: dict[str, Any] | None = None
        if control.queue is not None:
            limits, counters = control.queue.limits(), control.queue.counters
            queue = {
                "key": f"{control.queue.key:#x}",
                "bytes": limits.queue_bytes,
                "message_max": limits.message_max,
                "queued": limits.queued,
                "queued_bytes": limits.queued_bytes,
                "received": counters.received,
                "refused": counters.refused,
                "lost": counters.lost,
                "high_water": counters.high_water,
            }
        counts = self.core.rib.counts()
        return {
            "segments": [
                {"name": names.fib, "bytes": self.core.fib.writer.mapped.size, "kind": "fib"},
                {"name": names.rib, "bytes": counts.segment_bytes, "kind": "rib"},
                *(
                    {"name": names.stats(watch.index), "kind": "stats", "worker": watch.index}
                    for watch in control.workers.watches()
                ),
            ],
            "semaphore": {
                "name": names.writer_semaphore,
                "inherited": self.core.fib.writer.guard.inherited,
            },
            "lock": {"path": str(names.control_lock), "pid": os.getpid()},
            "queue": queue,
            "bells": {"lost": control.workers.lost_bells},
            **control.facts(),
        }


def _own(port: Port | None, version: int) -> str | None:
    """The port's own address of a family: what an ICMP error would come from."""
    if port is None:
        return None
    own = (a for a in port.addresses if a.version == version and not a.is_link_local)
    return next((str(address.ip) for address in own), None)

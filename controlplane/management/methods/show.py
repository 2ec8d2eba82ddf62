"""The methods that look: explain, the FIB, counters, drops, neighbours, IPC objects.

    methods = ShowMethods(control)

They change nothing. `fib.verify` walks both tables in slices, so others are served meanwhile. The
numbers of different processes are not of one moment. Control only.
"""

import os
import time
from typing import Any

from ribcage.controlplane.fib.verify import verify
from ribcage.controlplane.management import explain as explaining
from ribcage.controlplane.management.methods.system import Control
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.routes.sources import SOURCE_NAMES
from ribcage.controlplane.values.parse import parse_address, parse_number, usage
from ribcage.controlplane.workers.stats import drops_report, stats_report
from ribcage.shared.addresses import Address, Network, mac_text
from ribcage.shared.memory.fib_engines import engine_name
from ribcage.shared.memory.fib_records import Port

MAX_SAMPLES = 10_000_000


class ShowMethods:
    """See the module's text."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.core = control.core

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
        view = explaining.View(
            core.reader,
            core.topology,
            self.control.instance_id,
            lambda prefix: self._origin(prefix, dst),
        )
        return explaining.explain(view, question)

    def _origin(self, prefix: Network, dst: Address) -> str:
        """What stands behind the FIB's prefix: the source, and the route if that is another."""
        best = self.core.reconciler.meant(dst, prefix)
        if best is None:
            return ""
        source = SOURCE_NAMES.get(best.source, "?")
        return f" ({source})" if best.prefix == prefix else f" (for {best.prefix}, {source})"

    def fib_show(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        writer, counts = self.core.fib.writer, self.core.rib.counts()
        counters = self.core.publisher.counters
        geometry = writer.geometry()
        return {
            "geometry": geometry,
            "published": writer.published(),
            "memory": writer.memory(),
            "strategy": self.core.reader.strategy,
            "sync": writer.sync_words(),
            "engines": {
                f"ipv{family}": engine_name(geometry[f"engine{family}"], family)
                for family in (4, 6)
            },
            "segment": self.control.names.fib,
            "aggregation": self.core.reconciler.report(),
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
                "mac": mac_text(known.mac) if known.mac is not None else None,
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

"""The methods about the forwarding table: what it is, and whether it is right.

They change nothing. `fib.verify` walks both tables in slices, so others are served meanwhile.
Control only.
"""

from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.values.parse import parse_number
from ribcage.shared.memory.fib_engines import engine_name

MAX_SAMPLES = 10_000_000


@method("fib.show")
def fib_show(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    writer, counts = router.core.fib.writer, router.core.rib.counts()
    counters = router.core.publisher.counters
    geometry = writer.geometry()
    return {
        "geometry": geometry,
        "published": writer.published(),
        "memory": writer.memory(),
        "strategy": router.core.reader.strategy,
        "sync": writer.sync_words(),
        "engines": {
            f"ipv{family}": engine_name(geometry[f"engine{family}"], family) for family in (4, 6)
        },
        "segment": router.names.fib,
        "aggregation": router.core.entries.report(),
        "healing": router.facts()["healing"],
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


@method("fib.verify")
async def fib_verify(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    samples = parse_number(params, "samples", 100_000, 0, MAX_SAMPLES)
    seed = parse_number(params, "seed", 7, 0, (1 << 63) - 1)
    core = router.core
    report = await core.verify(samples, seed)
    generation = report["generation"]
    looks = [watch.look() for watch in router.workers.watches()]
    report["workers"] = [
        {
            "worker": look.worker,
            "generation": look.generation,
            "same": look.uses(generation),
        }
        for look in looks
        if look.alive
    ]
    return report

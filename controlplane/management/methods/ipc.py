"""The method about IPC objects: segments, semaphore, lock, queue, bells. Control only."""

import os
from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.shared.process.events import EventQueue


@method("ipc.show")
def ipc_show(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    names = router.names
    counts = router.core.rib.counts()
    return {
        "segments": [
            {"name": names.fib, "bytes": router.core.fib.writer.mapped.size, "kind": "fib"},
            {"name": names.rib, "bytes": counts.segment_bytes, "kind": "rib"},
            *(
                {"name": names.stats(watch.index), "kind": "stats", "worker": watch.index}
                for watch in router.workers.watches()
            ),
        ],
        "semaphore": {
            "name": names.writer_semaphore,
            "inherited": router.core.fib.writer.guard.inherited,
        },
        "lock": {"path": str(names.control_lock), "pid": os.getpid()},
        "queue": _queue(router.events.queue),
        "bells": {"lost": router.workers.lost_bells},
        **router.facts(),
    }


def _queue(queue: EventQueue | None) -> dict[str, Any] | None:
    if queue is None:
        return None
    limits, counters = queue.limits(), queue.counters
    return {
        "key": f"{queue.key:#x}",
        "bytes": limits.queue_bytes,
        "message_max": limits.message_max,
        "queued": limits.queued,
        "queued_bytes": limits.queued_bytes,
        "received": counters.received,
        "refused": counters.refused,
        "lost": counters.lost,
        "high_water": counters.high_water,
    }

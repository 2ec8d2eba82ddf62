"""The method about neighbours: who is on the links, as the kernel last said. Control only."""

import time
from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.values.parse import parse_number
from ribcage.shared.addresses import mac_text


@method("neighbour.list")
def neighbour_list(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    core = router.core
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

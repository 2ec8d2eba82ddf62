"""The methods about the workers' counters, each worker's read at a moment of its own.

Control only.
"""

from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.workers.stats import drops_report, stats_report


@method("stats.show")
def stats_show(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return stats_report(router.workers, router.core.topology)


@method("drops.show")
def drops_show(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return drops_report(router.workers, router.core.topology)

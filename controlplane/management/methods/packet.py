"""`explain`: what would happen to one packet. Changes nothing. Control only."""

from typing import Any

from ribcage.controlplane.management import explain as asking
from ribcage.controlplane.management.decision import View
from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.question import question_of
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.routes.sources.table import source_name
from ribcage.shared.addresses import Address, Network


@method("explain")
def explain(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    core = router.core
    view = View(
        core.reader,
        core.topology,
        router.instance_id,
        lambda prefix, dst: _origin(router, prefix, dst),
        core.plan.rings.slot_bytes,
    )
    return asking.explain(view, question_of(params, core.topology))


def _origin(router: RouterView, prefix: Network, dst: Address) -> str:
    """What stands behind the FIB's prefix: the source, and the route if that is another."""
    best = router.core.entries.meant(dst, prefix)
    if best is None:
        return ""
    source = source_name(best.source)
    return f" ({source})" if best.prefix == prefix else f" (for {best.prefix}, {source})"

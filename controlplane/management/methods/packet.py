"""`explain`: what would happen to one packet. Changes nothing. Control only."""

from typing import Any

from ribcage.controlplane.management import explain as explaining
from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.routes.sources.table import source_name
from ribcage.controlplane.values.parse import parse_address, parse_number, usage
from ribcage.shared.addresses import Address, Network
from ribcage.shared.memory.fib_records import Port


@method("explain")
def explain(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    core = router.core
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
        router.instance_id,
        lambda prefix: _origin(router, prefix, dst),
    )
    return explaining.explain(view, question)


def _origin(router: RouterView, prefix: Network, dst: Address) -> str:
    """What stands behind the FIB's prefix: the source, and the route if that is another."""
    best = router.core.entries.meant(dst, prefix)
    if best is None:
        return ""
    source = source_name(best.source)
    return f" ({source})" if best.prefix == prefix else f" (for {best.prefix}, {source})"

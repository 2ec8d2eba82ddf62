"""Parses what a request or a plan says about a route into values, or a named error. Pure.

    network = parse_prefix("203.0.113.0/24")
    hops    = resolve(topology, "forward", [NexthopPlan(via="10.0.2.9")])

Every error names what was read, what is allowed and what to type instead:
E_PREFIX, E_HOST_BITS, E_ADDRESS, E_NEXTHOP, E_NEXTHOPS, E_WEIGHT, E_TYPE, E_INTERFACE,
E_RANGE (exit 2: type it again).
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from ribcage.controlplane.values.addresses import network_or_broadcast
from ribcage.controlplane.values.nexthop import (
    KINDS,
    MAX_PATHS,
    MAX_WEIGHT,
    NexthopSet,
    Path,
    glean,
    nexthop_set,
)
from ribcage.controlplane.values.topology import Topology, networks_text
from ribcage.shared.addresses import Address, Network
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import Hop, Port
from ribcage.shared.plan import NexthopPlan

TYPES = ("forward", "blackhole", "unreachable", "prohibit")
MAX_TEXT = 64  # no prefix or address is longer


def usage(code: str, message: str, hint: str | None = None) -> RibcageError:
    """An error whose remedy is to type something else."""
    return RibcageError(code, message, hint, Exit.USAGE)


def parse_prefix(text: object) -> Network:
    """`203.0.113.0/24`, `default`, `default6` or a bare address (a host route)."""
    if not isinstance(text, str) or not text or len(text) > MAX_TEXT:
        raise usage("E_PREFIX", f"not a prefix: {_shown(text)}", "write ADDRESS/LENGTH")
    words = {"default": "0.0.0.0/0", "default4": "0.0.0.0/0", "default6": "::/0"}
    plain = words.get(text, text)
    try:
        return ip_network(plain)
    except ValueError:
        pass
    try:
        corrected = ip_network(plain, strict=False)
    except ValueError:
        raise usage(
            "E_PREFIX",
            f'"{text}" is not a prefix (ADDRESS/LENGTH)',
            "for example 203.0.113.0/24 or 2001:db8::/32",
        ) from None
    raise usage(
        "E_HOST_BITS",
        f'"{text}" has host bits set below /{corrected.prefixlen}',
        f"did you mean {corrected}?",
    )


def parse_address(text: object) -> Address:
    """An address without a length and without a zone."""
    if isinstance(text, str) and len(text) <= MAX_TEXT and "%" not in text:
        try:
            return ip_address(text)
        except ValueError:
            pass
    raise usage("E_ADDRESS", f"not an address: {_shown(text)}", "for example 10.0.2.9")


def parse_number(params: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """An integer field within its range; E_RANGE names the range."""
    value = params.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise usage("E_RANGE", f"{name} is {_shown(value)}, allowed is {low} to {high}")
    return value


def parse_word(params: Mapping[str, Any], name: str, default: str, allowed: Sequence[str]) -> str:
    """A text field that is one of a few words."""
    value = params.get(name)
    if value is None:
        return default
    if value not in allowed:
        raise usage("E_TYPE", f"{name} is {_shown(value)}, allowed are {', '.join(allowed)}")
    return str(value)


def parse_nexthops(value: object) -> list[NexthopPlan]:
    """The `nexthops` of a request: a list of {via, dev, weight}, no more than MAX_PATHS."""
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise usage("E_NEXTHOPS", "nexthops is not a list")
    if len(value) > MAX_PATHS:
        raise too_many(len(value))
    found = []
    for item in value:
        if not isinstance(item, Mapping):
            raise usage("E_NEXTHOPS", f"a next hop is not an object: {_shown(item)}")
        via, dev = item.get("via"), item.get("dev")
        if not all(text is None or isinstance(text, str) for text in (via, dev)):
            raise usage("E_NEXTHOPS", f"via and dev are texts, not {_shown(item)}")
        weight = item.get("weight")
        found.append(NexthopPlan(via=via, dev=dev, weight=1 if weight is None else weight))
    return found


def too_many(count: int) -> RibcageError:
    return usage(
        "E_NEXTHOPS", f"{count} next hops, a route has at most {MAX_PATHS}", "leave some out"
    )


def resolve(
    topology: Topology, prefix: Network | None, kind: str, nexthops: Sequence[NexthopPlan]
) -> NexthopSet:
    """The next-hop set these words mean on this router now, or the named error.

    A `via` without `dev` takes the port of the longest connected network that holds it; a `dev`
    without `via` means the destinations are on that link themselves.
    """
    if kind not in TYPES:
        raise usage("E_TYPE", f"type is {_shown(kind)}, allowed are {', '.join(TYPES)}")
    if kind != "forward":
        if nexthops:
            raise usage("E_NEXTHOPS", f"a {kind} route takes no next hop, {len(nexthops)} given")
        return NexthopSet(KINDS[kind])
    if not nexthops:
        raise usage(
            "E_NEXTHOPS", "a route needs a next hop", "add `via ADDRESS`, `dev PORT` or a type"
        )
    if len(nexthops) > MAX_PATHS:
        raise too_many(len(nexthops))
    paths = [_path(topology, prefix, nexthop) for nexthop in nexthops]
    if any(path.hop.gateway is None for path in paths):
        if len(paths) > 1:
            raise usage(
                "E_NEXTHOPS",
                "a next hop without an address must be the only one",
                "give each path its own `via`",
            )
        return glean(paths[0].hop.port)
    if len({path.hop for path in paths}) != len(paths):
        raise usage("E_NEXTHOPS", "a next hop is listed twice", "give it a weight instead")
    return nexthop_set(paths)


def _path(topology: Topology, prefix: Network | None, nexthop: NexthopPlan) -> Path:
    weight = nexthop.weight
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MAX_WEIGHT:
        raise usage("E_WEIGHT", f"weight is {_shown(weight)}, allowed is 1 to {MAX_WEIGHT}")
    port = _port(topology, nexthop.dev) if nexthop.dev is not None else None
    if nexthop.via is None:
        if port is None:
            raise usage("E_NEXTHOPS", "a next hop needs `via ADDRESS` or `dev PORT`")
        return Path(Hop(port.index), weight)
    gateway = parse_address(nexthop.via)
    if prefix is not None and gateway.version != prefix.version:
        raise usage(
            "E_NEXTHOP",
            f"next hop {gateway} is IPv{gateway.version}, the prefix {prefix} is "
            f"IPv{prefix.version}",
        )
    _check_unicast(gateway)
    return Path(Hop(_egress(topology, gateway, port).index, gateway), weight)


def _port(topology: Topology, name: str) -> Port:
    port = topology.by_name(name)
    if port is not None and not port.host:
        return port
    names = ", ".join(sorted(p.name for p in topology.ports.values() if not p.host)) or "none"
    raise usage("E_INTERFACE", f'no port "{name[:32]}"', f"ports: {names}")


def _check_unicast(gateway: Address) -> None:
    if gateway.is_multicast or gateway.is_unspecified or gateway.is_loopback:
        raise usage("E_NEXTHOP", f"{gateway} cannot be a next hop: it is not one neighbour")


def _egress(topology: Topology, gateway: Address, port: Port | None) -> Port:
    owner = topology.owner(gateway)
    if owner is not None:
        raise usage("E_NEXTHOP", f"next hop {gateway} is this router itself ({owner})")
    if gateway.is_link_local and gateway.version == 6:
        if port is None:
            raise usage(
                "E_NEXTHOP",
                f"link-local next hop {gateway} needs its interface",
                f"via {gateway} dev PORT",
            )
        return port
    found = topology.egress(gateway) if port is None else port
    covering = None if found is None or found.host else found.covers(gateway)
    if found is None or covering is None:
        where = f" on {port.name}" if port is not None else ""
        raise usage(
            "E_NEXTHOP",
            f"next hop {gateway} is on no connected network{where}",
            f"connected: {networks_text(topology, gateway.version)}",
        )
    _check_host_address(gateway, covering.network)
    return found


def _check_host_address(gateway: Address, network: Network) -> None:
    """IPv4: a frame to these two would be a broadcast, or go to nobody."""
    special = network_or_broadcast(gateway, network) if gateway.version == 4 else None
    if special is not None:
        raise usage(
            "E_NEXTHOP",
            f"next hop {gateway} is the {special} of {network}, not one neighbour",
            f"neighbours there are {network[1]} to {network[-2]}",
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

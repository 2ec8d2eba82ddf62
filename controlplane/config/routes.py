"""The static routes of a file against its interfaces and one another. Pure.

As links.py: reads the raw document, says nothing about what translate.py has already told.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ribcage.controlplane.config.links import ConfigLinks, rows
from ribcage.controlplane.config.model import MAX_NEXTHOPS, MAX_ROUTES
from ribcage.controlplane.config.toml.positions import KeyPath, Positions
from ribcage.controlplane.config.toml.problems import Problem
from ribcage.controlplane.values.addresses import AddressError, read_nexthop, read_prefix
from ribcage.shared.addresses import Address, Network

DEFAULTS = {"default4": "0.0.0.0/0", "default6": "::/0"}


def name_defaults(data: dict[str, Any]) -> None:
    """`dst = "default"`, as on the command line: 0.0.0.0/0, or ::/0 where a next hop is IPv6.

    Changes `data`, before anybody reads a prefix in it.
    """
    found = data.get("route")
    for row in found if isinstance(found, list) else ():
        dst = row.get("dst") if isinstance(row, dict) else None
        if dst == "default":
            listed = row.get("nexthops")
            hops = [row, *(listed if isinstance(listed, list) else ())]
            vias = [str(hop.get("via")) for hop in hops if isinstance(hop, dict)]
            row["dst"] = DEFAULTS["default6" if any(":" in via for via in vias) else "default4"]
        elif isinstance(dst, str):
            row["dst"] = DEFAULTS.get(dst, dst)


def check_routes(
    data: Mapping[str, Any], links: ConfigLinks, positions: Positions
) -> Iterator[Problem]:
    """E104, E105, E108, E111, E112, E113, E114, E115 and W201 of all routes."""
    seen: dict[tuple[Network, object, object], KeyPath] = {}
    for index, row in rows(data, "route"):
        place: KeyPath = ("route", index)
        if index == MAX_ROUTES:
            text = f"more than {MAX_ROUTES} routes in the file"
            yield Problem("E104", text, positions.value(place), "ribcage route load FILE")
        network = _prefix(row.get("dst"))
        if network is not None:
            key = (network, _plain(row.get("metric", 0)), _plain(row.get("distance", 1)))
            if key in seen:
                yield _twice(network, row, positions, place, seen[key])
            seen.setdefault(key, (*place, "dst"))
        if row.get("type", "forward") != "forward":
            yield from _ignored(row, positions, place)
            continue
        yield from _shape(row, positions, place)
        if "via" in row or "dev" in row:
            yield from _nexthop(row, network, links, positions, place)
        yield from _group(row, network, links, positions, place)


def _twice(
    network: Network, row: Mapping[str, Any], positions: Positions, place: KeyPath, first: KeyPath
) -> Problem:
    return Problem(
        "E108",
        f"{network} metric {row.get('metric', 0)!s:.20} is defined twice",
        positions.value((*place, "dst")),
        "give one a different metric, or list both next hops in nexthops = [...] for ECMP",
        positions.value(first),
        "first defined here",
    )


def _ignored(row: Mapping[str, Any], positions: Positions, place: KeyPath) -> Iterator[Problem]:
    kind = str(row.get("type"))[:20]
    if kind not in ("blackhole", "unreachable", "prohibit"):
        return
    for key in ("via", "dev", "nexthops"):
        if key in row:
            yield Problem(
                "W201",
                f"{'an' if kind[0] == 'u' else 'a'} {kind} route has no next hop; {key} is ignored",
                positions.value((*place, key)),
                "delete this line",
            )


def _shape(row: Mapping[str, Any], positions: Positions, place: KeyPath) -> Iterator[Problem]:
    """Exactly one way to say where to."""
    hops = row.get("nexthops")
    for key in ("via", "dev"):
        if hops and key in row:
            yield Problem(
                "E115",
                f"{key} and nexthops do not go together",
                positions.value((*place, key)),
                "move it into the list: nexthops = [{ via = ... }, ...]",
                positions.key((*place, "nexthops")),
                "the list",
            )
            return
    if not hops and "via" not in row and "dev" not in row:
        yield Problem(
            "E105",
            "[[route]] needs a next hop",
            positions.value((*place, "dst") if "dst" in row else place),
            'via = "...", dev = "...", nexthops = [...] or type = "blackhole"',
        )


def _group(
    row: Mapping[str, Any],
    network: Network | None,
    links: ConfigLinks,
    positions: Positions,
    place: KeyPath,
) -> Iterator[Problem]:
    raw = row.get("nexthops")
    hops: list[Any] = raw if isinstance(raw, list) else []
    seen: dict[tuple[object, object], KeyPath] = {}
    for number, hop in enumerate(hops):
        path: KeyPath = (*place, "nexthops", number)
        if number == MAX_NEXTHOPS:
            text = f"more than {MAX_NEXTHOPS} next hops in one route"
            yield Problem("E104", text, positions.value(path))
        if not isinstance(hop, dict):
            continue
        if "via" not in hop and "dev" not in hop:
            text = "a next hop needs via or dev"
            yield Problem("E105", text, positions.value(path), '{ via = "..." }')
        if "via" not in hop and "dev" in hop and len(hops) > 1:
            text = "a next hop without via must be the only one"
            yield Problem("E115", text, positions.value(path), "give each next hop its own via")
        key = _identity(hop)
        if key in seen and key != (None, None):
            yield Problem(
                "E108",
                f"next hop {key[0] or key[1]!s:.60} is listed twice",
                positions.value(path),
                "use weight = 2 for a double share",
                positions.value(seen[key]),
                "first listed here",
            )
        seen.setdefault(key, path)
        yield from _nexthop(hop, network, links, positions, path)


def _nexthop(
    hop: Mapping[str, Any],
    network: Network | None,
    links: ConfigLinks,
    positions: Positions,
    place: KeyPath,
) -> Iterator[Problem]:
    dev, via = hop.get("dev"), _address(hop.get("via"))
    here = positions.value((*place, "via"))
    link = links.by_name.get(dev) if isinstance(dev, str) else None
    if isinstance(dev, str) and link is None and dev:
        span = positions.value((*place, "dev"))
        yield Problem("E114", f"no [[interface]] is named {dev[:40]}", span, _one_of(links))
    if via is None:
        return
    if network is not None and via.version != network.version:
        text = f"next hop {via} is IPv{via.version}, {network} is IPv{network.version}"
        yield Problem("E115", text, here, f"an IPv{network.version} address")
    elif (owner := links.owner(via)) is not None:
        text = f"next hop {via} is this router's own address on {owner}"
        yield Problem("E112", text, here, "the address of the neighbour")
    elif via.version == 6 and via.is_link_local:
        if dev is None:
            text = f'next hop {via} is link-local, so the route needs dev = "..."'
            yield Problem("E111", text, here, _one_of(links))
    elif (special := links.network_or_broadcast(via)) is not None:
        yield Problem("E112", f"next hop {via} is the {special}", here, "the address of a host")
    elif isinstance(dev, str):
        if link is not None and link.sure and not any(via in n for n in link.networks()):
            connected = ", ".join(str(n) for n in link.networks())
            text = f"next hop {via} is on no network of {dev}"
            yield Problem("E113", text, here, f"connected to {dev}: {connected}")
    elif links.sure and not links.reaches(via):
        text = f"next hop {via} is on no connected network"
        yield Problem("E113", text, here, f"connected: {links.connected()}")


def _identity(hop: Mapping[str, Any]) -> tuple[object, object]:
    """Two next hops with one identity are one neighbour; only a link-local needs its link."""
    via = _address(hop.get("via"))
    if via is None:
        return _plain(hop.get("via")), _plain(hop.get("dev"))
    return str(via), _plain(hop.get("dev")) if via.is_link_local else None


def _one_of(links: ConfigLinks) -> str:
    return f"one of: {links.names()}"


def _prefix(text: object) -> Network | None:
    try:
        return read_prefix(text) if isinstance(text, str) else None
    except AddressError:
        return None


def _address(text: object) -> Address | None:
    try:
        return read_nexthop(text) if isinstance(text, str) else None
    except AddressError:
        return None


def _plain(value: object) -> object:
    """A value that can be a key, whatever the file held."""
    return value if isinstance(value, str | int | float | None) else repr(value)[:80]

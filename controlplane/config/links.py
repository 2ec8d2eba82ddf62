"""Checks the interfaces of a file against one another: names, addresses, networks. Pure.

It works on the raw document and skips what is malformed (translate.py has told about that), so
that one bad key does not hide the others. `Links` is what the routes are then checked against.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ribcage.controlplane.config.model import MAX_INTERFACES
from ribcage.controlplane.config.toml.positions import KeyPath, Positions
from ribcage.controlplane.config.toml.problems import Problem
from ribcage.controlplane.values.addresses import AddressError, network_or_broadcast, read_interface
from ribcage.shared.addresses import Address, Interface, Network


@dataclass(slots=True)
class ConfigLink:
    """One [[interface]]; sure: every address it will have is in `addresses`."""

    name: str
    sure: bool = True
    addresses: list[Interface] = field(default_factory=list)

    def networks(self) -> list[Network]:
        return [address.network for address in self.addresses]


@dataclass(slots=True)
class ConfigLinks:
    """What next hops can be reached over."""

    by_name: dict[str, ConfigLink] = field(default_factory=dict)
    sure: bool = True  # False when an interface's addresses are not all known from the file

    def names(self) -> str:
        return ", ".join(self.by_name) or "none"

    def connected(self) -> str:
        networks = [str(n) for link in self.by_name.values() for n in link.networks()]
        return ", ".join(networks[:8]) + (", ..." if len(networks) > 8 else "") or "none"

    def owner(self, address: Address) -> str | None:
        """The interface that has address itself."""
        for link in self.by_name.values():
            if any(own.ip == address for own in link.addresses):
                return link.name
        return None

    def reaches(self, address: Address) -> bool:
        return any(address in n for link in self.by_name.values() for n in link.networks())

    def network_or_broadcast(self, address: Address) -> str | None:
        """ "broadcast address of 10.0.1.0/24" when address is one."""
        for link in self.by_name.values():
            for network in link.networks():
                if address.version == 4 and (special := network_or_broadcast(address, network)):
                    return f"{special} of {network}"
        return None


def rows(data: Mapping[str, Any], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables of a list of tables that are tables, with their indexes."""
    found = data.get(name)
    for index, row in enumerate(found if isinstance(found, list) else ()):
        if isinstance(row, dict):
            yield index, row


def check_links(data: Mapping[str, Any], positions: Positions) -> tuple[ConfigLinks, list[Problem]]:
    """E104 too many, E106 overlapping networks, E108 a name or an address twice."""
    links, problems = ConfigLinks(), list[Problem]()
    names: dict[str, KeyPath] = {}
    taken: list[tuple[Interface, str, KeyPath]] = []
    for index, row in rows(data, "interface"):
        if index == MAX_INTERFACES:
            span = positions.value(("interface", index))
            text = f"more than {MAX_INTERFACES} interfaces"
            problems.append(Problem("E104", text, span, "the FIB has 32 ports, one for the host"))
        name, path = row.get("name"), ("interface", index, "name")
        if not isinstance(name, str):
            links.sure = False
            continue
        if name in names:
            problems.append(_twice(f"interface {name}", positions, path, names[name]))
        names.setdefault(name, path)
        link = links.by_name.setdefault(name, ConfigLink(name))
        for address, place in _addresses(row, index, link):
            problems.extend(_conflicts(address, link, place, taken, positions))
            link.addresses.append(address)
            taken.append((address, name, place))
        link.sure = link.sure and bool(link.addresses)
        links.sure = links.sure and link.sure
    return links, problems


def _addresses(
    row: Mapping[str, Any], index: int, link: ConfigLink
) -> Iterator[tuple[Interface, KeyPath]]:
    """The readable addresses; an unreadable one makes the link unsure."""
    raw = row.get("address", [])
    single = isinstance(raw, str)
    for number, text in enumerate([raw] if single else raw if isinstance(raw, list) else [None]):
        place: KeyPath = ("interface", index, "address", *(() if single else (number,)))
        try:
            yield read_interface(text if isinstance(text, str) else ""), place
        except AddressError:
            link.sure = False


def _conflicts(
    address: Interface,
    link: ConfigLink,
    place: KeyPath,
    taken: list[tuple[Interface, str, KeyPath]],
    positions: Positions,
) -> Iterator[Problem]:
    for other, name, other_place in taken:
        if other.version != address.version or _is_per_link(other, name, link):
            continue  # every link has its own fe80::/64 (RFC 4291 2.5.6)
        if other.ip == address.ip:
            yield _twice(f"address {address.ip}", positions, place, other_place)
            return
        if name != link.name and other.network.overlaps(address.network):
            yield Problem(
                "E106",
                f"{address.network} on {link.name} overlaps {other.network} on {name}",
                positions.value(place),
                "two links cannot own the same network",
                positions.value(other_place),
                "first used here",
            )
            return


def _is_per_link(address: Interface, name: str, link: ConfigLink) -> bool:
    return address.version == 6 and address.is_link_local and name != link.name


def _twice(what: str, positions: Positions, path: KeyPath, first: KeyPath) -> Problem:
    return Problem(
        "E108",
        f"{what} is defined twice",
        positions.value(path),
        "delete one of the two",
        positions.value(first),
        "first defined here",
    )

"""Sets up the configured interfaces, and restores those that the plan no longer names.

    ports = Ports(journal, settings, table)
    problems = await ports.bring_up(netlink, interface)
    problems = await ports.take_down(name)

For one port: the sysctls of settings.py, MTU, the missing addresses (IPv6 without duplicate
address detection: the router is the authority for them, and a packet must not wait a second),
then up. Each change is journalled first. Addresses of others on the port are left alone.
Used by the provisioner, one call at a time; KernelSilent goes through.
"""

import errno
from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ribcage.controlplane.kernel.changes.journal import Journal, PortState
from ribcage.controlplane.kernel.changes.settings import Sysctls, port_settings, restore
from ribcage.controlplane.kernel.changes.undo import revert_addresses, revert_port
from ribcage.controlplane.kernel.events import LinkEvent
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.netlink.deadline import Netlink, in_thread, words
from ribcage.shared.addresses import Interface
from ribcage.shared.plan import InterfacePlan

IFA_F_NODAD: Final = 0x02
REVERT_TIMEOUT: Final = 3.0


def own_addresses(interface: InterfacePlan) -> list[Interface]:
    """The addresses a port shall have. ValueError for one that is none."""
    return [ip_interface(text) for text in interface.addresses]


class KernelPorts:
    """The way there and back for each port. `table` is the monitor's, read here only."""

    def __init__(
        self, journal: Journal, settings: Sysctls, table: LinkTable, log: Callable[..., None]
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._table = table
        self._log = log

    async def bring_up(
        self, netlink: Netlink, interface: InterfacePlan, again: bool = False
    ) -> list[str]:
        """Make one port as the plan says; a link that does not exist (yet) is no problem.

        `again`: the link was set up again, and only the addresses it lost meanwhile are missing.
        Its MTU and state are the operator's to change while we run.
        """
        name = interface.name
        link = self._table.by_name(name)
        if link is None:
            return []
        if again:
            return await self._addresses(netlink, link, own_addresses(interface))
        state = self._journal.ports.get(name)
        fresh = state is not None and state.ifindex != link.ifindex
        if state is None or fresh:
            state = PortState(link.ifindex)
        problems = self._settings.apply(port_settings(name), fresh)
        problems += await self._attributes(netlink, link, interface.mtu, state)
        problems += await self._addresses(netlink, link, own_addresses(interface))
        return problems

    async def take_down(self, name: str) -> list[str]:
        """Undo what was done to a port that the plan no longer names."""
        problems = await in_thread(REVERT_TIMEOUT, self._revert, name)
        chosen = {
            path: pair
            for path, pair in self._journal.settings.items()
            if path in {path for path, _ in port_settings(name)} and "/forwarding" not in path
        }
        refused = restore(chosen)
        if not refused:
            for path in chosen:
                del self._journal.settings[path]
        self._journal.write()
        return problems + refused

    def _revert(self, name: str) -> list[str]:
        with IPRoute() as route:  # the blocking one: the same code as in undo
            ours = [entry for entry in self._journal.addresses if entry[0] == name]
            problems = revert_addresses(self._journal, ours, route)
            if name in self._journal.ports:
                problems += revert_port(self._journal, name, route)
        return problems

    async def _attributes(
        self, netlink: Netlink, link: LinkEvent, mtu: int | None, state: PortState
    ) -> list[str]:
        """MTU, then up, both in the journal before. The kernel's refusal is the problem text."""
        before = state.mtu[0] if state.mtu else link.mtu
        wanted = mtu if mtu is not None else before
        state.mtu = (before, wanted) if wanted != before else None
        if not link.up:
            state.up = (False, True)
        if state.mtu or state.up:
            self._journal.ports[link.name] = state
            self._journal.write()
        problems = []
        if wanted != link.mtu:
            try:
                await netlink.link("set", index=link.ifindex, mtu=wanted)
            except NetlinkError as error:
                problems.append(f"{link.name}: mtu {wanted}: {words(error)}")
        if not link.up:
            try:
                await netlink.link("set", index=link.ifindex, state="up")
            except NetlinkError as error:
                problems.append(f"{link.name}: up: {words(error)}")
        return problems

    async def _addresses(
        self, netlink: Netlink, link: LinkEvent, wanted: Sequence[Interface]
    ) -> list[str]:
        problems = []
        ours = {own for name, own in self._journal.addresses if name == link.name}
        if dropped := [(link.name, own) for own in ours - set(wanted)]:
            problems += await in_thread(REVERT_TIMEOUT, self._drop, dropped)
        present = {
            event.own for event in self._table.addresses.values() if event.ifindex == link.ifindex
        }
        for own in wanted:
            if own in present:
                continue
            entry = (link.name, own)
            new = entry not in self._journal.addresses
            if new:
                self._journal.addresses.add(entry)
                self._journal.write()
            fields: dict[str, Any] = {"address": str(own.ip), "prefixlen": own.network.prefixlen}
            if own.version == 6:
                fields["flags"] = IFA_F_NODAD
            try:
                await netlink.addr("add", index=link.ifindex, **fields)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    problems.append(f"{link.name}: address {own}: {words(error)}")
                if new:
                    self._journal.addresses.discard(entry)
        return problems

    def _drop(self, dropped: list[tuple[str, Interface]]) -> list[str]:
        with IPRoute() as route:
            problems = revert_addresses(self._journal, dropped, route)
        self._journal.write()
        return problems

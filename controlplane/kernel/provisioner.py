"""Sets up the ports, the host port and the transit filter as the plan wants, and repairs them.

    provisioner = Provisioner(instance, links, journal, settings, log)
    problems = await provisioner.make_host_port()    # at start
    problems, dropped = await provisioner.configure(interfaces, router_id)
    provisioner.run()                                # from here on repairs by itself
    provisioner.link_changed(event);  provisioner.look()  # what the kernel told: a pass follows
    problems = await provisioner.close()

A pass brings up what came back, remakes the host port that somebody deleted and adapts the
filter; one pass at a time. Each of its waits on the kernel has a deadline (deadline.py); a pass
that met one is given up, reported and repeated after SILENCE_PAUSE. Control's loop alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from ribcage.controlplane.kernel.changes import filter as transit
from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.settings import Sysctls
from ribcage.controlplane.kernel.events import LinkEvent
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.netlink.deadline import KernelSilent, Netlink, ended
from ribcage.controlplane.kernel.ports import KernelPorts, own_addresses
from ribcage.controlplane.kernel.rchost import HostPair
from ribcage.shared.addresses import Address
from ribcage.shared.plan import InterfacePlan

DEFAULT_MTU: Final = 1500
SILENCE_PAUSE: Final = 1.0
# The supervisor gives control 5 s to stop: these two and kernel.py's UNDO_TIMEOUT fit into it.
PASS_TIMEOUT: Final = 1.0
CANCEL_TIMEOUT: Final = 0.5


class Provisioner:
    """See the module. `wanted` holds the configured interfaces by name."""

    def __init__(
        self,
        instance: str,
        links: LinkTable,
        journal: Journal,
        settings: Sysctls,
        log: Callable[..., None],
    ) -> None:
        """Touches nothing yet."""
        self.wanted: dict[str, InterfacePlan] = {}
        self.pair = HostPair(instance, journal, log)
        self._journal = journal
        self._ports = KernelPorts(journal, settings, links, log)
        self._table = transit.table_name(instance)
        self._links = links
        self._log = log
        self._router_id: str | None = None
        self._made: dict[str, int] = {}  # port -> ifindex that was brought up
        self._down: set[int] = set()  # ports that are administratively down now
        self._returned: set[str] = set()  # ports to bring up (again)
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()  # one change of the kernel at a time
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._filtered: tuple[str, ...] | None = None

    # -- asked for

    async def make_host_port(self) -> list[str]:
        """Adopt or make the pair. Its filter comes with that of the ports, by `configure`: nft
        takes a grace period of the kernel, and a predecessor's filter has the ports in it."""
        async with self._busy:
            try:
                async with Netlink() as netlink:
                    return await self.pair.ensure(netlink, DEFAULT_MTU)
            except KernelSilent as silent:
                return [self._again(silent)]

    async def configure(
        self, interfaces: Sequence[InterfacePlan], router_id: str | None
    ) -> tuple[list[str], list[str]]:
        """Problems, and the names of the ports that the plan no longer has."""
        self._router_id = router_id
        problems: list[str] = []
        names = {interface.name for interface in interfaces}
        async with self._busy:
            touched = self._journal.ports.keys() | {name for name, _ in self._journal.addresses}
            dropped = [*self.wanted, *(name for name in touched if name not in self.wanted)]
            dropped = [name for name in dropped if name not in names]
            self.wanted = {interface.name: interface for interface in interfaces}
            try:
                for name in dropped:
                    self._made.pop(name, None)
                    problems += await self._ports.take_down(name)
                async with Netlink() as netlink:
                    for interface in interfaces:
                        problems += await self._bring_up(netlink, interface, again=False)
                    problems += await self._host_side(netlink)
            except KernelSilent as silent:
                self._returned |= names
                problems.append(self._again(silent))
            problems += await self._apply_filter()
        return problems, dropped

    # -- told

    def look(self) -> None:
        """Something that a pass looks at has changed."""
        self._wake.set()

    def link_changed(self, event: LinkEvent) -> None:
        """A link of the namespace appeared, changed or went."""
        if event.gone:
            self._down.discard(event.ifindex)
            port = self.pair.port
            if port is not None and event.ifindex in (port.ifindex, port.kernel_ifindex):
                self.pair.port = None  # somebody deleted it: made again by the next pass
                self._wake.set()
            return
        if event.name not in self.wanted:
            return
        was_down = event.ifindex in self._down
        (self._down.discard if event.up else self._down.add)(event.ifindex)
        if self._made.get(event.name) != event.ifindex or (was_down and event.up):
            self._returned.add(event.name)
            self._wake.set()

    # -- repairing

    def run(self) -> None:
        """Passes by itself from now on."""
        self._task = asyncio.create_task(self._keep(), name="kernel-ports")

    async def close(self) -> list[str]:
        """No pass starts any more, and the one under way has ended. Returns problems.

        A pass is not cancelled while it keeps its deadlines: it would leave nft running, which
        could put the filter back after undo had removed it.
        """
        self._closing = True
        if self._task is None:
            return []
        self._wake.set()
        task, self._task = self._task, None
        if await ended(task, PASS_TIMEOUT):
            return []
        task.cancel()
        await ended(task, CANCEL_TIMEOUT)
        return [f"ports: a repair was given up after {PASS_TIMEOUT:g} s"]

    async def _keep(self) -> None:
        while True:
            await self._wake.wait()
            if self._closing:
                return
            self._wake.clear()
            for problem in await self._pass():
                self._log("warning", "kernel.port", why=problem)

    async def _pass(self) -> list[str]:
        problems = []
        async with self._busy:
            names, self._returned = self._returned, set()
            try:
                async with Netlink() as netlink:
                    for name in sorted(names & self.wanted.keys()):
                        problems += await self._bring_up(netlink, self.wanted[name], again=True)
                    problems += await self._host_side(netlink)
                problems += await self._apply_filter()
            except KernelSilent as silent:
                self._returned |= names
                problems.append(self._again(silent))
            except Exception as error:  # the task must outlive one failed pass
                problems.append(f"{type(error).__name__}: {error}")
        return problems

    def _again(self, silent: KernelSilent) -> str:
        """The pass is given up; another one follows."""
        asyncio.get_running_loop().call_later(SILENCE_PAUSE, self._wake.set)
        return str(silent)

    # -- steps of a pass

    async def _bring_up(self, netlink: Netlink, interface: InterfacePlan, again: bool) -> list[str]:
        """`again` only repairs, unless the port is another one than was brought up before."""
        link = self._links.by_name(interface.name)
        if link is None:
            return []
        known = self._made.get(interface.name) == link.ifindex
        try:
            problems = await self._ports.bring_up(netlink, interface, again and known)
        except OSError as error:  # the journal could not be written
            return [f"{interface.name}: {self._journal.path}: {error.strerror}"]
        self._made[interface.name] = link.ifindex
        return problems

    async def _host_side(self, netlink: Netlink) -> list[str]:
        """MTU and source addresses of the host port, from the ports that exist now."""
        mtus = [link.mtu for name in self.wanted if (link := self._links.by_name(name))]
        mtu = max(mtus, default=DEFAULT_MTU)
        if self.pair.port is None:
            problems = await self.pair.ensure(netlink, mtu)
        else:
            problems = await self.pair.set_mtu(netlink, mtu)
        return problems + await self.pair.set_sources(netlink, self._sources())

    def _sources(self) -> dict[int, Address | None]:
        """Per family: the router id if it is an own address, else the first configured one."""
        own = {event.own.ip for event in self._links.addresses.values()}
        found: dict[int, Address | None] = {4: None, 6: None}
        listed: list[Address] = [ip_address(self._router_id)] if self._router_id else []
        for interface in self.wanted.values():
            listed += (address.ip for address in own_addresses(interface))
        for address in listed:
            linklocal = address.version == 6 and address.is_link_local
            if found[address.version] is None and address in own and not linklocal:
                found[address.version] = address
        return found

    async def _apply_filter(self) -> list[str]:
        """A chain for each port that exists, and for rc-port; no nft call when none changed."""
        port = self.pair.port
        links = [link for name in sorted(self.wanted) if (link := self._links.by_name(name))]
        state = (*(f"{link.name}/{link.ifindex}" for link in links), f"{port and port.ifindex}")
        if state == self._filtered:
            return []
        if self._table not in self._journal.tables:
            self._journal.tables.append(self._table)
            self._journal.write()
        rules = transit.ruleset(
            self._table, [link.name for link in links], port.name if port else None
        )
        problem = await transit.apply(rules)
        self._filtered = state if problem is None else None
        return [] if problem is None else [problem]

"""KernelEdge: everything control does with the kernel, behind one object.

    edge = KernelEdge(instance="r1", undo_file=names.undo_file, on_event=apply)
    problems = await edge.start()
    problems = await edge.configure(plan.interfaces, plan.router_id)
    edge.manage(ifindex, "10.0.2.2"); edge.resolve(ifindex, "10.0.1.7")
    problems = await edge.stop()

The kernel stays the host stack; the edge takes forwarding away from it, brings the configured
ports up, gives the host stack its way through the router (rchost.py), keeps transit frames out of
it (filter.py), and tells control what happens to links, addresses and neighbours. Every change
is journalled first (journal.py) and taken back by `stop`, or by `undo` when control was killed;
between the two the kernel's state simply stays, and the next control adopts it.

For control's event loop thread alone. Problems are lines for a person; nothing here raises for
what the kernel refuses, but OSError from `start` when netlink itself is refused.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pyroute2 import AsyncIPRoute
from ribcage.controlplane.kernel import filter as transit
from ribcage.controlplane.kernel.asker import Asker
from ribcage.controlplane.kernel.events import (
    AddressEvent,
    Event,
    LinkEvent,
    NeighbourEvent,
)
from ribcage.controlplane.kernel.guard import ForwardingGuard
from ribcage.controlplane.kernel.journal import Journal
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.messages import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    AddressMessage,
    Content,
    LinkMessage,
    NeighbourMessage,
)
from ribcage.controlplane.kernel.monitor import Monitor, open_socket
from ribcage.controlplane.kernel.neighbours import NeighbourTable
from ribcage.controlplane.kernel.ports import Interface, Ports, canonical
from ribcage.controlplane.kernel.rchost import HostPair, HostPort
from ribcage.controlplane.kernel.settings import Settings, namespace_settings, table_sizes
from ribcage.controlplane.kernel.undo import undo

START_TIMEOUT: Final = 5.0
REMANAGE_DELAY: Final = 0.2
RETRY_DELAY: Final = 0.05  # before a spoilt dump is asked for again: a storm must not be fed
DEFAULT_MTU: Final = 1500


def _silent(_level: str, _event: str, **_fields: object) -> None:
    pass


class KernelEdge:
    """See the module. `on_event` is called from the event loop and must not block or raise."""

    def __init__(
        self,
        *,
        instance: str,
        undo_file: Path,
        on_event: Callable[[Event], None],
        max_neighbours: int = 4096,
        log: Callable[..., None] | None = None,
    ) -> None:
        """`log(level, event, **fields)` gets what nobody has to act upon. Touches nothing yet."""
        self._instance = instance
        self._undo_file = undo_file
        self._on_event = on_event
        self._log = log or _silent
        self._max_neighbours = max_neighbours
        self._links = LinkTable()
        self._neighbours = NeighbourTable(max_neighbours)
        self._wanted: dict[str, Interface] = {}
        self._router_id: str | None = None
        self._counters = {"events": 0, "failed_events": 0}
        self._synced = asyncio.Event()
        self._made: dict[str, int] = {}  # port -> ifindex that was brought up
        self._down: set[int] = set()  # ports that are administratively down now
        self._returned: set[str] = set()  # ports to bring up (again)
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()  # one change of the kernel at a time
        self._task: asyncio.Task[None] | None = None
        self._monitor: Monitor | None = None
        self._filtered: tuple[str, ...] | None = None

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> list[str]:
        """Namespace settings, monitor with its first dump, host port, filter.

        Everything that exists has been told through `on_event` when this returns. Over the
        state that a killed control left behind, adopts it: the pair keeps its ifindex.
        """
        self._journal = Journal.open(self._undo_file, self._instance)
        self._settings = Settings(self._journal, self._log)
        self._ports = Ports(self._journal, self._settings, self._links, self._log)
        self._pair = HostPair(self._instance, self._journal, self._log)
        self._guard = ForwardingGuard(self._settings, self._links, self._emit, self._log)
        self._table = transit.table_name(self._instance)
        problems = self._settings.apply(namespace_settings())
        self._settings.raise_to(table_sizes(self._max_neighbours))
        loop = asyncio.get_running_loop()
        self._monitor = Monitor(
            open_socket(),
            self._heard,
            self._complete,
            lambda again: loop.call_later(RETRY_DELAY, again),
        )
        self._asker = Asker(
            self._journal, self._links, self._neighbours, self._monitor.send, self._log
        )
        loop.add_reader(self._monitor.fileno(), self._monitor.read)
        self._monitor.resync()
        problems += await self._told()
        async with self._busy, AsyncIPRoute() as route:
            problems += await self._pair.ensure(route, DEFAULT_MTU)
        problems += await self._apply_filter()
        self._task = asyncio.create_task(self._keep(), name="kernel-ports")
        return problems

    async def configure(
        self, interfaces: Sequence[Interface], router_id: str | None = None
    ) -> list[str]:
        """Make the ports as the plan says; again with another list is a reload.

        An interface that does not exist is brought up when it appears (also after it was
        deleted and made anew). Returns problems; the other ports are configured all the same.
        When it returns, what exists on the ports has been told, neighbours included.
        ValueError for an address that is none: the plan was checked before.
        """
        for interface in interfaces:
            for address in interface.addresses:
                canonical(address)
        self._router_id = router_id
        problems = []
        async with self._busy:
            dropped = [name for name in self._wanted if name not in {i.name for i in interfaces}]
            dropped += [
                name
                for name in self._journal.ports.keys() | {n for n, _ in self._journal.addresses}
                if name not in {i.name for i in interfaces} and name not in dropped
            ]
            self._wanted = {interface.name: interface for interface in interfaces}
            for name in dropped:
                self._made.pop(name, None)
                problems += await self._ports.take_down(name)
                link = self._links.by_name(name)
                if link is not None:
                    self._tell(self._neighbours.lose_port(link.ifindex))
            async with AsyncIPRoute() as route:
                for interface in interfaces:
                    problems += await self._bring_up(route, interface, again=False)
                problems += await self._host_side(route)
            problems += await self._apply_filter()
        if self._monitor is not None:
            # Neighbours of ports that are new were heard and not kept. An heir that went on
            # without them would take every adjacency of its predecessor away for a moment.
            self._synced.clear()
            self._monitor.resync((RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH))
            problems += await self._told()
        return problems

    async def _told(self) -> list[str]:
        """Waits for the dumps that were asked for."""
        try:
            await asyncio.wait_for(self._synced.wait(), START_TIMEOUT)
        except TimeoutError:
            return [f"netlink: no complete dump within {START_TIMEOUT:.0f} s"]
        return []

    async def stop(self) -> list[str]:
        """Close, then take back all that the journal holds. Returns what could not be."""
        await self.detach()
        return await asyncio.to_thread(undo, self._undo_file)

    async def detach(self) -> None:
        """Close, leaving the kernel as it is: a successor's `start` adopts it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._guard.close()
            self._asker.close()
            self._monitor.close()
            self._monitor = None

    # -- what is known --------------------------------------------------------------------------

    @property
    def host_port(self) -> HostPort | None:
        """The host port, or None when it could not be made. Its mtu follows the ports'."""
        return self._pair.port

    def links(self) -> list[LinkEvent]:
        """The links that exist now, as last told."""
        return list(self._links.links.values())

    def addresses(self) -> list[AddressEvent]:
        """The host stack's own addresses now, as last told."""
        return list(self._links.addresses.values())

    def neighbours(self) -> list[NeighbourEvent]:
        """The neighbours known now on configured ports, as last told."""
        return list(self._neighbours.entries.values())

    def neighbour(self, ifindex: int, address: str) -> NeighbourEvent | None:
        """One neighbour, as last told. `address` as the kernel spells it."""
        return self._neighbours.entries.get((ifindex, address))

    def counters(self) -> dict[str, int]:
        """Since start; names as in the documentation of `ipc.show`."""
        return {
            **self._counters,
            **(self._monitor.counters if self._monitor else {}),
            **self._asker.counters(),
            "forwarding_set_back": self._guard.set_back,
            "neighbours_refused": self._neighbours.refused,
            "neighbours": len(self._neighbours.entries),
        }

    # -- neighbours -----------------------------------------------------------------------------

    def resolve(self, ifindex: int, address: str) -> bool:
        """Have the kernel resolve a neighbour, or probe it again; the answer is a NeighbourEvent
        (80-100 us on a quiet veth). Never blocks.

        False when nothing was asked: not a configured port that exists, not a unicast address,
        over the rate, or the table is full and the neighbour unknown.
        """
        link = self._links.links.get(ifindex)
        return link is not None and link.name in self._wanted and self._asker.resolve(link, address)

    def manage(self, ifindex: int, address: str) -> bool:
        """Keep a gateway resolved, also over link flaps and when the port comes back under
        another ifindex. Idempotent. False: unknown ifindex, or not a unicast address."""
        link = self._links.links.get(ifindex)
        return link is not None and self._asker.manage(link, address)

    def unmanage(self, ifindex: int, address: str) -> None:
        """Let the neighbour age like any other. Idempotent."""
        link = self._links.links.get(ifindex)
        if link is not None:
            self._asker.unmanage(link, address)

    def sweep_managed(self) -> None:
        """Let go of what a predecessor managed and `manage` was not called for since start.
        Control calls it once, when its own gateways are all known again."""
        self._asker.sweep()

    # -- what the kernel says -------------------------------------------------------------------

    def _heard(self, message: Content, generation: int) -> None:
        """One message of the monitor."""
        if isinstance(message, LinkMessage):
            self._tell(self._links.apply_link(message, generation))
        elif isinstance(message, AddressMessage):
            self._tell(self._links.apply_address(message, generation))
        elif isinstance(message, NeighbourMessage):
            link = self._links.links.get(message.ifindex)
            if link is not None and link.name in self._wanted:
                managed = (link.name, message.address) in self._asker.managed
                self._tell(self._neighbours.apply(message, generation, managed))
                if message.gone and managed:
                    # Deleted by hand, or with the last address of the port. Not at once: with
                    # a lost carrier this comes before the link's own message.
                    asyncio.get_running_loop().call_later(
                        REMANAGE_DELAY, self._asker.again, link.name
                    )
        elif message.forwarding:
            self._guard.switched_on(message)

    def _complete(self, kind: int, generation: int) -> None:
        """A dump is complete: what it did not mention is gone."""
        if kind == RTM_GETLINK:
            self._tell(self._links.sweep_links(generation))
        elif kind == RTM_GETADDR:
            self._tell(self._links.sweep_addresses(generation))
        elif kind == RTM_GETNEIGH:
            self._tell(self._neighbours.sweep(generation))
            if self._monitor is not None and self._monitor.synced:
                self._synced.set()

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._counters["events"] += 1
            if isinstance(event, LinkEvent):
                self._link_changed(event)
            elif isinstance(event, AddressEvent):
                self._wake.set()  # the host port's source may have to change
            self._emit(event)

    def _emit(self, event: Event) -> None:
        """A consumer's mistake must not cost the other messages of the datagram."""
        try:
            self._on_event(event)
        except Exception as error:
            self._counters["failed_events"] += 1
            self._log("error", "kernel.on-event", what=repr(event), why=repr(error))

    def _link_changed(self, event: LinkEvent) -> None:
        if event.gone:
            self._down.discard(event.ifindex)
            for lost in self._neighbours.lose_port(event.ifindex):
                self._emit(lost)
            port = self._pair.port
            if port is not None and event.ifindex in (port.ifindex, port.kernel_ifindex):
                self._pair.port = None  # somebody deleted it: made again by the next pass
                self._wake.set()
            return
        if event.name not in self._wanted:
            return
        was_down = event.ifindex in self._down
        (self._down.discard if event.up else self._down.add)(event.ifindex)
        if self._made.get(event.name) != event.ifindex or (was_down and event.up):
            self._returned.add(event.name)
            self._wake.set()
        if event.up and event.carrier:
            self._asker.again(event.name)  # losing the carrier deletes neighbours, managed ones too

    # -- keeping the ports ----------------------------------------------------------------------

    async def _keep(self) -> None:
        """Bring ports up again after what the kernel told; one pass at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            problems = []
            try:
                async with self._busy, AsyncIPRoute() as route:
                    names, self._returned = self._returned, set()
                    for name in sorted(names & self._wanted.keys()):
                        problems += await self._bring_up(route, self._wanted[name], again=True)
                    problems += await self._host_side(route)
                    problems += await self._apply_filter()
            except Exception as error:  # the task must outlive one failed pass
                problems.append(f"{type(error).__name__}: {error}")
            for problem in problems:
                self._log("warning", "kernel.port", why=problem)

    async def _bring_up(self, route: AsyncIPRoute, interface: Interface, again: bool) -> list[str]:
        """`again` only repairs, unless the port is another one than was brought up before."""
        link = self._links.by_name(interface.name)
        if link is None:
            return []
        known = self._made.get(interface.name) == link.ifindex
        try:
            problems = await self._ports.bring_up(route, interface, again and known)
        except OSError as error:  # the journal could not be written
            return [f"{interface.name}: {self._undo_file}: {error.strerror}"]
        self._made[interface.name] = link.ifindex
        return problems

    async def _host_side(self, route: AsyncIPRoute) -> list[str]:
        """MTU and source addresses of the host port, from the ports that exist now."""
        mtus = [link.mtu for name in self._wanted if (link := self._links.by_name(name))]
        mtu = max(mtus, default=DEFAULT_MTU)
        if self._pair.port is None:
            problems = await self._pair.ensure(route, mtu)
        else:
            problems = await self._pair.set_mtu(route, mtu)
        return problems + await self._pair.set_sources(route, self._sources())

    def _sources(self) -> dict[int, str | None]:
        """Per family: the router id if it is an own address, else the first configured one."""
        own = {event.address for event in self._links.addresses.values()}
        found: dict[int, str | None] = {4: None, 6: None}
        listed = [
            canonical(address).partition("/")[0]
            for interface in self._wanted.values()
            for address in interface.addresses
        ]
        for address in [*([self._router_id] if self._router_id else []), *listed]:
            family = 6 if ":" in address else 4
            linklocal = address.startswith("fe80:")
            if found[family] is None and address in own and not linklocal:
                found[family] = address
        return found

    async def _apply_filter(self) -> list[str]:
        """A chain for each port that exists, and for rc-port; no nft call when none changed."""
        port = self._pair.port
        links = [link for name in sorted(self._wanted) if (link := self._links.by_name(name))]
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

"""Kernel: everything control does with the kernel, behind one object.

    kernel = Kernel(instance="r1", undo_file=names.undo_file, on_event=apply)
    problems = await kernel.start()
    problems = await kernel.configure(plan.interfaces, plan.router_id)
    kernel.manage(ifindex, gateway); kernel.resolve(ifindex, address)
    problems = await kernel.stop()

The kernel stays the host stack; `Kernel` takes forwarding away from it, brings the configured
ports up, gives the host stack its way through the router (rchost.py), keeps transit frames out of
it (filter.py), and tells control what happens to links, addresses and neighbours. Every change
is journalled first (journal.py) and taken back by `stop`, or by `undo` when control was killed;
between the two the kernel's state simply stays, and the next control adopts it.

For control's event loop thread alone. Problems are lines for a person; nothing here raises for
what the kernel refuses or does not answer, but OSError from `start` when netlink itself is
refused. Every wait has a deadline (deadline.py), so start, configure and stop always return.

Reading begins here. provisioner.py changes the kernel, dispatcher.py takes in what it says,
resolver.py has neighbours resolved, changes/undo.py takes everything back.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.settings import Sysctls, namespace_settings, table_sizes
from ribcage.controlplane.kernel.changes.undo import undo
from ribcage.controlplane.kernel.dispatcher import Emitter, MessageDispatcher
from ribcage.controlplane.kernel.events import (
    AddressEvent,
    HostPort,
    KernelEvent,
    LinkEvent,
    NeighbourEvent,
)
from ribcage.controlplane.kernel.guard import ForwardingGuard
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.neighbours import NeighbourTable
from ribcage.controlplane.kernel.netlink.deadline import KernelSilent, in_thread
from ribcage.controlplane.kernel.netlink.messages import RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH
from ribcage.controlplane.kernel.netlink.monitor import Monitor, open_socket, send
from ribcage.controlplane.kernel.ports import own_addresses
from ribcage.controlplane.kernel.provisioner import Provisioner
from ribcage.controlplane.kernel.resolver import NeighbourResolver
from ribcage.shared.addresses import Address
from ribcage.shared.plan import InterfacePlan

START_TIMEOUT: Final = 5.0
RETRY_DELAY: Final = 0.05  # before a spoilt dump is asked for again: a storm must not be fed
UNDO_TIMEOUT: Final = 3.0  # then the supervisor's helper takes back what the journal still holds


def _silent(_level: str, _event: str, **_fields: object) -> None:
    pass


class _Work:
    """The parts of a started kernel, each with those it needs: tables first, the monitor last."""

    def __init__(
        self,
        instance: str,
        undo_file: Path,
        links: LinkTable,
        neighbours: NeighbourTable,
        on_event: Callable[[KernelEvent], None],
        log: Callable[..., None],
    ) -> None:
        """Opens the journal and the socket; nothing of the kernel is changed here."""
        journal = Journal.open(undo_file, instance)
        self.journal = journal
        self.settings = Sysctls(journal, log)
        self.emitter = Emitter(on_event, log)
        self.provisioner = Provisioner(instance, links, journal, self.settings, log)
        self.guard = ForwardingGuard(self.settings, links, self.emitter.emit, log)
        link = open_socket()
        self.resolver = NeighbourResolver(journal, links, neighbours, partial(send, link), log)
        self.dispatcher = MessageDispatcher(
            links, neighbours, self.provisioner, self.resolver, self.guard, self.emitter
        )
        loop = asyncio.get_running_loop()
        self.monitor = Monitor(
            link,
            self.dispatcher.message,
            self.dispatcher.complete,
            lambda again: loop.call_later(RETRY_DELAY, again),
        )

    def listen(self) -> None:
        """The monitor at work, its first dump asked for."""
        asyncio.get_running_loop().add_reader(self.monitor.fileno(), self.monitor.read)
        self.monitor.resync()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.monitor.fileno())
        self.guard.close()
        self.resolver.close()
        self.monitor.close()


class Kernel:
    """See the module. `on_event` is called from the event loop and must not block or raise."""

    def __init__(
        self,
        *,
        instance: str,
        undo_file: Path,
        on_event: Callable[[KernelEvent], None],
        max_neighbours: int = 4096,
        log: Callable[..., None] | None = None,
    ) -> None:
        """`log(level, event, **fields)` gets what nobody has to act upon. Touches nothing yet."""
        self._instance = instance
        self._undo_file = undo_file
        self._on_event = on_event
        self._log = log or _silent
        self._links = LinkTable()
        self._neighbours = NeighbourTable(max_neighbours)
        self._work: _Work | None = None  # from `start` to `detach`
        self._counters: dict[str, int] = {}  # as they were at the end

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> list[str]:
        """Namespace settings, monitor with its first dump, host port, filter.

        Everything that exists has been told through `on_event` when this returns. Over the
        state that a killed control left behind, adopts it: the pair keeps its ifindex.
        """
        work = self._work = _Work(
            self._instance,
            self._undo_file,
            self._links,
            self._neighbours,
            self._on_event,
            self._log,
        )
        problems = work.settings.apply(namespace_settings())
        work.settings.raise_to(table_sizes(self._neighbours.limit))
        work.listen()
        problems += await self._told(work)
        problems += await work.provisioner.make_host_port()
        work.provisioner.run()
        return problems

    async def configure(
        self, interfaces: Sequence[InterfacePlan], router_id: str | None = None
    ) -> list[str]:
        """Make the ports as the plan says; again with another list is a reload.

        An interface that does not exist is brought up when it appears (also after it was
        deleted and made anew). Returns problems; the other ports are configured all the same.
        ValueError for an address that is none: the plan was checked before.
        """
        for interface in interfaces:
            own_addresses(interface)
        work = self._started()
        problems, dropped = await work.provisioner.configure(interfaces, router_id)
        for name in dropped:
            link = self._links.by_name(name)
            if link is not None:
                work.dispatcher.tell(self._neighbours.lose_port(link.ifindex))
        if self._work is not None:  # not stopped meanwhile
            # Neighbours of ports that are new were heard and not kept. A successor that went on
            # without them would take every adjacency of its predecessor away for a moment.
            work.dispatcher.synced.clear()
            work.monitor.resync((RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH))
            problems += await self._told(work)
        return problems

    def _started(self) -> _Work:
        if self._work is None:
            raise RuntimeError("the kernel is not started")
        return self._work

    async def _told(self, work: _Work) -> list[str]:
        """Waits for the dumps that were asked for."""
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await work.dispatcher.synced.wait()
        except TimeoutError:
            return [f"netlink: no complete dump within {START_TIMEOUT:g} s"]
        return []

    def write_journal(self) -> None:
        """Its file was removed. OSError as of any other writing."""
        if self._work is not None:
            self._work.journal.write()

    async def stop(self) -> list[str]:
        """Close, then take back all that the journal holds. Returns what could not be.

        Within 5 s, whatever the kernel does: what is not undone by then stays in the journal.
        """
        problems = await self.detach()
        try:
            return problems + await in_thread(UNDO_TIMEOUT, undo, self._undo_file)
        except KernelSilent as silent:
            return [*problems, str(silent)]

    async def detach(self) -> list[str]:
        """Close, leaving the kernel as it is: a successor's `start` adopts it."""
        work = self._work
        if work is None:
            return []
        problems = await work.provisioner.close()
        self._counters = self.counters()
        self._work = None
        work.close()
        return problems

    # -- what is known --------------------------------------------------------------------------

    @property
    def host_port(self) -> HostPort | None:
        """The host port, or None when it could not be made. Its mtu follows the ports'."""
        return self._work.provisioner.pair.port if self._work is not None else None

    def links(self) -> list[LinkEvent]:
        """The links that exist now, as last told."""
        return list(self._links.links.values())

    def addresses(self) -> list[AddressEvent]:
        """The host stack's own addresses now, as last told."""
        return list(self._links.addresses.values())

    def neighbours(self) -> list[NeighbourEvent]:
        """The neighbours known now on configured ports, as last told."""
        return list(self._neighbours.entries.values())

    def neighbour(self, ifindex: int, address: Address) -> NeighbourEvent | None:
        """One neighbour, as last told."""
        return self._neighbours.entries.get((ifindex, address))

    def counters(self) -> dict[str, int]:
        """Since start; names as in the documentation of `ipc.show`."""
        work = self._work
        if work is None:
            return self._counters
        return {
            **work.emitter.counters,
            **work.monitor.counters,
            **work.resolver.counters(),
            "forwarding_set_back": work.guard.set_back,
            "neighbours_refused": self._neighbours.refused,
            "neighbours": len(self._neighbours.entries),
        }

    # -- neighbours -----------------------------------------------------------------------------

    def resolve(self, ifindex: int, address: Address) -> bool:
        """Have the kernel resolve a neighbour, or probe it again; the answer is a NeighbourEvent
        (80-100 us on a quiet veth). Never blocks.

        False when nothing was asked: not a configured port that exists, not a unicast address,
        over the rate, or the table is full and the neighbour unknown.
        """
        link, work = self._links.links.get(ifindex), self._work
        return (
            link is not None
            and work is not None
            and link.name in work.provisioner.wanted
            and work.resolver.resolve(link, address)
        )

    def limit(self, max_neighbours: int) -> None:
        """Another bound on the neighbours kept; those known above a lower one stay until they
        go. The kernel's own table is never made smaller while it is in use."""
        self._neighbours.limit = max_neighbours
        if self._work is not None:
            self._work.settings.raise_to(table_sizes(max_neighbours))

    def manage(self, ifindex: int, address: Address) -> bool:
        """Keep a gateway resolved, also over link flaps and when the port comes back under
        another ifindex. Idempotent. False: unknown ifindex, or not a unicast address."""
        link, work = self._links.links.get(ifindex), self._work
        return link is not None and work is not None and work.resolver.manage(link, address)

    def unmanage(self, ifindex: int, address: Address) -> None:
        """Let the neighbour age like any other. Idempotent."""
        link, work = self._links.links.get(ifindex), self._work
        if link is not None and work is not None:
            work.resolver.unmanage(link, address)

    def sweep_managed(self) -> None:
        """Let go of what a predecessor managed and `manage` was not called for since start.
        Control calls it once, when its own gateways are all known again."""
        if self._work is not None:
            self._work.resolver.sweep()

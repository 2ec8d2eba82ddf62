"""Dispatches what the kernel says: messages update tables, differences become events.

    emitter = Emitter(on_event, log)
    dispatcher = MessageDispatcher(links, neighbours, provisioner, resolver, guard, emitter)
    Monitor(socket, dispatcher.message, dispatcher.complete, ...)
    await dispatcher.synced.wait()          # the first dump was told to its end

The tables (links.py, neighbours.py) turn messages into differences. Each difference is counted
here, shown to the provisioner and to the resolver, and handed to control. Nothing here waits or
raises. Control's event loop alone.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from ribcage.controlplane.kernel.events import AddressEvent, KernelEvent, LinkEvent
from ribcage.controlplane.kernel.guard import ForwardingGuard
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.neighbours import NeighbourTable
from ribcage.controlplane.kernel.netlink.messages import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    AddressMessage,
    Content,
    LinkMessage,
    NeighbourMessage,
)
from ribcage.controlplane.kernel.provisioner import Provisioner
from ribcage.controlplane.kernel.resolver import NeighbourResolver

REMANAGE_DELAY: Final = 0.2


class Emitter:
    """Hands events to control. `on_event` must not block; what it raises costs that event alone."""

    def __init__(self, on_event: Callable[[KernelEvent], None], log: Callable[..., None]) -> None:
        self.counters = {"events": 0, "failed_events": 0}
        self._on_event = on_event
        self._log = log

    def emit(self, event: KernelEvent) -> None:
        """A consumer's mistake must not cost the other messages of the datagram."""
        try:
            self._on_event(event)
        except Exception as error:
            self.counters["failed_events"] += 1
            self._log("error", "kernel.on-event", what=repr(event), why=repr(error))


class MessageDispatcher:
    """See the module. `synced` is set when a dump was told to its end."""

    def __init__(
        self,
        links: LinkTable,
        neighbours: NeighbourTable,
        provisioner: Provisioner,
        resolver: NeighbourResolver,
        guard: ForwardingGuard,
        emitter: Emitter,
    ) -> None:
        self.synced = asyncio.Event()
        self._links = links
        self._neighbours = neighbours
        self._provisioner = provisioner
        self._resolver = resolver
        self._guard = guard
        self._emitter = emitter

    def message(self, message: Content, generation: int) -> None:
        """One message of the monitor."""
        if isinstance(message, LinkMessage):
            self.tell(self._links.apply_link(message, generation))
        elif isinstance(message, AddressMessage):
            self.tell(self._links.apply_address(message, generation))
        elif isinstance(message, NeighbourMessage):
            self._neighbour(message, generation)
        elif message.forwarding:
            self._guard.switched_on(message)

    def complete(self, kind: int, generation: int) -> None:
        """A dump is complete: what it did not mention is gone."""
        if kind == RTM_GETLINK:
            self.tell(self._links.sweep_links(generation))
        elif kind == RTM_GETADDR:
            self.tell(self._links.sweep_addresses(generation))
        elif kind == RTM_GETNEIGH:
            self.tell(self._neighbours.sweep(generation))
            self.synced.set()

    def tell(self, events: list[KernelEvent]) -> None:
        """Differences of a table, in their order."""
        for event in events:
            self._emitter.counters["events"] += 1
            if isinstance(event, LinkEvent):
                self._link(event)
            elif isinstance(event, AddressEvent):
                self._provisioner.look()  # the host port's source may have to change
            self._emitter.emit(event)

    def _neighbour(self, message: NeighbourMessage, generation: int) -> None:
        link = self._links.links.get(message.ifindex)
        if link is None or link.name not in self._provisioner.wanted:
            return
        managed = (link.name, message.address) in self._resolver.managed
        self.tell(self._neighbours.apply(message, generation, managed))
        if message.gone and managed:
            # Deleted by hand, or with the last address of the port. Not at once: with a lost
            # carrier this comes before the link's own message.
            asyncio.get_running_loop().call_later(REMANAGE_DELAY, self._resolver.again, link.name)

    def _link(self, event: LinkEvent) -> None:
        self._provisioner.link_changed(event)
        if event.gone:
            for lost in self._neighbours.lose_port(event.ifindex):
                self._emitter.emit(lost)
        elif event.name in self._provisioner.wanted and event.up and event.carrier:
            self._resolver.again(event.name)  # losing the carrier deletes neighbours, managed too

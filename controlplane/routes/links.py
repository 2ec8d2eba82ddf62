"""Turns what the kernel says about links, addresses and neighbours into ports and routes.

    links = Links(core, kernel, tell, log)
    Kernel(on_event=links.hear, ...)          # every event; never blocks, never raises
    await links.sweep()                       # after the first dump: what was not told is gone

Until `sweep` the links a predecessor left in the FIB count as if they were told, so a restart
of control takes no route away. `tell` sends port-open and port-close to the supervisor, which
makes the packet sockets. Who is behind a port is the matter of link_neighbours.py. Control only.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

from ribcage.controlplane.kernel.events import (
    AddressEvent,
    ForwardingEvent,
    KernelEvent,
    LinkEvent,
    NeighbourEvent,
)
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.link_neighbours import KernelLike, LinkNeighbours
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.contract import Source
from ribcage.controlplane.routes.sources.table import OFFERING
from ribcage.shared.addresses import NO_MAC, Interface
from ribcage.shared.memory.fib_records import Port
from ribcage.shared.process.log import Log
from ribcage.shared.process.port_rings import PortRings

EVENTS_A_TURN = 512  # neighbour events taken before others have their turn


class Links:
    """See the module's text."""

    def __init__(
        self,
        core: Core,
        kernel: KernelLike,
        tell: Callable[[dict[str, Any]], None],
        log: Log,
    ) -> None:
        self.core = core
        self.kernel = kernel
        self.tell = tell
        self.log = log
        self.swept = False
        self.counters = {"events": 0, "failed": 0, "misses": 0, "refused": 0, "probed": 0}
        self._queue: deque[tuple[int, KernelEvent]] = deque()
        self._links: dict[int, LinkEvent] = {}
        self._addresses: dict[int, dict[Interface, None]] = {}
        self._opened: dict[int, tuple[int, str]] = {}  # index -> ifindex, kind told
        self.neighbours = LinkNeighbours(core, kernel, self.counters)
        self._woken = False
        self._dirty: list[Source] = []  # to sync, in the order of OFFERING
        self._syncing: asyncio.Task[None] | None = None

    # -- receiving

    def hear(self, event: KernelEvent) -> None:
        """The kernel's on_event: noted now, worked on in the same turn's end."""
        self._queue.append((time.monotonic_ns(), event))
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """All that was heard: links and addresses first, since neighbours are on them."""
        self._woken = False
        changed: dict[str, int] = {}  # names -> t0
        neighbours: list[tuple[int, NeighbourEvent]] = []
        taken = 0
        while self._queue and taken < EVENTS_A_TURN:
            t0, event = self._queue.popleft()
            self.counters["events"] += 1
            taken += 1
            try:
                if isinstance(event, NeighbourEvent):
                    neighbours.append((t0, event))
                else:
                    self._note(event, t0, changed)
            except Exception as error:
                self._failed(event, error)
        for name, t0 in changed.items():
            try:
                self._refresh(name, t0)
            except Exception as error:
                self._failed(name, error)
        for t0, event in neighbours:
            try:
                self.neighbours.hear(event, t0)
            except Exception as error:
                self._failed(event, error)
        if self._queue and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._work)

    def _failed(self, what: object, error: Exception) -> None:
        """An event that could not be used: counted and logged, and the loop goes on."""
        self.counters["failed"] += 1
        self.log("error", "kernel.event", what=str(what)[:200], error=repr(error)[:300])

    def _note(self, event: KernelEvent, t0: int, changed: dict[str, int]) -> None:
        if isinstance(event, LinkEvent):
            if event.gone:
                self._links.pop(event.ifindex, None)
                self._addresses.pop(event.ifindex, None)
            else:
                self._links[event.ifindex] = event
            changed.setdefault(event.name, t0)
        elif isinstance(event, AddressEvent):
            held = self._addresses.setdefault(event.ifindex, {})
            if event.added:
                held[event.own] = None
            else:
                held.pop(event.own, None)
            changed.setdefault(event.ifname, t0)
        elif isinstance(event, ForwardingEvent):
            level = "warning" if event.restored else "error"
            self.log(level, "kernel.forwarding", dev=event.ifname, restored=event.restored)

    # -- ports

    def _is_host(self, name: str) -> bool:
        host = self.kernel.host_port
        return host is not None and name == host.name

    def _wanted(self, name: str) -> bool:
        """Whether this interface should be a port of ours."""
        return self._is_host(name) or any(one.name == name for one in self.core.plan.interfaces)

    def _refresh(self, name: str, t0: int) -> None:
        """Brings one interface's port and the routes that hang on it up to date."""
        core = self.core
        link = next((link for link in self._links.values() if link.name == name), None)
        before = core.topology.by_name(name)
        self._refresh_local()
        if link is None or not self._wanted(name):
            # Before `sweep` a predecessor's port stays, whatever is not known yet: the host
            # port's name is not, when its link is told.
            if before is not None and self.swept:
                self._drop(before, t0)
            return
        index = core.topology.index_for(name)
        if index is None:
            self.log("error", "port.limit", dev=name)
            return
        addresses = tuple(self._addresses.get(link.ifindex, ()))
        if before is not None and not self.swept:
            # A predecessor's word counts until the kernel's whole story is told.
            addresses = tuple(dict.fromkeys((*addresses, *before.addresses)))
        up = link.up and link.carrier
        mac = link.mac or NO_MAC
        host = self._is_host(name)
        port = Port(index, name, link.ifindex, link.mtu, mac, up, host, addresses)
        if port != before:
            self._put(before, port, t0)
        self._open(port)

    def _put(self, before: Port | None, port: Port, t0: int) -> None:
        another = before is not None and before.ifindex != port.ifindex
        if another:
            self.neighbours.lose_port(port.index, t0)
        self.core.put_port(port, t0)
        if before is None or another or before.addresses != port.addresses:
            self.resync(*OFFERING)
        if before is None or before.up != port.up:
            self.log("info", "port.state", dev=port.name, index=port.index, up=port.up)

    def _drop(self, port: Port, t0: int) -> None:
        self.neighbours.lose_port(port.index, t0)
        self.core.drop_port(port.index, t0)
        if self._opened.pop(port.index, None) is not None:
            self.tell({"type": "port-close", "index": port.index})
        self.log("info", "port.gone", dev=port.name, index=port.index)
        self.resync(*OFFERING)

    def _open(self, port: Port) -> None:
        key = (port.ifindex, port.kind)
        if self._opened.get(port.index) != key:
            self._opened[port.index] = key
            self.tell(self._open_message(port))

    def _open_message(self, port: Port) -> dict[str, Any]:
        rings = self.core.plan.rings
        asked = PortRings(
            port.index, port.name, port.ifindex, port.kind, rings.slots, rings.slot_bytes
        )
        return {"type": "port-open", **asked.to_json()}

    def tell_ports(self) -> None:
        """Says every port again: the supervisor is new."""
        for index in self._opened:
            port = self.core.topology.ports.get(index)
            if port is not None:
                self.tell(self._open_message(port))

    def _refresh_local(self) -> None:
        """Addresses the host stack answers for on interfaces that are no ports."""
        local = {
            own.ip
            for ifindex, held in self._addresses.items()
            if ifindex in self._links and not self._wanted(self._links[ifindex].name)
            for own in held
        }
        if self.swept and local != self.core.topology.local:
            self.core.topology.local = local
            self.resync(CONNECTED)

    def manage_gateways(self) -> None:
        """Keeps the gateways of routes resolved; before `sweep` they are a predecessor's."""
        if self.swept:
            self.neighbours.manage_gateways()

    # -- whole sources

    def resync(self, *sources: Source) -> None:
        """These sources' routes depend on what changed: announce them again, soon."""
        self._dirty = [one for one in OFFERING if one in sources or one in self._dirty]
        if self.swept and (self._syncing is None or self._syncing.done()):
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        while self._dirty:
            source = self._dirty.pop(0)
            try:
                await self.core.sync(source)
            except Exception as error:
                self._failed(f"sync of source {source.name}", error)
        self.neighbours.manage_gateways()

    async def sweep(self) -> None:
        """The kernel has told everything: what only the FIB knew is gone; all sources again."""
        while self._queue:
            self._work()
        self.swept = True
        t0 = time.monotonic_ns()
        self._refresh_all(t0)
        self.neighbours.forget_silent(self.kernel.neighbours(), t0)
        self._refresh_local()
        self.resync(*OFFERING)
        await self.synced()
        self.kernel.sweep_managed()

    async def told_addresses(self, limit: float) -> bool:
        """Waits until the plan's addresses on links that exist were told, `limit` seconds at
        most: at a fresh start static routes are announced once, not first rejected."""
        end = time.monotonic() + limit
        while True:
            missing = [
                text
                for interface in self.core.plan.interfaces
                for link in self._links.values()
                if link.name == interface.name
                for text in interface.addresses
                if ip_interface(text) not in self._addresses.get(link.ifindex, {})
            ]
            if not missing:
                return True
            if time.monotonic() >= end:
                self.log("warning", "kernel.addresses", missing=", ".join(missing)[:200])
                return False
            await asyncio.sleep(0.005)

    async def synced(self) -> None:
        """Until no source waits to be announced."""
        while self._syncing is not None and not self._syncing.done():
            await asyncio.shield(self._syncing)

    def replan(self) -> None:
        """The plan changed: interfaces came or left, routes too."""
        self._refresh_all(time.monotonic_ns())
        self.resync(*OFFERING)

    def _refresh_all(self, t0: int) -> None:
        names = {link.name for link in self._links.values()}
        names |= {port.name for port in self.core.topology.ports.values()}
        for name in sorted(names):
            try:
                self._refresh(name, t0)
            except Exception as error:
                self._failed(name, error)

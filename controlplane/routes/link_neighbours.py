"""The neighbours on the ports' links: adjacencies, host routes, gateways kept resolved.

    neighbours = LinkNeighbours(core, kernel, counters)
    neighbours.hear(event, t0)          # the kernel's word: an adjacency's MAC, a host route
    neighbours.miss(port, address)      # a worker's word: a packet waits for this address
    neighbours.manage_gateways()        # the next hops of routes are kept resolved
    neighbours.probe_hosts()            # each second: are the hosts with a route still there?

Part of links.py, which tells it in which order. `miss` only asks: whether anybody answers is the
kernel's to say, through `hear`. Control only.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from ribcage.controlplane.kernel.events import STALE, HostPort, NeighbourEvent
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.neighbour import is_host, neighbour_route
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.shared.addresses import Address
from ribcage.shared.memory.fib_records import Hop

PROBE_PASS = 30  # calls of probe_hosts() that ask about all hosts: the kernel's own REACHABLE time


class KernelLike(Protocol):
    """What is needed of Kernel."""

    @property
    def host_port(self) -> HostPort | None: ...
    def neighbours(self) -> list[NeighbourEvent]: ...
    def resolve(self, ifindex: int, address: Address) -> bool: ...
    def manage(self, ifindex: int, address: Address) -> bool: ...
    def unmanage(self, ifindex: int, address: Address) -> None: ...
    def sweep_managed(self) -> None: ...


class LinkNeighbours:
    """See the module's text. `counters` are shared with Links."""

    def __init__(self, core: Core, kernel: KernelLike, counters: dict[str, int]) -> None:
        self.core = core
        self.kernel = kernel
        self.counters = counters
        self._managed: set[Hop] = set()
        self._to_probe: list[Hop] = []  # whose turn is still to come in this pass

    def lose_port(self, index: int, t0: int) -> None:
        """The port is gone, or another link has its name: nobody is known there any more.

        Not left to the kernel's word about each neighbour, which comes by ifindex and after the
        link's: an interface deleted and made again would keep its index and the old MACs."""
        self._managed = {hop for hop in self._managed if hop.port != index}
        for hop in [hop for hop in self.core.neighbours if hop.port == index]:
            self.core.neighbour(hop, None, t0)

    def hear(self, event: NeighbourEvent, t0: int) -> None:
        """Takes over what the kernel knows; over the plan's limit a host route is refused."""
        core = self.core
        port = core.topology.by_ifindex(event.ifindex)
        if port is None or port.host:
            return
        hop = Hop(port.index, event.address)
        before = core.neighbours.get(hop)
        if event.mac is None and event.state == "gone":
            known = None
        else:
            since = before.since_ns if before is not None and before.mac is not None else t0
            known = Neighbour(event.mac, event.state, since)
        core.neighbour(hop, known, t0)
        resolved = event.mac is not None and is_host(core.topology, hop)
        if resolved and hop not in core.hosts:
            if len(core.hosts) >= core.plan.neighbours.max:
                self.counters["refused"] += 1
                return
            core.hosts.add(hop)
            self._guard(core.announce_host(neighbour_route(hop), t0), hop)
        elif not resolved and hop in core.hosts:
            core.hosts.discard(hop)
            self._guard(core.withdraw_host(neighbour_route(hop), t0), hop)

    def _guard(self, future: "asyncio.Future[Any]", hop: Hop) -> None:
        """A host route that was refused is counted; the packets go by way of glean."""

        def done(finished: "asyncio.Future[Any]") -> None:
            if not finished.cancelled() and finished.exception() is not None:
                self.core.hosts.discard(hop)
                self.counters["refused"] += 1

        future.add_done_callback(done)

    def miss(self, index: int, address: Address) -> None:
        """A worker holds a packet for this address: ask the kernel who it is."""
        self.counters["misses"] += 1
        port = self.core.topology.ports.get(index)
        if port is None or port.host:
            return
        hop = Hop(index, address)
        known = self.core.neighbours.get(hop)
        if known is not None and known.mac is not None and hop in self.core.hosts:
            return  # answered meanwhile; the bell of that publish has rung or will
        self.kernel.resolve(port.ifindex, address)

    def manage_gateways(self) -> None:
        """Keeps the gateways of routes resolved; lets go of those no route uses."""
        core = self.core
        gateways = core.gateways()
        for hop in gateways - self._managed:
            port, gateway = core.topology.ports.get(hop.port), hop.gateway
            if port is not None and gateway and self.kernel.manage(port.ifindex, gateway):
                self._managed.add(hop)
        for hop in self._managed - gateways:
            port = core.topology.ports.get(hop.port)
            if port is not None and hop.gateway is not None:
                self.kernel.unmanage(port.ifindex, hop.gateway)
            self._managed.discard(hop)

    def probe_hosts(self) -> bool:
        """Asks about the next hosts that the kernel is not sure of; False when there is none.

        The kernel never sees transit packets confirm a host, and our raised thresholds keep its
        entry for ever: without this, packets would go to a MAC whose owner left or changed his
        card. An entry that is used (NTF_USE) is probed by unicast and fails when nobody answers,
        which withdraws the host route. Bounded by the plan's number of neighbours over a pass,
        on the wire by the kernel, which asks about a host that answers once in half a minute.
        """
        core = self.core
        share = -(-len(core.hosts) // PROBE_PASS)
        if not self._to_probe:
            self._to_probe = list(core.hosts)
        due, self._to_probe = self._to_probe[:share], self._to_probe[share:]
        for hop in due:
            known, gateway = core.neighbours.get(hop), hop.gateway
            port = core.topology.ports.get(hop.port)
            if port is not None and gateway and known is not None and known.state == STALE:
                self.counters["probed"] += self.kernel.resolve(port.ifindex, gateway)
        return bool(core.hosts)

    def forget_silent(self, told: Iterable[NeighbourEvent], t0: int) -> None:
        """What the FIB still knew of a predecessor's and the kernel did not tell: gone."""
        ports = {port.ifindex: port.index for port in self.core.topology.ports.values()}
        alive = {
            Hop(ports[event.ifindex], event.address) for event in told if event.ifindex in ports
        }
        for hop in [hop for hop in self.core.neighbours if hop not in alive]:
            self.core.neighbour(hop, None, t0)

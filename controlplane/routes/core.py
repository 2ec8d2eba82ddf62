"""The state of the control process: RIB, FIB, links, and the operations on all of them.

    core = Core(plan, rib, fib, reader, publisher options...)
    core.takeover()                 # what a dead predecessor left is in force again
    core.put_port(port)             # a link changed: FIB first, then who is eligible
    await core.sync(STATIC)         # mark, announce, sweep; in slices, the loop goes on

Everything that changes a route or a next hop goes through here or through `publisher`; edges
(kernel, management, channel) call it and are called by nothing in here. One thread.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.fib.entries import Entries
from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.fib.publisher import Publisher
from ribcage.controlplane.fib.publishing import CHANGES
from ribcage.controlplane.fib.reconcile import Reconcile
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.fib.verify import verify
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.nexthops import Nexthops
from ribcage.controlplane.routes.source_sync import SourceSync
from ribcage.controlplane.routes.sources.contract import Inputs, Source
from ribcage.controlplane.routes.sources.neighbour import NEIGHBOUR
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.wanted import Rejected, Wanted
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import Hop, Port
from ribcage.shared.memory.rows import new_rows, rows_of
from ribcage.shared.plan import Plan
from ribcage.shared.process.log import Log


@dataclass(slots=True)
class Taken:
    """What a takeover found and did; times in ns."""

    replayed: int = 0
    everything: bool = False
    sets: int = 0
    nanoseconds: int = 0


class Core:
    """See the module's text. `fib` is the adapter of the FIB's writer; `bells` and `on_publish`
    are the publisher's."""

    def __init__(
        self,
        plan: Plan,
        rib: Rib,
        fib: FibTables,
        reader: FibReader,
        *,
        bells: Callable[[], int] = lambda: 0,
        on_publish: Callable[[], None] = lambda: None,
        log: Log = lambda *_, **__: None,
    ) -> None:
        self.rib = rib
        self.fib = fib
        self.reader = reader
        self.log = log
        self.inputs = Inputs(plan)
        self.topology = self.inputs.topology
        self.neighbours = self.inputs.neighbours
        self.hosts = self.inputs.hosts  # neighbours that have a host route
        self.forwarding = Forwarding(fib, self.topology, self.neighbours)
        self.nexthops = Nexthops(rib, self.forwarding, fib.guard)
        self.entries = Entries(rib, fib)
        generation = reader.generation
        stamp = reader.stamp(generation)
        self.publisher = Publisher(
            rib,
            self.entries,
            self.forwarding,
            fib=fib,
            open_changes=self.entries.open_changes,
            bells=bells,
            on_publish=on_publish,
            max_delay=plan.fib.max_delay,
            max_batch=plan.fib.max_batch,
            update_id=stamp.update_id if stamp is not None else generation,
            generation=generation,
            unpublished=fib.writer.unpublished,
            log=log,
        )
        self.reconcile = Reconcile(self.entries, self.publisher, log)
        self._changes = new_rows(CHANGES)
        self._sources = SourceSync(self.inputs, rib, self.nexthops, self.publisher, log)
        self._reselecting: asyncio.Task[None] | None = None
        self._links_known = True
        rib.limit(NEIGHBOUR.number, plan.neighbours.max)

    @property
    def plan(self) -> Plan:
        return self.inputs.plan

    def replan(self, plan: Plan) -> None:
        """Another plan, and its limits; its routes are in force after the next `sync`s."""
        self.inputs.plan = plan
        self.publisher.limit(plan.fib.max_delay, plan.fib.max_batch)
        self.rib.limit(NEIGHBOUR.number, plan.neighbours.max)

    # -- takeover

    def takeover(self, fib_is_new: bool, ports: Mapping[str, int] | None = None) -> Taken:
        """Puts in force what the RIB holds: sets, links as the FIB knew them, open changes.

        After it every acknowledged update is in the FIB and published; nothing that was right
        is written. About a millisecond, plus the journal; a new FIB takes a walk of the RIB.
        `ports`: the indices that the supervisor has ports by, for a FIB that knows none; what the
        RIB says of dead next hops then counts until `links_known`.

        A FIB with groups that the RIB does not know is none that its RIB made: all is compared
        before a number is given out again.
        """
        start = time.monotonic_ns()
        rows = self.rib.counts().rows
        self.forwarding.recover()
        self.forwarding.restore()
        if fib_is_new:
            self.topology.indices |= ports or {}
            self._links_known = rows == 0
        self.nexthops.load()
        taken = Taken(sets=len(self.forwarding.sets))
        recovery = self.rib.recovery
        if fib_is_new and rows:
            self.rib.republish_all()
        switched = self.reconcile.begin(self.plan.fib.aggregate)
        strange = bool(self.forwarding.strays(set(self.forwarding.sets)))
        if (fib_is_new and rows) or recovery.everything or switched or strange:
            taken.everything = True
            taken.replayed = self.reconcile.compare(start)
        else:
            taken.replayed = self.publisher.replay(start)
        self.reconcile.begun(self.plan.fib.aggregate)
        news = self._links_known and self.nexthops.update_liveness()
        if recovery.reselect or news:
            self._reselect_now(start)
        self.publisher.flush()
        self.rib.published(self.rib.changed())
        if strange:
            self.log("warning", "group.strays", cleared=self.clear_strays())
        taken.nanoseconds = time.monotonic_ns() - start
        return taken

    def links_known(self) -> None:
        """The kernel has told every link: from now on they say which next hops are dead."""
        if not self._links_known:
            self._links_known = True
            self.links_changed()

    def clear_strays(self) -> int:
        """Groups that a death left in the FIB and no set of the RIB names: cleared."""
        strays = self.forwarding.strays(set(self.forwarding.sets))
        with self.fib.guard():
            for group in strays:
                try:
                    self.forwarding.forget(group)
                except RibcageError as error:  # a route names it: verify will say so
                    self.log("error", "group.stray", group=group, why=error.message)
        return len(strays)

    async def verify(self, samples: int = 100_000, seed: int = 7) -> dict[str, Any]:
        """RIB, FIB and real lookups compared: fib/verify.py."""
        return await verify(self.entries, self.forwarding, self.reader, samples, seed)

    # -- links and neighbours

    def put_port(self, port: Port, t0: int | None = None) -> None:
        """A port is new or changed. The FIB's words first, then which routes are eligible."""
        with self.fib.guard():
            self.forwarding.put_port(port)
        self.links_changed(t0)

    def drop_port(self, index: int, t0: int | None = None) -> None:
        with self.fib.guard():
            self.forwarding.drop_port(index)
        self.links_changed(t0)

    def links_changed(self, t0: int | None = None) -> None:
        """Publishes changed words; lets runners-up take over where next hops died."""
        if self.forwarding.changed:
            self.publisher.touch(t0 or time.monotonic_ns())
        if self._links_known and self.nexthops.update_liveness():
            self.reselect(t0)

    def neighbour(self, hop: Hop, known: Neighbour | None, t0: int | None = None) -> bool:
        """An adjacency's MAC came, changed or went; True when the FIB was touched."""
        with self.fib.guard():
            changed = self.forwarding.neighbour(hop, known)
        if changed:
            self.publisher.touch(t0 or time.monotonic_ns())
        return changed

    def gateways(self) -> set[Hop]:
        """Hops that routes go through, host routes of neighbours not counted."""
        found = set()
        for number, nexthops in self.forwarding.sets.items():
            hops = [hop for hop in nexthops.hops() if hop.gateway is not None]
            own = 1 if len(hops) == 1 and hops[0] in self.hosts else 0
            if hops and self.rib.nexthop_refs(number) > own:
                found.update(hops)
        return found

    # -- selection after liveness changed

    def reselect(self, t0: int | None = None) -> None:
        """Selects for the prefixes of changed sets again: the first slice now, the rest later."""
        if self._reselecting is not None and not self._reselecting.done():
            return  # the pass under way starts over by itself: the RIB remembers
        since = t0 or time.monotonic_ns()
        if self._reselect_slice(since):
            self._reselecting = asyncio.get_running_loop().create_task(self._reselect_rest(since))
        self.publisher.flush()

    def _reselect_slice(self, t0: int) -> bool:
        step = self.rib.reselect(self._changes, CHANGES)
        self.publisher.forward(self._changes, step.changes, t0)
        return step.more

    def _reselect_now(self, t0: int) -> None:
        while self._reselect_slice(t0):
            pass

    async def _reselect_rest(self, t0: int) -> None:
        more = True
        while more:
            await asyncio.sleep(0)
            more = self._reselect_slice(t0)
            self.publisher.flush()

    # -- whole sources

    @property
    def rejected(self) -> list[Rejected]:
        """Routes a source asked for and cannot have now."""
        return self._sources.rejections.all()

    async def sync(self, source: Source) -> int:
        """Mark, announce, sweep: source_sync.py. Returns the routes refused."""
        return await self._sources.sync(source)

    # -- one neighbour's host route

    def announce_host(self, route: Wanted, t0: int) -> "asyncio.Future[Any]":
        """The host route of one resolved neighbour, published with the next batch."""
        number = self.nexthops.intern(route.nexthops, popular=NEIGHBOUR.popular)
        return self.publisher.submit(rows_of([route.row(number)]), 1, t0)

    def withdraw_host(self, route: Wanted, t0: int) -> "asyncio.Future[Any]":
        return self.publisher.submit(rows_of([route.row(0)]), 1, t0)

"""Next-hop sets by number: interned in the RIB segment, made a group in the FIB. Control only.

    number = nexthops.intern(nexthop_set([...]))     # RIB node, FIB group and adjacencies exist
    nexthops.load()                                  # takeover: every set of the RIB again
    again = nexthops.update_liveness()               # tell the RIB which sets died or came back
    nexthops.reclaim()                               # housekeeping: forget sets no route uses

A number is given back in three steps, none of which a worker could mistake, each two publishes
after the one before (fib_layout.h: a batch that began before them has ended or is repeated):
no route names it, its group is cleared, the RIB forgets it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from ribcage.shared._core import lib

from ribcage.controlplane.fib.forwarding import REUSE_AFTER, Forwarding
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import NexthopSet, eligible


class Nexthops:
    """See the module's text. `guard` is the FIB writer's batch."""

    def __init__(
        self,
        rib: Rib,
        forwarding: Forwarding,
        guard: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.rib = rib
        self.forwarding = forwarding
        self.guard = guard
        self._numbers: dict[NexthopSet, int] = {}
        self._idle: dict[int, int] = {}  # named by no route: number -> publish count then
        self._leaving: dict[int, int] = {}  # cleared: number -> publish count then
        self.pinned: dict[int, int] = {}

    def load(self) -> None:
        """Takeover: defines every set the RIB holds; what the FIB has right is not written."""
        with self.guard():
            for number in self.rib.nexthops():
                nexthops = self.rib.nexthop(number)
                if nexthops is None:
                    continue
                self._numbers.setdefault(nexthops, number)  # the lower one of two that are equal
                if self.rib.nexthop_dead(number):
                    self.forwarding.dead.add(number)
                self.forwarding.define(number, nexthops)

    def intern(self, nexthops: NexthopSet, like: int | None = None, popular: bool = True) -> int:
        """The number of an equal set, new if need be; its group is in the FIB on return.

        `like`: a set it grew out of, whose flows stay where they can. `popular`: False for the
        set of one on-link host; when routes want the same set later, it gets a second, small
        number, and the host route follows when it is announced next. E_NEXTHOPS, E_ADJACENCIES
        when a table is full.
        """
        known = self._numbers.get(nexthops)
        if known is not None and known not in self._leaving:
            number = known
            if popular and known >= lib.RIB_POPULAR:
                number = self.rib.nexthop_intern(nexthops)
            if number == known:
                self._idle.pop(number, None)
                return number
            like = known
        else:
            number = self.rib.nexthop_intern(nexthops, popular)
        self._leaving.pop(number, None)
        self._idle.pop(number, None)
        with self.guard():
            self.forwarding.define(number, nexthops, like)
        self._numbers[nexthops] = number
        dead = not eligible(nexthops, self.forwarding.topology.alive)
        if dead != (number in self.forwarding.dead):
            self._set_dead(number, dead)
        return number

    def pin(self, number: int) -> None:
        """Keeps a set that no route names yet (a load in progress) from being reclaimed."""
        self.pinned[number] = self.pinned.get(number, 0) + 1

    def unpin(self, number: int) -> None:
        left = self.pinned.get(number, 0) - 1
        if left > 0:
            self.pinned[number] = left
        else:
            self.pinned.pop(number, None)

    def update_liveness(self) -> bool:
        """Tells the RIB which sets died or came back; True when it has to select again."""
        died, revived = self.forwarding.liveness_changes()
        news = [self.rib.set_dead(number, True) for number in died]
        news += [self.rib.set_dead(number, False) for number in revived]
        return any(news)

    def _set_dead(self, number: int, dead: bool) -> None:
        if dead:
            self.forwarding.dead.add(number)
        else:
            self.forwarding.dead.discard(number)
        self.rib.set_dead(number, dead)

    def reclaim(self, publishes: int) -> int:
        """One look for sets that no route names. `publishes`: how many there were so far.

        Returns how many are on their way out: look again after the next publishes.
        """
        unused = [
            number
            for number in self.rib.nexthops()
            if number not in self.pinned and self.rib.nexthop_refs(number) == 0
        ]
        self._idle = {number: self._idle.get(number, publishes) for number in unused}
        with self.guard():
            for number, since in self._idle.items():
                if number not in self._leaving and publishes >= since + REUSE_AFTER:
                    nexthops = self.forwarding.sets.get(number)
                    self.forwarding.forget(number)
                    if nexthops is not None and self._numbers.get(nexthops) == number:
                        del self._numbers[nexthops]
                    self._leaving[number] = publishes
            self.forwarding.tidy()
        for number, since in list(self._leaving.items()):
            if publishes >= since + REUSE_AFTER and self.rib.nexthop_delete(number):
                del self._leaving[number]
                del self._idle[number]
        return len(self._idle)

"""Compares RIB, FIB and lookups all the time, so that damage is found before a packet asks.

    audit = Audit(entries, forwarding, reader)
    wrong = audit.slice(0.002)          # at most about so many seconds of CPU; [] as a rule
    audit.state.rounds                  # whole rounds so far

A round: every row slot of the RIB (is it what its chain says, has the FIB its best); every route of
the FIB (does the RIB want it) with lookups at each place where another word answers
(csrc/verify/audit.h); every group, adjacency and port record, and which next hops are dead; of a
table of up to WHOLE routes, whether counts and digest are those of its routes. Each
part has a cursor that any change may pass, so the slices lie between other work.

It changes no table. Two things are put right here, since they are control's own words about its own
state: a group that does not fit its links, and a set's liveness in the RIB. All else is told as a
Difference. E_DAMAGED: the RIB is no table any more. A slice is left out while something waits to
be published: the tables differ then, and should. Control only.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.entries import Entries
from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.values.nexthop import eligible
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fields import prefix_of, read_address
from ribcage.shared.memory.rows import new_rows

ROWS = 1024  # row slots of a step: about 0.5 ms when nothing is in the cache
LOOKUPS = 2048  # of a step
IDS = 2048  # ids of a step; those in use are steps of their own: Python makes values of them
_KINDS = {
    lib.AUDIT_ROUTE: "route",
    lib.AUDIT_LOOKUP: "lookup",
    lib.AUDIT_STRUCTURE: "structure",
}
Read = Callable[[int], object]
WHOLE = 100_000  # routes: 10 ms of a walk
MOST = 64  # differences of a step; there is nothing to be learnt from more


@dataclass(frozen=True, slots=True)
class Difference:
    """`what`: route, lookup, group, adjacency or port. `wanted` and `found` are for people."""

    what: str
    which: str
    wanted: str
    found: str

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "id": self.which, "rib": self.wanted, "fib": self.found}


@dataclass(slots=True)
class AuditState:
    """For `fib show` and the counters. Times are time.monotonic()."""

    rounds: int = 0
    slices: int = 0
    skipped: int = 0
    routes: int = 0
    """Of the FIB, in the last whole round."""
    lookups: int = 0
    seconds: float = 0.0
    """The last whole round took so long, and so much CPU."""
    cpu: float = 0.0
    ended: float = 0.0
    found: int = 0
    liveness: int = 0
    """Groups and dead marks that did not fit the links, and do now."""


class Audit:
    """See the module's text."""

    def __init__(self, entries: Entries, forwarding: Forwarding, reader: FibReader) -> None:
        self.state = AuditState()
        self.reselect = False
        """A set's liveness was put right: the caller has the RIB select again."""
        self._entries = entries
        self._forwarding = forwarding
        self._reader = reader
        self._routes = ffi.new("struct rib_route[]", ROWS)
        self._rows = new_rows(ROWS)
        self._out = ffi.new("struct audit_difference[]", MOST)
        self._work = ffi.new("struct audit_work *")
        self._steps: Iterator[list[Difference]] | None = None
        self._began = self._cpu = 0.0

    def again(self) -> None:
        """The tables are others now: the round begins anew."""
        self._steps = None

    @property
    def under_way(self) -> bool:
        return self._steps is not None

    def slice(self, seconds: float) -> list[Difference]:
        """A part of the round. Ends early with what it found, or with the round."""
        state, writer = self.state, self._entries.fib.writer
        if writer.unpublished or self._entries.rib.fib_state() == lib.RIB_FIB_BETWEEN:
            state.skipped += 1
            return []
        state.slices += 1
        start = time.thread_time()
        if self._steps is None:
            self._steps, self._began, self._cpu = self._round(), time.monotonic(), 0.0
        try:
            while time.thread_time() - start < seconds:
                found = next(self._steps, None)
                if found is None:
                    self._ended()
                    return []
                if found:
                    state.found += len(found)
                    return found
            return []
        finally:
            self._cpu += time.thread_time() - start

    def _ended(self) -> None:
        state = self.state
        self._steps = None
        state.rounds += 1
        state.ended = time.monotonic()
        state.seconds, state.cpu = state.ended - self._began, self._cpu
        state.routes, state.lookups = int(self._work.routes), int(self._work.lookups)

    # -- a round: each step yields what it found

    def _round(self) -> Iterator[list[Difference]]:
        yield from self._rib_rows()
        yield from self._answers()
        yield from self._records()
        yield self._whole()

    def _whole(self) -> list[Difference]:
        """What a successor would refuse to take over: routes that no longer add up. One walk, so
        it is left out where it would hold the loop up."""
        published = self._entries.fib.writer.published()
        if published["routes4"] + published["routes6"] > WHOLE or self._entries.fib.writer.check():
            return []
        return [Difference("structure", "fib", "routes that add up", "other counts or digest")]

    def _rib_rows(self) -> Iterator[list[Difference]]:
        entries, slot = self._entries, 1
        while slot:
            count, slot = entries.rib.scan(slot, ROWS, self._routes)
            wrong = lib.verify_routes(
                entries.fib.writer.handle, entries.handle, self._routes, count, self._rows
            )
            yield [self._missing(self._rows[i]) for i in range(min(wrong, MOST))]

    def _answers(self) -> Iterator[list[Difference]]:
        entries = self._entries
        cursor = ffi.new("struct audit_cursor *")
        self._work.routes = self._work.lookups = 0
        while cursor.family < 7:
            count = lib.audit_slice(
                entries.rib.handle, entries.handle, entries.fib.writer.handle,
                self._reader.handle, cursor, LOOKUPS, self._out, MOST, self._work,
            )  # fmt: skip
            yield [self._other(self._out[i]) for i in range(max(0, count))]

    def _records(self) -> Iterator[list[Difference]]:
        """What control wrote, against what stands there; ids that nothing should stand at, too."""
        forwarding, reader = self._forwarding, self._reader
        tables: tuple[tuple[str, Read, Read], ...] = (
            ("group", forwarding.group, reader.group),
            ("adjacency", forwarding.adjacency, reader.adjacency),
            ("port", forwarding.port, reader.port),
        )
        for what, wanted, read in tables:
            for ids in self._entries.fib.ids(what, IDS):
                yield []
                for number in (n for n in ids if n or what == "port"):
                    if self._entries.fib.is_set(what, number) or wanted(number) is not None:
                        yield self._record(what, number, wanted(number), read)
        for number in list(forwarding.sets):
            self._liveness(number)
            yield []

    def _record(self, what: str, number: int, right: object, read: Read) -> list[Difference]:
        try:
            held: object = read(number)
        except (RibcageError, ValueError) as error:  # no kind or family of this build
            held = f"unreadable: {error}"
        return [] if right == held else [Difference(what, str(number), str(right), str(held))]

    def _liveness(self, number: int) -> None:
        forwarding, rib = self._forwarding, self._entries.rib
        nexthops = forwarding.sets.get(number)
        if nexthops is None or rib.nexthop(number) is None:
            return  # on its way out
        dead = not eligible(nexthops, forwarding.topology.alive)
        if dead != (number in forwarding.dead) or dead != rib.nexthop_dead(number):
            self.state.liveness += 1
            (forwarding.dead.add if dead else forwarding.dead.discard)(number)
            self.reselect = rib.set_dead(number, dead) or self.reselect
        if not forwarding.fits(number):
            self.state.liveness += 1
            with self._entries.fib.guard():
                forwarding.refresh(number)

    # -- in words

    def _missing(self, row: Any) -> Difference:
        writer, text = self._entries.fib.writer, self._forwarding.text
        has = int(lib.fib_exact(writer.handle, ffi.addressof(row)))
        return Difference("route", str(prefix_of(row)), text(row.nexthop), text(has))

    def _other(self, one: Any) -> Difference:
        what = _KINDS[one.kind]
        address = str(read_address(one.address, one.family))
        which = address if what == "lookup" else f"{address}/{one.length}"
        text = self._forwarding.text
        return Difference(what, which, text(one.wanted), text(one.found))

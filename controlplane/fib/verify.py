"""`fib verify`: RIB, FIB and real lookups compared.

    report = await verify(entries, forwarding, reader, samples=100_000, seed=7)

The tables are walked in slices with a turn of the loop between them, so updates go on meanwhile;
a difference is looked at once more, alone, before it is counted. The work on rows is in C
(csrc/verify/verify.c). Time is linear in routes, samples and differences; no slice holds the loop
for longer than SLICE seconds, and memory holds MAX_REPORTED differences, whatever their number. A
difference is a bug or a damaged segment: never repaired here, only told. The run ends with its
task: whoever asked and went away cancels it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.compare import missing, rib_slices, surplus
from ribcage.controlplane.fib.entries import Entries
from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.fib.records import adjacency_record
from ribcage.controlplane.values.nexthop import group_plan
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fields import prefix_of, read_address
from ribcage.shared.memory.rows import ROW_BYTES, new_rows

MAX_REPORTED = 100
LOOKUPS = 2048  # of one call
SLICE = 0.02  # seconds between two turns of the loop


async def verify(
    entries: Entries,
    forwarding: Forwarding,
    reader: FibReader,
    samples: int = 100_000,
    seed: int = 7,
) -> dict[str, Any]:
    """The report of `fib verify`: {rib, fib4, fib6, differences, count, samples, seconds}."""
    return await _Verification(entries, forwarding, reader).run(samples, seed)


class _Verification:
    """One run, and what it has found so far: `count` is exact, `found` the first of them."""

    def __init__(self, entries: Entries, forwarding: Forwarding, reader: FibReader) -> None:
        self.entries = entries
        self.rib, self.fib = entries.rib, entries.fib
        self.forwarding = forwarding
        self.reader = reader
        self.count = 0
        self.found: list[dict[str, Any]] = []
        self._turn = time.monotonic() + SLICE

    async def run(self, samples: int, seed: int) -> dict[str, Any]:
        start = time.monotonic()
        rib_routes = await self._compare(missing(self.entries), self._lacks)
        await self._compare(surplus(self.entries), self._has_more)
        await self._check_groups()
        self._check_aggregation()
        await self._lookups(samples, seed)
        if not self.fib.writer.check():
            self._differs({"what": "digest", "detail": "the FIB's counts do not fit its routes"})
        published = self.fib.writer.published()
        return {
            "rib": rib_routes,
            "fib4": published["routes4"],
            "fib6": published["routes6"],
            "generation": published["generation"],
            "samples": samples,
            "seed": seed,
            "differences": self.found,
            "count": self.count,
            "seconds": round(time.monotonic() - start, 6),
        }

    async def _others(self) -> None:
        """Lets the loop have its turn when it is due."""
        if time.monotonic() >= self._turn:
            await asyncio.sleep(0)
            self._turn = time.monotonic() + SLICE

    def _differs(self, one: dict[str, Any]) -> None:
        self.count += 1
        if len(self.found) < MAX_REPORTED:
            self.found.append(one)

    # -- routes

    async def _compare(
        self, slices: Iterator[tuple[Any, int, int]], mine: Callable[[int, int], bool]
    ) -> int:
        """Counts the rows of each slice; a suspect is looked at again when it is told of."""
        total = 0
        for out, suspects, seen in slices:
            total += seen
            # The slice lies in an array that the next one uses again; changes may come between.
            rows = new_rows(suspects)
            ffi.memmove(rows, out, suspects * ROW_BYTES)
            for i in range(suspects):
                self._recheck(rows[i], mine)
                await self._others()
            await self._others()
        return total

    @staticmethod
    def _lacks(wanted: int, has: int) -> bool:
        """What the walk of the RIB counts."""
        return wanted != 0 and wanted != has

    @staticmethod
    def _has_more(wanted: int, has: int) -> bool:
        """What is left for the walk of the FIB: a prefix is counted once."""
        return wanted == 0 and has != 0

    def _recheck(self, row: Any, mine: Callable[[int, int], bool]) -> None:
        stage = self.entries.handle
        wanted = int(lib.verify_wanted(self.rib.handle, stage, ffi.addressof(row)))
        has = int(lib.fib_exact(self.fib.writer.handle, ffi.addressof(row)))
        if not mine(wanted, has):
            return
        if len(self.found) >= MAX_REPORTED:
            self.count += 1
            return
        prefix = prefix_of(row)
        self._differs(
            {
                "what": "route",
                "dst": str(prefix),
                "rib": self.forwarding.text(wanted) if wanted else self._unwanted(prefix),
                "fib": self.forwarding.text(has),
            }
        )

    def _unwanted(self, prefix: Network) -> str:
        return "no route" if self.rib.best(prefix) is None else "aggregated: no entry"

    def _check_aggregation(self) -> None:
        """What aggregation takes for the routes in force; their groups show in the lookups."""
        if self.entries.aggregation is None:
            return
        known, selected = self.entries.aggregation.counts(), self.rib.counts().selected
        if (known["routes4"], known["routes6"]) != selected:
            self._differs({"what": "aggregation", "rib": list(selected), "aggregation": known})

    # -- records

    async def _check_groups(self) -> None:
        """Every group and adjacency in the segment against what its set should look like now."""
        forwarding = self.forwarding
        for number in list(forwarding.sets):
            if number in forwarding.sets:
                self._check_group(number)
            await self._others()
        for number, record in self.fib.read_adjacencies():
            if forwarding.adjacency_of(record.hop) == number:  # else kept for readers a while
                port = forwarding.topology.ports.get(record.hop.port)
                right = adjacency_record(record.hop, port, forwarding.neighbours.get(record.hop))
                if record != right:
                    self._record("adjacency", number, str(right), str(record))
            await self._others()

    def _check_group(self, number: int) -> None:
        forwarding = self.forwarding
        group = self.reader.group(number)
        wanted = group_plan(
            forwarding.sets[number],
            forwarding.topology.alive,
            lambda hop: forwarding.adjacency_of(hop) or 0,
            group.buckets if group is not None else (),
        )
        if group != wanted:
            self._record("group", number, forwarding.text(number), str(group))

    def _record(self, what: str, number: int, rib: str, fib: str) -> None:
        self._differs({"what": what, "id": number, "rib": rib, "fib": fib})

    # -- lookups

    async def _lookups(self, samples: int, seed: int) -> None:
        """Random addresses through the reader's engine and through the RIB's longest match."""
        out = ffi.new("struct lookup_difference[]", LOOKUPS)
        state = ffi.new("uint64_t *", seed or 1)
        left = samples
        while left > 0:
            progressed = False
            for routes, known in rib_slices(self.entries):
                n = min(LOOKUPS, left)
                wrong = lib.verify_lookups(
                    self.rib.handle, self.reader.handle, routes, known, state, n, out, LOOKUPS
                )
                left -= n
                progressed = True
                for i in range(wrong):
                    self._differs(self._lookup(out[i]) if len(self.found) < MAX_REPORTED else {})
                await self._others()
                if left <= 0:
                    break
            if not progressed:
                break

    def _lookup(self, wrong: Any) -> dict[str, Any]:
        return {
            "what": "lookup",
            "address": str(read_address(wrong.address, wrong.family)),
            "rib": self.forwarding.text(wrong.rib),
            "fib": self.forwarding.text(wrong.fib),
        }

"""`fib verify`: RIB, FIB and real lookups compared.

    report = await verify(entries, forwarding, reader, samples=100_000, seed=7)

The tables are walked in slices with a turn of the loop between them, so updates go on meanwhile;
a difference is looked at once more, alone, before it is reported. The work on rows is in C
(csrc/verify/verify.c). A difference is a bug or a damaged segment: never repaired here, only told.
"""

import asyncio
import time
from collections.abc import Iterator
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

MAX_REPORTED = 100
LOOKUPS = 2048  # between two turns of the loop


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
    """One run, and what it has found so far."""

    def __init__(self, entries: Entries, forwarding: Forwarding, reader: FibReader) -> None:
        self.entries = entries
        self.rib, self.fib = entries.rib, entries.fib
        self.forwarding = forwarding
        self.reader = reader
        self.found: list[dict[str, Any]] = []

    async def run(self, samples: int, seed: int) -> dict[str, Any]:
        start = time.monotonic()
        found = self.found
        rib_routes = await self._compare(missing(self.entries))
        await self._compare(surplus(self.entries))
        count = len(found) + self._check_groups() + self._check_aggregation()
        count += await self._lookups(samples, seed)
        if not self.fib.writer.check():
            count += 1
            found.append({"what": "digest", "detail": "the FIB's counts do not fit its routes"})
        published = self.fib.writer.published()
        return {
            "rib": rib_routes,
            "fib4": published["routes4"],
            "fib6": published["routes6"],
            "generation": published["generation"],
            "samples": samples,
            "seed": seed,
            "differences": found[:MAX_REPORTED],
            "count": count,
            "seconds": round(time.monotonic() - start, 6),
        }

    async def _compare(self, slices: Iterator[tuple[Any, int, int]]) -> int:
        """Looks at suspects again at once, in the same turn; one that stays is a difference."""
        total = 0
        for out, suspects, seen in slices:
            total += seen
            for i in range(suspects):
                self._recheck(out[i])
            await asyncio.sleep(0)
        return total

    def _recheck(self, row: Any) -> None:
        stage = self.entries.handle
        wanted = int(lib.verify_wanted(self.rib.handle, stage, ffi.addressof(row)))
        has = int(lib.fib_exact(self.fib.writer.handle, ffi.addressof(row)))
        prefix = prefix_of(row)
        if wanted != has and all(one.get("dst") != str(prefix) for one in self.found):
            self.found.append(
                {
                    "what": "route",
                    "dst": str(prefix),
                    "rib": self.forwarding.text(wanted) if wanted else self._unwanted(prefix),
                    "fib": self.forwarding.text(has),
                }
            )

    def _unwanted(self, prefix: Network) -> str:
        return "no route" if self.rib.best(prefix) is None else "aggregated: no entry"

    def _check_aggregation(self) -> int:
        """What aggregation takes for the routes in force; their groups show in the lookups."""
        if self.entries.aggregation is None:
            return 0
        known, selected = self.entries.aggregation.counts(), self.rib.counts().selected
        if (known["routes4"], known["routes6"]) == selected:
            return 0
        self.found.append({"what": "aggregation", "rib": list(selected), "aggregation": known})
        return 1

    def _check_groups(self) -> int:
        """Every group and adjacency in the segment against what its set should look like now."""
        before = len(self.found)
        forwarding = self.forwarding
        held = dict(self.fib.read_groups())
        for number, nexthops in forwarding.sets.items():
            group = held.get(number)
            previous = group.buckets if group is not None else ()
            wanted = group_plan(
                nexthops,
                forwarding.topology.alive,
                lambda hop: forwarding.adjacency_of(hop) or 0,
                previous,
            )
            if group != wanted:
                self._differs("group", number, forwarding.text(number), str(group))
        for number, record in self.fib.read_adjacencies():
            if forwarding.adjacency_of(record.hop) != number:
                continue  # lingering for readers that still hold it
            port = forwarding.topology.ports.get(record.hop.port)
            right = adjacency_record(record.hop, port, forwarding.neighbours.get(record.hop))
            if record != right:
                self._differs("adjacency", number, str(right), str(record))
        return len(self.found) - before

    def _differs(self, what: str, number: int, rib: str, fib: str) -> None:
        self.found.append({"what": what, "id": number, "rib": rib, "fib": fib})

    async def _lookups(self, samples: int, seed: int) -> int:
        """Random addresses through the reader's engine and through the RIB's longest match."""
        out = ffi.new("struct lookup_difference[]", MAX_REPORTED)
        state = ffi.new("uint64_t *", seed or 1)
        count, left = 0, samples
        while left > 0:
            progressed = False
            for routes, known in rib_slices(self.entries):
                n = min(LOOKUPS, left)
                wrong = lib.verify_lookups(
                    self.rib.handle, self.reader.handle, routes, known, state, n, out, MAX_REPORTED
                )
                left -= n
                progressed = True
                count += wrong
                self.found.extend(self._lookup(out[i]) for i in range(wrong))
                await asyncio.sleep(0)
                if left <= 0:
                    break
            if not progressed:
                break
        return count

    def _lookup(self, wrong: Any) -> dict[str, Any]:
        return {
            "what": "lookup",
            "address": str(read_address(wrong.address, wrong.family)),
            "rib": self.forwarding.text(wrong.rib),
            "fib": self.forwarding.text(wrong.fib),
        }

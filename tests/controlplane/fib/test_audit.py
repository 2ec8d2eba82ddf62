"""The audit: silent beside changes, and no word that a lookup reads can be wrong for a round."""

import asyncio
import errno
import mmap
import random
import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.audit import Audit, Difference
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.nexthop import NexthopSet, Path, host, nexthop_set
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import Hop
from ribcage.shared.memory.rows import Row, rows_of

LENGTHS4 = (8, 12, 16, 19, 22, 24, 24, 24, 27, 30, 32)
LENGTHS6 = (20, 28, 32, 40, 44, 48, 48, 56, 64, 96, 128)
FLIPS = 48
ROUTES = 1200


def sets() -> list[NexthopSet]:
    hosts = [host(1 + i % 2, ip_address(f"10.0.{1 + i % 2}.{9 + i}")) for i in range(6)]
    both = nexthop_set(
        [Path(Hop(1, ip_address("10.0.1.90"))), Path(Hop(2, ip_address("10.0.2.90")), 3)]
    )
    return [*hosts, both]


def prefix(chance: random.Random) -> Any:
    """Some far apart, some close together, so that nodes of every depth are made."""
    if chance.random() < 0.5:
        length = chance.choice(LENGTHS4)
        near = 100 << 24 | chance.getrandbits(16) if chance.random() < 0.4 else None
        address = chance.randrange(1 << 24, 223 << 24) if near is None else near
        return ip_network((address >> (32 - length) << (32 - length), length))
    length = chance.choice(LENGTHS6)
    high = 0x20010DB80000 << 80 if chance.random() < 0.6 else 0x2001 << 112
    address = high | chance.getrandbits(20) << 60 | chance.getrandbits(60)
    return ip_network((address >> (128 - length) << (128 - length), length))


def fill(core: Any, chance: random.Random, routes: int) -> list[Row]:
    numbers = [core.nexthops.intern(one) for one in sets()]
    rows = [Row(prefix(chance), chance.choice(numbers), RUNTIME.number, 1) for _ in range(routes)]
    core.publisher.commit(rows_of(rows), len(rows), 1)
    return rows


def audit_of(core: Any) -> Audit:
    return Audit(core.entries, core.forwarding, core.reader)


def whole_round(audit: Audit) -> list[Difference]:
    """From the start to the first difference or the end."""
    audit.again()
    before = audit.state.rounds
    while audit.state.rounds == before:
        found = audit.slice(0.05)
        if found:
            return found
    return []


class Answers:
    """What lookups say at the edges of every prefix and at random: the oracle of a flip."""

    def __init__(self, core: Any, rows: list[Row], chance: random.Random) -> None:
        self.reader = core.reader.handle
        keys = [chance.randbytes(4) for _ in range(4000)]
        keys += [bytes((0x20, 1)) + chance.randbytes(14) for _ in range(4000)]
        for row in rows:
            first, last = int(row.prefix.network_address), int(row.prefix.broadcast_address)
            most = (1 << row.prefix.max_prefixlen) - 1
            keys += [
                address.to_bytes(row.prefix.max_prefixlen // 8)
                for address in (first, last, first - 1, last + 1, chance.randint(first, last))
                if 0 <= address <= most
            ]
        self.keys = ffi.new("struct fib_key[]", len(keys))
        for key, address in zip(self.keys, keys, strict=True):
            ffi.memmove(key.address, address, len(address))
            key.family = 4 if len(address) == 4 else 6
        self.answers = ffi.new("struct fib_answer[]", len(keys))
        self._generation = ffi.new("uint64_t *")

    def now(self) -> bytes:
        for at in range(0, len(self.keys), 64):
            some = min(64, len(self.keys) - at)
            lib.fib_lookup(self.reader, self.keys + at, self.answers + at, some, self._generation)
        return bytes(ffi.buffer(self.answers))


def test_the_audit_is_silent_beside_changes(router: Any) -> None:
    """Routes come and go between slices of half a step; nothing differs, rounds come to an end."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(3)
        router.ports()
        rows = fill(core, chance, ROUTES)
        audit = audit_of(core)
        while audit.state.rounds < 3:
            assert audit.slice(0.0005) == []
            some = chance.sample(rows, 5)
            gone = [Row(row.prefix, 0, RUNTIME.number) for row in some[:2]]
            again = [Row(row.prefix, row.nexthop, RUNTIME.number, 1) for row in some[2:]]
            core.publisher.commit(rows_of(gone + again), 5, 1)
        assert audit.state.found == 0
        assert audit.state.routes > ROUTES // 4

    asyncio.run(scenario())


def test_no_flipped_word_that_a_lookup_reads_is_missed(router: Any) -> None:
    """Bits of the FIB are flipped one at a time, in nodes, groups, adjacencies and directories.
    Wherever an answer changes, the next round says so; put back, the round is silent again."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(5)
        router.ports()
        rows = fill(core, chance, ROUTES)
        audit, answers = audit_of(core), Answers(core, rows, chance)
        assert whole_round(audit) == []
        good = answers.now()
        writer = core.fib.writer
        geometry, high = writer.geometry(), writer.published()["high_water"]
        words = ffi.cast("uint32_t *", writer.mapped.address)
        visible = 0
        for flip in range(FLIPS):
            if flip % 4:
                at = chance.randrange(geometry["arena_at"] * 16, (high + 1) * 16)
            else:  # a directory word
                table = chance.choice(("groups", "adjacencies"))
                at = geometry[f"{table}_at"] * 16 + chance.randrange(1, 8)
            before = words[at]
            words[at] = before ^ (1 << chance.randrange(32))
            changed = answers.now() != good
            found = whole_round(audit)
            visible += changed
            assert found or not changed, f"word {at} of the segment, {before:#x}"
            words[at] = before
        assert visible > FLIPS // 16
        assert whole_round(audit) == [] and answers.now() == good

    asyncio.run(scenario())


def test_routes_that_do_not_add_up_are_found_before_a_successor_refuses_them(router: Any) -> None:
    """Whoever takes the FIB over counts its routes; a wrong digest is told while control lives."""
    core = router.core

    async def scenario() -> None:
        router.ports()
        fill(core, random.Random(3), 50)
        audit = audit_of(core)
        assert whole_round(audit) == []
        core.fib.writer._header.published.digest ^= 1
        assert [one.what for one in whole_round(audit)] == ["structure"]
        core.fib.writer._header.published.digest ^= 1
        assert whole_round(audit) == []

    asyncio.run(scenario())


def refused_by_a_successor(core: Any) -> bool:
    """Whether a copy of the segment can be taken over: what the next control would find."""
    mapped = core.fib.writer.mapped
    with mmap.mmap(-1, mapped.size) as copy, ffi.from_buffer(copy) as base:
        ffi.memmove(base, ffi.cast("char *", mapped.address), mapped.size)
        found = ffi.new("struct fib_recovery *")
        successor = lib.fib_writer_open_locked(base, mapped.size, ffi.NULL, found)
        if successor == ffi.NULL:
            assert found.error == -errno.EBADMSG
            return True
        lib.fib_writer_close(successor)
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_no_flipped_word_that_a_successor_would_refuse_is_missed(router: Any, seed: int) -> None:
    """Bits of words in use, one at a time, in every part of the segment that is not the head: for
    each that makes the FIB no table to the next control, the round of this one says so."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(seed)
        router.ports()
        fill(core, chance, 300)
        audit = audit_of(core)
        assert whole_round(audit) == [] and not refused_by_a_successor(core)
        writer = core.fib.writer
        geometry, high = writer.geometry(), writer.published()["high_water"]
        words = ffi.cast("uint32_t *", writer.mapped.address)
        parts = [(geometry[f"{part}_at"] * 16, 16) for part in ("groups", "adjacencies", "ports")]
        parts += [(geometry["arena_at"] * 16, (high + 1 - geometry["arena_at"]) * 16)] * 6
        used = [[at + i for i in range(size) if words[at + i]] for at, size in parts]
        refused = 0
        for _ in range(100):
            at, bit = chance.choice(chance.choice(used)), 1 << chance.randrange(32)
            words[at] ^= bit
            if refused_by_a_successor(core):
                refused += 1
                assert whole_round(audit), f"word {at}, bit {bit:#x}"
            words[at] ^= bit
        assert refused > 10 and whole_round(audit) == []

    asyncio.run(scenario())


def test_an_intent_that_looks_open_between_two_changes_is_found(router: Any) -> None:
    """The next control would store its word, whatever that is."""
    core = router.core

    async def scenario() -> None:
        router.ports()
        fill(core, random.Random(3), 50)
        intent = core.fib.writer._header.intent
        intent.sequence ^= 1
        assert [one.what for one in whole_round(audit_of(core))] == ["structure"]
        intent.sequence ^= 1
        assert whole_round(audit_of(core)) == []

    asyncio.run(scenario())


def test_a_row_of_the_rib_that_was_overwritten_is_damage_and_not_news(router: Any) -> None:
    """A prefix changed in place: the RIB is refused as a whole, and the FIB is not made to fit."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(9)
        router.ports()
        fill(core, chance, 200)
        rib = core.rib.memory
        header = ffi.cast("struct rib_header *", rib.address)
        row = ffi.cast("struct rib_row *", rib.address + header.geometry.rows_at * 64) + 50
        row.prefix[1] ^= 4
        with pytest.raises(RibcageError, match="does not hold together") as caught:
            whole_round(audit_of(core))
        assert caught.value.code == "E_DAMAGED"

    asyncio.run(scenario())


def test_a_set_that_the_rib_takes_for_dead_by_mistake_is_alive_again(router: Any) -> None:
    """Liveness has one owner: the audit puts the RIB's mark right and asks for a new selection."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(2)
        router.ports()
        fill(core, chance, 50)
        number = next(iter(core.forwarding.sets))
        core.rib.set_dead(number, True)
        audit = audit_of(core)
        assert whole_round(audit) == []
        assert audit.state.liveness == 1 and audit.reselect
        assert not core.rib.nexthop_dead(number)

    asyncio.run(scenario())


def test_verify_counts_all_differences_and_lets_others_have_their_turn(router: Any) -> None:
    """Every route is missing in the FIB: the number is exact, the list short, each prefix counted
    once, and a ticker beside it is never kept waiting for long."""

    async def scenario() -> None:
        core, chance = router.core, random.Random(4)
        router.ports()
        rows = fill(core, chance, ROUTES)
        there = {str(row.prefix) for row in core.fib.writer.walk()}
        gone = [Row(ip_network(text)) for text in sorted(there)]
        with core.fib.guard():
            assert core.fib.apply(rows_of(gone), len(gone)).error == 0
        longest = 0.0

        async def tick() -> None:
            nonlocal longest
            last = time.monotonic()
            while True:
                await asyncio.sleep(0)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        ticker = asyncio.get_running_loop().create_task(tick())
        report = await core.verify(samples=0)
        ticker.cancel()
        assert rows and report["count"] == len(there)
        assert len(report["differences"]) == 100
        assert longest < 0.5

    asyncio.run(scenario())


@pytest.mark.parametrize("routes", [2000])
def test_verify_takes_time_in_proportion_to_the_differences(router: Any, routes: int) -> None:
    """Twice as many differences are looked up about twice, not four times, as often."""

    async def looked_up(count: int) -> int:
        core = router.core
        gone = [row for row in core.fib.writer.walk() if row.nexthop][:count]
        with core.fib.guard():
            core.fib.apply(rows_of([Row(row.prefix) for row in gone]), len(gone))
        calls = 0

        def text(group: int) -> str:
            nonlocal calls
            calls += 1
            return "x"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(core.forwarding, "text", text)
            report = await core.verify(samples=0)
        assert report["count"] == len(gone)
        core.reconcile.compare(1)
        core.publisher.flush()
        return calls

    async def scenario() -> None:
        router.ports()
        fill(router.core, random.Random(4), routes)
        assert await looked_up(300) == await looked_up(600) == 200

    asyncio.run(scenario())

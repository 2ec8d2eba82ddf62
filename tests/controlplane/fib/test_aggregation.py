"""fib.aggregate over real segments: fewer entries, the same answers, whoever dies or switches."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.fib.publishing import Applied
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.nexthop import NexthopSet, host
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import FibKind
from ribcage.shared.memory.rows import rows_of
from ribcage.shared.plan import FibPlan

A, B = ip_address("10.0.1.9"), ip_address("10.0.2.9")
ONE, TWO = host(1, A), host(2, B)


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(scenario())  # type: ignore[arg-type]


@pytest.fixture
def aggregated(router: Any) -> Iterator[Any]:
    """The router with fib.aggregate from its start."""
    set_option(router, True)
    router.restart()
    yield router


def set_option(router: Any, on: bool) -> None:
    router.plan = replace(router.plan, fib=replace(router.plan.fib, aggregate=on))


def wanted(core: Any, routes: dict[str, NexthopSet | None]) -> tuple[Any, int]:
    rows = [Wanted(ip_network(p), RUNTIME.number, n or ONE, 0, 1) for p, n in routes.items()]
    ids = [core.nexthops.intern(n) if n else 0 for n in routes.values()]
    return rows_of(row.row(id) for row, id in zip(rows, ids, strict=True)), len(rows)


def put(core: Any, routes: dict[str, NexthopSet | None]) -> Any:
    """Prefix -> next hops, None withdraws; published."""
    return core.publisher.commit(*wanted(core, routes), 1)


def entries(router: Any) -> set[str]:
    return {str(route.prefix) for route in router.writer.walk()}


async def right(router: Any) -> None:
    """RIB, FIB and lookups agree, and nothing redundant is in the FIB."""
    report = await router.core.verify(samples=2000)
    assert report["differences"] == []


NESTED: dict[str, NexthopSet | None] = {
    "203.0.0.0/16": ONE,
    "203.0.113.0/24": ONE,
    "203.0.113.0/25": TWO,
    "203.0.113.7/32": TWO,
    "2001:db8:9::/48": ONE,
    "2001:db8:9:1::/64": ONE,
}
NEEDED = {"203.0.0.0/16", "203.0.113.0/25", "2001:db8:9::/48"}


def test_a_route_like_its_cover_is_in_force_without_an_entry(aggregated: Any) -> None:
    async def scenario() -> None:
        aggregated.ports()
        put(aggregated.core, NESTED)
        assert entries(aggregated) == NEEDED
        ports = [aggregated.reader.lookup(a).port for a in ("203.0.113.200", "203.0.113.7")]
        assert ports == [1, 2]
        assert aggregated.core.rib.counts().selected == (4, 2)
        await right(aggregated)

    run(scenario)


def test_without_the_option_every_route_has_its_entry(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        put(router.core, NESTED)
        assert entries(router) == set(NESTED)
        assert router.core.entries.aggregation is None
        assert router.core.entries.writer is router.core.fib
        await right(router)

    run(scenario)


def test_entries_follow_a_change_of_their_cover_in_one_generation(aggregated: Any) -> None:
    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, NESTED)
        before = core.publisher.generation
        put(core, {"203.0.0.0/16": TWO})
        assert core.publisher.generation == before + 1
        assert entries(aggregated) == NEEDED | {"203.0.113.0/24"}
        put(core, {"203.0.0.0/16": None})
        await right(aggregated)
        put(core, {"0.0.0.0/0": ONE, "::/0": ONE})
        assert entries(aggregated) == {"0.0.0.0/0", "::/0", "203.0.113.0/25"}
        put(core, dict.fromkeys([*NESTED, "0.0.0.0/0", "::/0"]))
        assert entries(aggregated) == set()

    run(scenario)


def test_a_dead_next_hop_brings_the_entries_it_hid(aggregated: Any) -> None:
    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, {"203.0.0.0/16": TWO, "203.0.113.0/24": ONE, "203.0.113.64/26": ONE})
        assert entries(aggregated) == {"203.0.0.0/16", "203.0.113.0/24"}
        port = core.topology.ports[1]
        core.put_port(replace(port, up=False))
        assert entries(aggregated) == {"203.0.0.0/16"}
        core.put_port(port)
        assert entries(aggregated) == {"203.0.0.0/16", "203.0.113.0/24"}
        await core.sync(CONNECTED)
        assert aggregated.reader.lookup("10.0.1.7").kind == FibKind.GLEAN
        await right(aggregated)

    run(scenario)


@pytest.mark.parametrize("rows_stored", range(6))
def test_a_successor_finishes_what_was_pending(aggregated: Any, rows_stored: int) -> None:
    """Decided, acknowledged, and some of the FIB rows stored: the successor brings the rest."""

    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, NESTED)
        rows, count = wanted(core, {"203.0.0.0/16": TWO, "203.0.113.0/25": ONE, "::/0": ONE})
        applied = core.rib.apply(rows, count, core._changes, 100)
        real, left = core.fib.apply, rows_stored

        def dies(rows: Any, count: int) -> Applied:
            nonlocal left
            take = min(left, count)
            left -= take
            done = real(rows, take)
            if take < count:
                raise KeyboardInterrupt
            return done

        core.fib.apply = dies
        with pytest.raises(KeyboardInterrupt), core.fib.guard():
            core.entries.apply(core._changes, applied.changes)
            raise KeyboardInterrupt
        core = aggregated.restart()
        assert core.entries.aggregation is not None
        assert aggregated.taken.replayed > 0
        assert not aggregated.taken.everything
        assert entries(aggregated) == {"203.0.0.0/16", "203.0.113.0/24", "203.0.113.7/32", "::/0"}
        assert aggregated.reader.lookup("203.0.113.7").port == 2
        await right(aggregated)

    run(scenario)


def test_a_failure_between_the_tables_is_made_good_by_the_next_publish(aggregated: Any) -> None:
    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, NESTED)
        real = core.fib.apply

        def fails(rows: Any, count: int) -> Applied:
            core.fib.apply = real
            raise OSError("no words today")

        core.fib.apply = fails
        with pytest.raises(OSError, match="no words"):
            put(core, {"203.0.0.0/16": TWO})
        assert core.publisher.behind
        core.publisher.flush()
        assert not core.publisher.behind
        assert entries(aggregated) == NEEDED | {"203.0.113.0/24"}
        await right(aggregated)

    run(scenario)


def test_the_limit_counts_routes_so_that_the_fib_can_hold_all(router: Any) -> None:
    async def scenario() -> None:
        router.plan = replace(router.plan, fib=FibPlan(max_routes4=2000, max_routes6=1000))
        set_option(router, True)
        router.restart()
        router.ports()
        core = router.core
        put(core, {"0.0.0.0/0": ONE} | {f"20.{i >> 8}.{i & 255}.0/24": ONE for i in range(1999)})
        assert entries(router) == {"0.0.0.0/0"}
        with pytest.raises(RibcageError) as refused:
            put(core, {"30.0.0.0/8": TWO})
        assert refused.value.code == "E_TABLE_FULL"
        assert core.rib.best(ip_network("30.0.0.0/8")) is None
        put(core, {"0.0.0.0/0": TWO})  # every one of the others is needed now
        assert len(entries(router)) == 2000
        await right(router)

    run(scenario)


def test_a_change_the_fib_has_no_memory_for_is_refused_and_tears_nothing(aggregated: Any) -> None:
    """The routes under it need room first; without, no answer of the FIB changes."""

    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, NESTED)
        real = core.fib.apply

        def full(rows: Any, count: int) -> Applied:
            for i in range(count):
                if rows[i].nexthop and rows[i].length == 24:
                    return replace(real(rows, i), error=errno.ENOSPC)
            return real(rows, count)

        core.fib.apply = full
        with pytest.raises(RibcageError) as refused:
            put(core, {"203.0.0.0/16": TWO})
        assert refused.value.code == "E_TABLE_FULL"
        assert aggregated.reader.lookup("203.0.113.200").port == 1

    run(scenario)


def test_a_reload_switches_it_while_packets_flow(router: Any) -> None:
    """No lookup changes; routes that change meanwhile are right as well."""

    async def scenario() -> None:
        router.ports()
        core = router.core
        many = {f"20.0.{i}.0/24": ONE for i in range(100)}
        put(core, NESTED | many | {"20.0.0.0/16": ONE})
        everything = entries(router)
        for _ in range(2):
            assert await core.reconcile.switch(True) == 103
            assert entries(router) == NEEDED | {"20.0.0.0/16"}
            assert core.rib.fib_state() == lib.RIB_FIB_AGGREGATED
            put(core, {"203.0.0.0/16": TWO})
            put(core, {"203.0.0.0/16": ONE})
            await right(router)
            assert await core.reconcile.switch(True) == 0
            off = asyncio.create_task(core.reconcile.switch(False))
            put(core, {"203.0.0.0/16": TWO})
            await off
            put(core, {"203.0.0.0/16": ONE})
            assert entries(router) == everything
            assert core.entries.writer is core.fib
            await right(router)

    run(scenario)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("slices", [0, 1])
def test_a_successor_with_another_setting_finds_the_fib_as_it_is(
    router: Any, on: bool, slices: int
) -> None:
    """Control died on the way from one setting to the other, or before it began."""

    async def scenario() -> None:
        set_option(router, not on)
        router.restart()
        router.ports()
        put(router.core, NESTED)
        if slices:
            task = asyncio.create_task(router.core.reconcile.switch(on))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert router.core.rib.fib_state() == lib.RIB_FIB_BETWEEN
        set_option(router, on)
        router.restart()
        assert entries(router) == (NEEDED if on else set(NESTED))
        assert (router.core.entries.aggregation is not None) == on
        await right(router)
        router.restart()
        assert not router.taken.everything

    run(scenario)


def test_verify_sees_an_entry_that_is_redundant_or_missing(aggregated: Any) -> None:
    async def scenario() -> None:
        aggregated.ports()
        core = aggregated.core
        put(core, NESTED)
        rows, _ = wanted(core, {"203.0.113.0/24": ONE, "203.0.113.0/25": None})
        with core.fib.guard():
            core.fib.apply(rows, 2)
        report = await core.verify(samples=0)
        found = {one["dst"]: (one["rib"], one["fib"]) for one in report["differences"]}
        assert found["203.0.113.0/24"][0] == "aggregated: no entry"
        assert found["203.0.113.0/25"][1] == "no route"
        assert core.reconcile.compare(time.monotonic_ns()) == 2
        core.publisher.flush()
        await right(aggregated)

    run(scenario)

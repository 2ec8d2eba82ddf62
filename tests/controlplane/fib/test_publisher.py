"""The publisher: one path, in order, coalesced, and a refusal leaves RIB and FIB agreeing."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ribcage.controlplane.fib.publishing import Published
from ribcage.controlplane.values.nexthop import BLACKHOLE
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import row_of, rows_of


def test_a_committed_route_is_in_the_fib_and_published(bench: Any) -> None:
    published = bench.publisher.commit(*bench.rows(("10.0.0.0/8", 7)), 5)
    assert bench.fib() == {"10.0.0.0/8": 7}
    assert bench.writer.journal == ["apply 1", "publish 1"]
    assert published.generation == 1
    assert 5 == published.t0 <= published.t1 <= published.t3
    assert bench.table.done == bench.table.mark == 1


def test_words_and_their_publish_are_under_one_guard(bench: Any) -> None:
    """Under a lock strategy readers would meet a half between two guards."""
    bench.publisher.commit(*bench.rows(("10.0.0.0/8", 7), ("11.0.0.0/8", 7)), 5)
    assert bench.writer.guards == 1

    async def scenario() -> None:
        await bench.publisher.submit(*bench.rows(("10.0.0.0/8", 8), ("11.0.0.0/8", 8)), 1)

    asyncio.run(scenario())
    assert bench.writer.guards == 2


def test_a_withdrawn_winner_leaves_the_runner_up_without_a_gap(bench: Any) -> None:
    """The prefix is never absent: its word goes from the winner to the runner-up."""
    bench.publisher.commit(*bench.rows(("10.0.0.0/8", 7, 0), ("10.0.0.0/8", 8, 5)), 1)
    assert bench.fib() == {"10.0.0.0/8": 7}
    bench.publisher.commit(*bench.rows(("10.0.0.0/8", 0, 0)), 1)
    assert bench.fib() == {"10.0.0.0/8": 8}
    assert bench.writer.words == 2


def test_a_single_update_is_published_at_once(bench: Any) -> None:
    async def scenario() -> None:
        bench.now += 10**9
        future = bench.publisher.submit(*bench.rows(("10.0.0.0/8", 7)), 1)
        assert future.done(), "nothing else was pending: no reason to wait"
        assert (await future).generation == 1

    asyncio.run(scenario())


def test_what_comes_together_is_published_together(bench: Any) -> None:
    """Five updates in one window: one publish for the first, one for the other four."""

    async def scenario() -> list[Published]:
        futures = [bench.publisher.submit(*bench.rows((f"10.{i}.0.0/16", 7)), 1) for i in range(5)]
        return await asyncio.gather(*futures)

    done = asyncio.run(scenario())
    assert [published.generation for published in done] == [1, 2, 2, 2, 2]
    assert len(bench.fib()) == 5


def test_a_hundred_flaps_in_one_batch_are_at_most_one_change(bench: Any) -> None:
    """N-008: flaps of a prefix inside a batch merge before they reach the FIB."""

    async def scenario() -> None:
        await bench.publisher.submit(*bench.rows(("192.0.2.0/24", 1)), 1)
        words = bench.writer.words
        await asyncio.gather(
            *(
                bench.publisher.submit(*bench.rows(("10.0.0.0/8", 7 * (i % 2))), 1)
                for i in range(100)
            )
        )
        assert bench.writer.words - words <= 1

    asyncio.run(scenario())
    assert bench.fib() == {"192.0.2.0/24": 1, "10.0.0.0/8": 7}


def test_a_full_batch_does_not_wait_for_the_delay(bench: Any) -> None:
    async def scenario() -> None:
        await bench.publisher.submit(*bench.rows(("10.0.0.0/16", 7)), 1)
        bench.publisher.limit(max_delay=1e6, max_batch=4)
        futures = [
            bench.publisher.submit(*bench.rows((f"10.{i}.0.0/16", 7)), 1) for i in range(1, 5)
        ]
        assert all(future.done() for future in futures)
        bench.publisher.flush()

    asyncio.run(scenario())


def test_a_full_fib_refuses_by_name_and_the_rib_agrees(make_bench: Callable[..., Any]) -> None:
    """The refused route is in neither table; the limit is in the message; others go on."""
    bench = make_bench(max_routes=1)

    async def scenario() -> list[Any]:
        await bench.publisher.submit(*bench.rows(("10.0.0.0/8", 7)), 1)
        futures = [
            bench.publisher.submit(*bench.rows(("11.0.0.0/8", 7)), 1),
            bench.publisher.submit(*bench.rows(("10.0.0.0/8", 9)), 1),
        ]
        return await asyncio.gather(*futures, return_exceptions=True)

    refused, accepted = asyncio.run(scenario())
    assert isinstance(refused, RibcageError)
    assert refused.code == "E_TABLE_FULL"
    assert "its limit is 1 routes" in refused.message
    assert isinstance(accepted, Published)
    assert bench.fib() == {"10.0.0.0/8": 9}
    assert bench.table.rows() == 1


def test_a_full_fib_gives_up_the_runner_up_too(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(max_routes=0)
    with pytest.raises(RibcageError, match="limit is 0"):
        bench.publisher.commit(*bench.rows(("10.0.0.0/8", 7, 0), ("10.0.0.0/8", 8, 5)), 1)
    assert bench.fib() == {}
    assert bench.table.rows() == 0


def test_a_full_rib_refuses_only_the_row_it_has_no_room_for(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench(max_rows=2)

    async def scenario() -> list[Any]:
        await bench.publisher.submit(*bench.rows(("10.0.0.0/8", 7)), 1)
        futures = [
            bench.publisher.submit(*bench.rows((prefix, 7)), 1)
            for prefix in ("11.0.0.0/8", "12.0.0.0/8", "10.0.0.0/8")
        ]
        return await asyncio.gather(*futures, return_exceptions=True)

    first, second, third = asyncio.run(scenario())
    assert isinstance(first, Published)
    assert isinstance(second, RibcageError)
    assert second.code == "E_TABLE_FULL"
    assert isinstance(third, Published)
    assert set(bench.fib()) == {"10.0.0.0/8", "11.0.0.0/8"}


def test_a_touch_publishes_without_rows(bench: Any) -> None:
    async def scenario() -> None:
        bench.now += 10**9
        bench.forwarding.define(1, BLACKHOLE)
        bench.publisher.touch(1)
        assert bench.writer.generation == 1
        bench.publisher.touch(1)
        assert bench.publisher.flush() is None, "no word changed"
        bench.forwarding.define(2, BLACKHOLE)
        bench.publisher.touch(1)
        bench.publisher.flush()
        assert bench.writer.generation == 2
        assert bench.publisher.flush() is None

    asyncio.run(scenario())


def test_bells_are_rung_after_every_publish_and_only_then(bench: Any) -> None:
    bench.publisher.commit(*bench.rows(("10.0.0.0/8", 7)), 1)
    bench.publisher.flush()
    assert bench.rung == 1
    assert bench.publisher.counters.publishes == 1


def test_a_row_without_a_prefix_is_refused_by_name(router: Any) -> None:
    """And what stood before it is in force and published, as with any refusal."""
    core = router.core
    number = core.nexthops.intern(BLACKHOLE)
    rows = rows_of([row_of("10.0.0.0/8", number), row_of("11.0.0.0/8", number)])
    rows[1].family = 5
    with pytest.raises(RibcageError, match="row of family 5 and length 8") as caught:
        core.publisher.commit(rows, 2, 1)
    assert caught.value.code == "E_ROW"
    assert [str(row.prefix) for row in router.writer.walk()] == ["10.0.0.0/8"]
    assert core.publisher.last is not None

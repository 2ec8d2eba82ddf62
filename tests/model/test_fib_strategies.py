"""What one strategy alone does: overrun queues, overflowing logs, odd numbers, held locks."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.shared.memory.fib_sync import (
    STRATEGIES,
    WITH_LOCK,
    Locks,
    create_semaphore,
    remove_semaphore,
)
from ribcage.shared.memory.rows import row_of, rows_of
from tests.model.fib_memory import SMALL, FibMemory

ENOENT, EAGAIN, ENOLCK = -2, -11, -37
PREFIXES = [f"10.{i}.0.0/16" for i in range(50)]
ADDRESSES = [f"10.{i}.1.1" for i in range(50)]


def opened(sync: str) -> FibMemory:
    fib = FibMemory(replace(SMALL, sync=sync))
    fib.groups(range(1, 60))
    assert fib.apply(*(row_of(p, 1) for p in PREFIXES))[0] == 0
    fib.publish()
    return fib


def churn(fib: FibMemory, updates: int, batch: int = 50) -> list[int]:
    """Updates of all prefixes in turn; the groups they end with."""
    for turn in range(updates // batch):
        rows = rows_of([row_of(p, 1 + (turn + i) % 50) for i, p in enumerate(PREFIXES[:batch])])
        assert fib.apply_rows(rows)[0] == 0
        fib.publish()
    return [1 + (turn + i) % 50 for i in range(50)]


@pytest.fixture
def other_reader() -> Iterator[Any]:
    reader = ffi.new("struct fib_reader *")
    yield reader
    lib.fib_reader_detach(reader)


def test_a_reader_whose_queue_was_overrun_starts_from_the_snapshot(other_reader: Any) -> None:
    """`message`: one reader follows each batch, the other sleeps while the ring goes round many
    times; both end with the same table, the follower after one copy."""
    with opened("message") as fib:
        assert lib.fib_reader_attach(other_reader, fib.base, fib.size) == 0
        keys, groups = fib.keys(ADDRESSES), ffi.new("uint32_t[]", 50)
        assert lib.fib_lookup_groups(other_reader, keys, groups, 50) == 0
        copies = other_reader.retries
        assert fib.lookup(ADDRESSES) == [1] * 50
        for _ in range(30):
            expected = churn(fib, 5_000)
            assert fib.lookup(ADDRESSES) == expected
        assert fib.header.sync.commit > 3 * lib.MESSAGE_RING_BLOCKS * 64
        assert fib.header.sync.swaps > 3
        assert fib.reader.retries == 1
        assert lib.fib_lookup_groups(other_reader, keys, groups, 50) == 0
        assert list(groups) == expected
        assert other_reader.retries == copies + 1
        assert other_reader.mixed == 0
        assert lib.fib_check(fib.writer) == 0


@pytest.mark.parametrize("sync", STRATEGIES)
def test_what_was_published_is_found_at_once(sync: str) -> None:
    """The writer's figures and the reader's stamps are those of the newest publish, under
    `message` too, where the bank in force is a snapshot; none is there before its publish."""
    with opened(sync) as fib:
        stamp = ffi.new("struct fib_stamp *")
        for turn in range(2, 6):
            assert fib.apply(row_of("192.0.2.0/24", turn))[0] == 0
            assert lib.fib_read_stamp(fib.reader, turn, stamp) == ENOENT
            assert lib.fib_publish(fib.writer, 70 + turn, 5, 6) == turn
            newest = lib.fib_header_newest(fib.writer).published
            assert (newest.generation, newest.routes4) == (turn, len(PREFIXES) + 1)
            assert lib.fib_read_stamp(fib.reader, turn, stamp) == 0
            assert (stamp.generation, stamp.update_id, stamp.t0) == (turn, 70 + turn, 5)
            assert lib.fib_read_stamp(fib.reader, turn + 1, stamp) == ENOENT
        found = ffi.new("struct fib_published *")
        assert lib.fib_read_published(fib.reader, found) == 0
        assert found.generation == (0 if sync == "message" else turn)


def test_a_batch_larger_than_the_log_is_caught_up_with_by_copying() -> None:
    """`double`: a bulk batch beyond the log's limit becomes visible as a whole, and the bank that
    was left behind is right as well when it comes into force."""
    with opened("double") as fib:
        rows = rows_of(
            [row_of(p, 1 + i % 50) for _ in range(4_000) for i, p in enumerate(PREFIXES)]
        )
        assert fib.apply_rows(rows)[0] == 0
        assert fib.lookup(ADDRESSES) == [1] * 50
        fib.publish()
        expected = [1 + i % 50 for i in range(50)]
        assert fib.lookup(ADDRESSES) == expected
        assert fib.apply(row_of(PREFIXES[0], 55))[0] == 0
        fib.publish()
        assert fib.lookup(ADDRESSES) == [55, *expected[1:]]
        assert lib.fib_check(fib.writer) == 0


def test_an_odd_number_does_not_stop_readers() -> None:
    """`seqlock`: while a writer is inside, or died there, lookups are answered as under epoch, and
    say that they may span two generations."""
    with opened("seqlock") as fib:
        before = fib.reader.mixed
        assert fib.apply(row_of(PREFIXES[0], 2))[0] == 0
        assert fib.header.sync.sequence % 2 == 1
        assert fib.lookup(ADDRESSES)[0] == 2
        assert fib.reader.mixed == before + 1
        fib.publish()
        assert fib.header.sync.sequence % 2 == 0
        assert fib.lookup(ADDRESSES)[0] == 2
        assert fib.reader.mixed == before + 1


def test_an_odd_number_is_waited_for_once() -> None:
    """`seqlock`: a number that outlasted a reader's patience costs it nothing any more; the next
    one is given the same patience."""
    with opened("seqlock") as fib:
        for group in (2, 3):
            assert fib.apply(row_of(PREFIXES[0], group))[0] == 0
            assert fib.reader.sync_mark != fib.header.sync.sequence
            assert fib.lookup(ADDRESSES)[0] == group
            assert fib.reader.sync_mark == fib.header.sync.sequence
            fib.publish()
            assert fib.lookup(ADDRESSES)[0] == group


def test_a_batch_that_ends_without_a_publish_is_not_taken_for_one() -> None:
    """`seqlock`: between the end of a batch and its publish the number stays odd; a batch that
    changed nothing leaves it even."""
    with opened("seqlock") as fib:
        before = fib.reader.mixed
        assert fib.apply(row_of(PREFIXES[0], 1))[0] == 0  # as it was
        lib.fib_batch_end(fib.writer)
        assert fib.lookup(ADDRESSES)[0] == 1
        assert fib.reader.mixed == before
        assert fib.apply(row_of(PREFIXES[0], 2))[0] == 0
        lib.fib_batch_end(fib.writer)
        assert fib.lookup(ADDRESSES)[0] == 2
        assert fib.reader.mixed == before + 1
        fib.publish()
        assert fib.lookup(ADDRESSES)[0] == 2
        assert fib.reader.mixed == before + 1


def test_a_record_that_nothing_names_makes_nobody_wait() -> None:
    """`seqlock`: control makes groups ahead of the routes through them, perhaps long before; the
    number is odd for a record that lookups may meet, a replaced one."""
    with opened("seqlock") as fib:
        assert fib.adjacency(9) == 0
        assert fib.group(60, (9,)) == 0
        lib.fib_batch_end(fib.writer)
        assert fib.header.sync.sequence % 2 == 0
        assert not lib.fib_unpublished(fib.writer)
        assert fib.adjacency(9, mtu=1400) == 0
        lib.fib_batch_end(fib.writer)
        assert fib.header.sync.sequence % 2 == 1
        fib.publish()
        assert fib.header.sync.sequence % 2 == 0
        assert lib.fib_clear_group(fib.writer, 60) == 0
        lib.fib_batch_end(fib.writer)
        assert fib.header.sync.sequence % 2 == 0


@pytest.mark.parametrize("sync", STRATEGIES)
def test_a_successor_knows_of_words_that_no_publish_named(sync: str) -> None:
    """A writer dies after the first row of three: the successor says so until it publishes, but for
    `double`, where the row is gone. Under `seqlock` lookups count as mixed for as long."""
    with opened(sync) as fib:
        assert not lib.fib_unpublished(fib.writer)
        assert fib.apply(row_of(PREFIXES[0], 2))[0] == 0
        fib.writer = ffi.NULL  # killed: nobody closes it
        fib.open()
        left = sync != "double"
        assert bool(lib.fib_unpublished(fib.writer)) == left
        before = fib.reader.mixed
        assert fib.lookup(ADDRESSES)[0] == (2 if left else 1)
        assert fib.reader.mixed == before + (sync == "seqlock")
        generation = fib.publish()
        assert not lib.fib_unpublished(fib.writer)
        assert fib.lookup(ADDRESSES)[0] == (2 if left else 1)
        assert fib.reader.mixed == before + (sync == "seqlock")
        assert lib.fib_generation(fib.reader) == generation
        fib.open()
        assert not lib.fib_unpublished(fib.writer)


@pytest.mark.parametrize("sync", WITH_LOCK)
def test_a_held_lock_is_waited_for_within_bounds(sync: str) -> None:
    """While the writer is inside, a lookup waits some milliseconds and says EAGAIN; a lock that is
    left or broken lets it in again."""
    with opened(sync) as fib:
        keys, groups = fib.keys(ADDRESSES), ffi.new("uint32_t[]", 50)
        assert fib.apply(row_of(PREFIXES[0], 2))[0] == 0
        start = time.monotonic()
        assert lib.fib_lookup_groups(fib.reader, keys, groups, 50) == EAGAIN
        assert time.monotonic() - start < 2
        assert fib.reader.unavailable == 1
        fib.publish()
        assert fib.lookup(ADDRESSES)[0] == 2
        breaks = fib.header.sync.breaks
        for _ in range(200):  # more than there are locks
            assert lib.fib_break_lock(fib.writer) == 0
            assert fib.lookup(ADDRESSES)[0] == 2
        assert fib.header.sync.breaks == breaks + 200


@pytest.mark.parametrize("sync", WITH_LOCK)
def test_without_its_lock_a_reader_is_refused(sync: str, other_reader: Any) -> None:
    """A reader that was not given the lock gets no answer rather than an unguarded one."""
    with opened(sync) as fib:
        assert lib.fib_reader_attach(other_reader, fib.base, fib.size) == 0
        groups = ffi.new("uint32_t[]", 50)
        keys = fib.keys(ADDRESSES)
        assert lib.fib_lookup_groups(other_reader, keys, groups, 50) == ENOLCK
        wrong = ffi.new("struct fib_locks *", {"semaphore": -1})
        assert lib.fib_reader_locks(other_reader, wrong) == -22


def test_a_key_that_is_taken_is_not_taken_over() -> None:
    """Two sets have two keys, and each is removed by its own."""
    (first, a), (second, b) = create_semaphore(), create_semaphore()
    try:
        assert first != second
        assert lib.sync_semaphore_create(first, 0o600, -1) == -17
        assert Locks.of_semaphore(a).handle.semaphore == a
    finally:
        assert remove_semaphore(a)
        assert remove_semaphore(b)
    assert not remove_semaphore(a)


def test_an_unknown_strategy_is_refused() -> None:
    """A number that this build does not know sizes nothing and formats nothing."""
    params = SMALL.to_c(7)
    params.strategy = 99
    assert lib.fib_segment_size(params) == 0

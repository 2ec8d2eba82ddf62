"""Stats objects from Python: made once, read whole, balanced, also while a worker writes."""

import fcntl
import itertools
import mmap
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import (
    REASONS,
    SEALS,
    SIZE,
    StatsReader,
    create_stats,
    format_stats,
    is_stats,
    keep_rings,
    total,
)
from ribcage.shared.process.names import Names


@pytest.fixture
def fd() -> Iterator[int]:
    number = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(number, SIZE)
    format_stats(number, 3, 99)
    yield number
    os.close(number)


class Writer:
    """The owner's half, in this process."""

    def __init__(self, fd: int) -> None:
        self.map = mmap.mmap(fd, SIZE)
        self.base = ffi.from_buffer(self.map, require_writable=True)
        self.writer = ffi.new("struct stats_writer *")
        self.object = ffi.cast("struct stats_object *", self.base)
        assert lib.stats_attach(self.writer, self.object, SIZE, time.monotonic_ns()) == 0

    @property
    def now(self) -> object:
        return self.writer.now

    def commit(self) -> None:
        lib.stats_commit(self.writer)


@pytest.fixture
def made() -> Iterator[int]:
    number = create_stats(Names("t", Path("/run/none")), 4, 7)
    yield number
    os.close(number)


def test_a_made_object_is_whole_private_and_has_no_name(made: int) -> None:
    """All its memory is there, mode 0600, close-on-exec; nothing appears in /dev/shm."""
    info = os.fstat(made)
    assert info.st_mode & 0o777 == 0o600 and not os.get_inheritable(made)
    assert info.st_size == SIZE and info.st_blocks * 512 >= SIZE
    assert not any("ribcage.t.stats" in path.name for path in Path("/dev/shm").iterdir())
    assert StatsReader(made).life().worker == 4 and is_stats(made)


def test_an_object_cannot_be_made_shorter_longer_or_unsealed(made: int) -> None:
    """A worker has it open for writing: whatever it tries, a reader's mapping stays whole."""
    reader = StatsReader(made)
    for size in (0, 1, SIZE - 1, SIZE + 1, 1 << 40):
        with pytest.raises(PermissionError):
            os.ftruncate(made, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with mmap.mmap(made, SIZE) as memory:
        memory[:] = b"\xff" * SIZE
    for look in (reader.life, reader.seen, reader.snapshot, reader.histogram, reader.waiting):
        look()
    assert all(reader.example(number) is None for number in REASONS)
    reader.close()


def test_only_sealed_memory_of_the_right_size_is_taken_for_one(made: int, tmp_path: Path) -> None:
    """What a child hands back: a file, a pipe, an unsealed or a short memfd are none."""
    unsealed = os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, SIZE)
    short = os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(short, SIZE - 8)
    fcntl.fcntl(short, fcntl.F_ADD_SEALS, SEALS)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, SIZE)
    ends = os.pipe()
    assert [is_stats(fd) for fd in (unsealed, short, file, *ends)] == [False] * 5
    again = os.open(f"/proc/self/fd/{made}", os.O_RDONLY)
    assert is_stats(again)
    for fd in (unsealed, short, file, *ends, again):
        os.close(fd)


def test_foreign_object_is_refused_with_both_sides(fd: int) -> None:
    """Another layout is an error that shows it and ours; a half-made object is not ready."""
    os.pwrite(fd, b"\x55", 16)  # layout id
    with pytest.raises(RibcageError) as refused:
        StatsReader(fd)
    assert refused.value.code == "E_LAYOUT" and "this build" in refused.value.message
    os.pwrite(fd, bytes(8), 0)  # magic
    with pytest.raises(RibcageError) as refused:
        StatsReader(fd)
    assert refused.value.code == "E_INITIALISING"
    os.ftruncate(fd, 40)
    with pytest.raises(RibcageError):
        StatsReader(fd)


def test_reader_needs_no_write_access(fd: int) -> None:
    """An O_RDONLY descriptor is enough, and nothing can be written through it."""
    readonly = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    reader = StatsReader(readonly)
    os.close(readonly)
    assert reader.snapshot().rx == 0 and reader.balanced()
    reader.close()


counts = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 29), st.integers(0, 50)),
    max_size=20,
)


@given(counts)
def test_snapshot_is_the_last_commit(batches: list[tuple[int, int, int, int]]) -> None:
    """What is counted shows at the commit, all of it, and not before."""
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    format_stats(fd, 0, 1)
    writer, reader = Writer(fd), StatsReader(fd)
    os.close(fd)
    expected = reader.snapshot()
    for forwarded, delivered, reason, dropped in batches:
        now = writer.now
        now.rx += forwarded + delivered + dropped
        now.forwarded += forwarded
        now.delivered += delivered
        now.drops[reason] += dropped
        assert reader.snapshot() == expected
        writer.commit()
        expected = reader.snapshot()
        assert expected.balanced and expected.rx == now.rx
        assert expected.drops[REASONS[reason]] == now.drops[reason]
    assert total([expected, expected]).rx == 2 * expected.rx
    assert total([expected, expected]).balanced
    reader.close()


def test_killed_writer_leaves_a_balanced_object(fd: int) -> None:
    """kill -9 while commits run as fast as they can: every read balances, twenty times."""
    reader = StatsReader(fd)
    last = 0
    for _ in range(20):
        ready_r, ready_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                writer = Writer(fd)
                os.write(ready_w, b"x")
                while True:
                    writer.now.rx += 3
                    writer.now.forwarded += 1
                    writer.now.held += 1
                    writer.now.drops[1] += 1
                    writer.commit()
            finally:
                os._exit(1)
        os.close(ready_w)
        os.read(ready_r, 1)
        os.close(ready_r)
        for _ in range(50):
            snapshot = reader.snapshot()
            assert snapshot.balanced and snapshot.rx >= last
            last = snapshot.rx
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert reader.balanced()
    before = reader.snapshot()
    Writer(fd)  # the successor of the last one
    after = reader.snapshot()
    assert after.held == 0 and after.balanced and after.rx == before.rx
    assert after.drops["worker-restarting"] == before.drops["worker-restarting"] + before.held
    assert reader.life().restarts == 20


def test_unknown_words_do_not_break_a_reader(fd: int) -> None:
    """A state number of a newer build is shown as such."""
    writer, reader = Writer(fd), StatsReader(fd)
    writer.object.life.state = 77
    assert reader.life().state == "unknown-77"
    assert reader.example("no-route") is None and reader.example("nonsense") is None
    assert reader.example(-1) is None and reader.example(1000) is None
    assert len(reader.histogram()) == lib.STATS_BUCKETS
    assert reader.waiting() is False


def test_reasons_are_a_closed_list() -> None:
    """Names users see are unique; numbers are the enum's and never reused."""
    assert len(set(REASONS.values())) == len(REASONS) >= 29
    assert REASONS[1] == "no-route" and REASONS[20] == "rx-ring-full" and REASONS[29] == "quiesced"


def test_a_new_object_knows_where_the_rings_stand(fd: int) -> None:
    """A worker whose object was replaced goes on at the slots the kernel fills next; counters
    begin at zero, whatever the old object said."""
    old = Writer(fd)
    old.writer.ports = 3
    old.now.port[2].ring_next, old.now.port[2].ring_identity = 77, 4711
    old.now.port[2].rx = old.now.rx = 5
    old.commit()
    fresh = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fresh, SIZE)
    format_stats(fresh, 3, 99)
    keep_rings(fd, fresh)
    new = Writer(fresh)
    port = new.now.port[2]
    assert (port.ring_next, port.ring_identity, port.rx, new.now.rx) == (77, 4711, 0, 0)
    os.close(fresh)


def test_rows_of_waiting_addresses_are_read_whole(fd: int) -> None:
    """A writer that notes and is killed at any moment: each row that is read is one that was
    written, each noted one is read once, and rows of a dead writer are there for the next."""
    reader = StatsReader(fd)
    pid = os.fork()
    if pid == 0:
        try:
            memory = mmap.mmap(fd, SIZE)
            table = ffi.new("struct wait_table *")
            base = ffi.from_buffer(memory, require_writable=True)
            lib.waits_open(table, ffi.cast("struct stats_object *", base))
            for number in itertools.count():
                port = number % 999 + 1
                address = port.to_bytes(2, "big") * 8
                lib.waits_note(table, port, 6, address, time.monotonic_ns())
        finally:
            os._exit(1)
    seen: set[int] = set()
    end = time.monotonic() + 20
    while len(seen) < 999 and time.monotonic() < end:
        for port, address in reader.new_waits():
            assert address.packed == port.to_bytes(2, "big") * 8
            seen.add(port)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(seen) == 999
    reader.new_waits()
    assert reader.new_waits() == []
    again = StatsReader(fd).new_waits()
    assert len(again) in (lib.STATS_WAITS - 1, lib.STATS_WAITS)  # one may have been half written
    reader.close()

"""Stats objects in the supervisor's hands: made once, taken back, never faked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.controlplane.supervisor.resources.objects import Objects
from ribcage.controlplane.supervisor.statefile import State
from ribcage.shared.memory.fib_sync import Locks
from ribcage.shared.memory.stats import create_stats
from ribcage.shared.process.names import Names

NAMES = Names("t", Path("/run/none"))


def objects(state: State) -> Objects:
    return Objects(NAMES, state, create_stats)


@pytest.fixture
def first() -> Iterator[Objects]:
    """A supervisor's, with slots 0 and 1; what it has is closed at the end."""
    found = objects(State("t", 7, 1))
    found.stats_fd(0), found.stats_fd(1)
    yield found
    for fd in found.stats.values():
        os.close(fd)


def access(fd: int) -> int:
    flags = Path(f"/proc/self/fdinfo/{fd}").read_text().split("flags:\t")[1].split()[0]
    return int(flags, 8) & os.O_ACCMODE


def test_controls_copy_is_read_only_and_comes_back_writable(first: Objects) -> None:
    """Control is handed O_RDONLY; a successor is handed that and has O_RDWR of the same memory."""
    theirs = first.stats_readonly(1)
    assert access(theirs) == os.O_RDONLY
    second = objects(first.state)
    assert second.take_stats(1, theirs)
    assert access(second.stats[1]) == os.O_RDWR
    assert os.fstat(second.stats[1]).st_ino == os.fstat(first.stats[1]).st_ino
    os.close(second.stats[1])


def test_another_object_than_the_slots_own_is_refused(first: Objects) -> None:
    """A worker hands back its sibling's object, a sealed one of its own making, a pipe: the slot
    takes none of them, and every descriptor is closed."""
    second = objects(first.state)
    forged = create_stats(NAMES, 0, 7)
    read, write = os.pipe()
    os.close(write)
    for wrong in (first.stats_readonly(1), forged, read):
        assert not second.take_stats(0, wrong)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(wrong)
    assert second.stats == {}


def test_the_first_copy_is_kept_and_others_are_closed(first: Objects) -> None:
    """Worker and control hand back the same object: one descriptor stays."""
    again = first.stats_readonly(0)
    before = dict(first.stats)
    assert first.take_stats(0, again) and first.stats == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(again)


def test_slots_given_up_are_remembered(first: Objects) -> None:
    """Counters of a slot that a reload gave up are kept: it is resting, its object the same."""
    inode = os.fstat(first.stats[1]).st_ino
    assert first.resting(1) == [1] and first.resting(2) == []
    assert os.fstat(first.stats_fd(1)).st_ino == inode


def test_lock_words_are_sealed_and_handed_back(first: Objects) -> None:
    """Of `rwlock` and `mutex`: nobody makes them shorter; a successor takes them alone."""
    sync = first.sync_fd()
    with pytest.raises(PermissionError):
        os.ftruncate(sync, 0)
    Locks.of_memory(sync).close()
    second = objects(first.state)
    forged = create_stats(NAMES, 0, 7)
    second.take_sync(forged)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(forged)
    second.take_sync(os.dup(sync))
    assert os.fstat(second.sync_fd()).st_ino == os.fstat(sync).st_ino
    os.close(sync), os.close(second.sync)

"""Who may write the RIB and FIB segments: a lock for a process's life, a semaphore for a batch.

    ownership   open-file-description lock on names.control_lock, taken once, dropped by the
                kernel at death. A second control gets "locked by pid N".
    batch       the POSIX semaphore names.writer_semaphore, taken and posted around each batch of
                changes, with signals blocked, so that nothing but SIGKILL ends one half-way
                (blocked for the calling thread: start others with signals blocked).

A POSIX semaphore stays taken when its holder is killed. So whoever gets the ownership lock is
the successor: it never waits for the semaphore, recovers the segments, then calls `recovered()`,
which puts the count back to one. Use: `guard = WriterGuard(names)`, recover, `guard.recovered()`,
then `with guard.batch(): ...`. Control alone; lock order: ownership, then the semaphore, nothing
else.
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import posix_ipc
from ribcage.shared._core import lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import SHM
from ribcage.shared.process.names import Names

# struct flock on LP64 Linux: type, whence, (padding), start, len, pid, (padding).
FLOCK = struct.Struct("hhqqi4x")
BATCH_WAIT = 1.0  # seconds in which a batch has to be had
STRANGER_WAIT = 0.05  # seconds; nobody but this process has any business with the semaphore


class WriterGuard:
    """Ownership of one instance's segments, and the semaphore around each batch."""

    def __init__(self, names: Names) -> None:
        """Takes ownership at once or raises E_LOCKED; the run directory has to exist."""
        self._fd = _own(names.control_lock)
        self._name = names.writer_semaphore
        try:
            self._semaphore = _semaphore(self._name)
        except BaseException:
            os.close(self._fd)
            raise
        self.inherited = self._semaphore.value == 0
        """True: the writer before died inside a batch."""
        self._held = False
        self._taken_back = False

    @property
    def held(self) -> bool:
        """True inside `batch()`."""
        return self._held

    def recovered(self) -> None:
        """The segments are in order: puts the semaphore back to one, whatever it was."""
        while self._semaphore.value > 1:
            with suppress(posix_ipc.BusyError):
                self._semaphore.acquire(0)
        if self._semaphore.value == 0:
            self._semaphore.release()

    def look(self) -> str:
        """Outside a batch: what was wrong with the semaphore and is right now; "" as a rule. The
        owner alone takes it, so a count that is not one is somebody else's doing."""
        if not (Path(SHM) / f"sem.{self._name[1:]}").exists():
            made = _semaphore(self._name)
            self._semaphore.close()
            self._semaphore = made
            return "removed"
        value = self._semaphore.value
        if value != 1:
            self.recovered()
            self._taken_back = False
            return f"its count was {value}"
        if self._taken_back:
            self._taken_back = False
            return "somebody else had taken it"
        return ""

    def batch(self, end: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Holds the semaphore, signals blocked; `end` is called before it is posted. E_WRITER_BUSY
        after a second in vain."""
        return _Batch(self, end)

    def _take(self) -> None:
        """Of two processes the owner is right: whoever else took the semaphore may give it back
        for a moment, then it counts as lost. A batch that waited longer would stop all of control;
        what is too much after a late give-back, `look()` takes away."""
        try:
            self._semaphore.acquire(0)
            return
        except (posix_ipc.BusyError, posix_ipc.SignalError):
            start = time.monotonic()
        patience, end = start + STRANGER_WAIT, start + BATCH_WAIT
        while True:
            try:
                self._semaphore.acquire(max(0.0, patience - time.monotonic()))
                return
            except posix_ipc.SignalError:  # a fault signal's handler ran; the time left counts
                continue
            except posix_ipc.BusyError:
                pass
            if time.monotonic() >= end:
                raise RibcageError(
                    "E_WRITER_BUSY",
                    f"the writer's semaphore was not free within {BATCH_WAIT:g} s, although this "
                    "process owns the segments",
                    hint="some other program took it; `fuser /dev/shm/sem.*` names it",
                    exit_code=Exit.TIMEOUT,
                )
            self._taken_back = True
            self.recovered()

    def close(self) -> None:
        """Gives ownership up. The semaphore's name stays: the supervisor made it."""
        if self._fd < 0:
            return
        self._semaphore.close()
        os.close(self._fd)
        self._fd = -1


def _semaphore(name: str) -> posix_ipc.Semaphore:
    return posix_ipc.Semaphore(name, posix_ipc.O_CREAT, mode=0o600, initial_value=1)


class _Batch:
    """One batch. A class, not a generator: entering it is a third of what an update costs."""

    __slots__ = ("_end", "_guard", "_mask")

    def __init__(self, guard: WriterGuard, end: Callable[[], None] | None) -> None:
        self._guard = guard
        self._end = end

    def __enter__(self) -> None:
        guard = self._guard
        if guard._held:
            raise RuntimeError("a batch is open already")
        self._mask = lib.sys_block_signals()
        try:
            guard._take()
        except BaseException:
            lib.sys_restore_signals(self._mask)
            raise
        guard._held = True

    def __exit__(self, *_: object) -> None:
        guard = self._guard
        try:
            if self._end is not None:
                self._end()
        finally:
            guard._held = False
            try:
                guard._semaphore.release()
            finally:
                lib.sys_restore_signals(self._mask)


def _own(path: Path) -> int:
    """A descriptor that holds the lock on `path`, this process's pid written in the file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        request = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        owner = os.pread(fd, 64, 0).split()
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        pid = owner[0].decode(errors="replace") if owner else "unknown (it is just starting)"
        raise RibcageError(
            "E_LOCKED",
            f"{path} is locked by pid {pid}",
            hint="that control process owns the RIB and FIB; stop it first",
            exit_code=Exit.RUNNING,
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {_start_time(os.getpid())}\n".encode(), 0)
    return fd


def _start_time(pid: int) -> int:
    """Start time of a process in clock ticks since boot: tells it from a later one of its pid."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[19])

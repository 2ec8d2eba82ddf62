"""Makes, keeps and removes the IPC objects of an instance: semaphore, SysV queue, stats objects.

Use: `Objects.create(names, ...)` for a new run, `Objects.attach(names, state)` for a supervisor
that adopts. Every name and key is in the state file before the object exists, so that whatever
dies when, the next start finds it. Mode 0600 from the moment of creation. Where processes have
users of their own, the semaphore and the queue are control's, and workers may send (the queue's
mode is 0620, its group theirs). Creation is exclusive: an object of that name which our state
file does not know belongs to somebody else and is never touched.

Stats objects have no name (shared/memory/stats.py): the state file has their inodes, and who
outlives the supervisor hands them back. The FIB and RIB segments are control's; they are recorded
and removed here, because control may be dead when the time comes.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import sysv_ipc

from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.controlplane.supervisor.statefile import State
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_sync import (
    DEFAULT_STRATEGY,
    WITH_SEMAPHORE,
    create_sealed_sync,
    create_semaphore,
    open_semaphore,
    remove_semaphore,
)
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.segment import open_segment
from ribcage.shared.memory.stats import is_stats, keep_rings
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.refusals import refused

SHM = Path("/dev/shm")
CreateStats = Callable[[Names, int, int], int]  # (names, worker slot, instance id) -> fd
Keep = Callable[[str, int], None]  # name in the descriptor store, descriptor


class Objects:
    """Handles of the objects. Owns `stats` descriptors; only the supervisor has one."""

    def __init__(
        self,
        names: Names,
        state: State,
        create_stats: CreateStats,
        users: Users | None = None,
        keep: Keep = lambda name, fd: None,
    ) -> None:
        """`users`: whose semaphore and queue are, and which group may send to the queue. `keep`:
        the descriptor store's, for what has no name."""
        self.names = names
        self.state = state
        self.stats: dict[int, int] = {}
        self.sync = -1
        self.owner = None if users is None else users.control
        self.group = None if users is None else users.group
        if users is not None:
            state.users = users.ids
        self.unsaved = False
        self._store_keep = keep
        self._create_stats = create_stats

    @classmethod
    def create(
        cls,
        names: Names,
        create_stats: CreateStats,
        queue_bytes: int,
        users: Users | None = None,
        sync: str = DEFAULT_STRATEGY,
        keep: Keep = lambda name, fd: None,
    ) -> "Objects":
        """A new run: random instance id and queue key. E_TAKEN when a name is in use, E_LAYOUT
        when what has it is no segment of this build."""
        state = State(names.instance, _random(8) >> 1 | 1, os.getpid())
        state.semaphore = names.writer_semaphore
        segments = (
            (names.fib, SegmentKind.FIB),
            (names.rib, SegmentKind.RIB),
        )
        for name, kind in segments:
            if _shm_path(name).exists():
                raise _occupied(name, kind)
        state.shm = list(names.segments)
        objects = cls(names, state, create_stats, users, keep)
        try:
            objects._create_semaphore()
        except RibcageError:
            names.state_file.unlink(missing_ok=True)
            raise
        try:
            objects._create_queue(queue_bytes)
            if sync in WITH_SEMAPHORE:
                # Recorded a moment after it exists: a kill in between leaves a set nobody uses.
                state.sync_key, _ = create_semaphore(objects.group)
                objects.save()
        except BaseException:  # nothing is left that would stop the next start
            remove_recorded(state)
            names.state_file.unlink(missing_ok=True)
            raise
        return objects

    @classmethod
    def attach(
        cls,
        names: Names,
        state: State,
        create_stats: CreateStats,
        users: Users | None = None,
        keep: Keep = lambda name, fd: None,
    ) -> "Objects":
        """Takes over the objects a dead supervisor made; what is missing is made anew."""
        state.supervisor = os.getpid()
        objects = cls(names, state, create_stats, users, keep)
        if not _semaphore_exists(state.semaphore):
            log("warning", "object.missing", name=state.semaphore)
            objects._create_semaphore()
        objects.save()
        return objects

    def save(self) -> None:
        """The state file; when it cannot be written, the copy in the descriptor store is newer, and
        mending.py tries again. It never raises: a full disk stops nobody."""
        self.state.serial += 1
        try:
            self.state.write(self.names.state_file)
        except OSError as error:
            if not self.unsaved:
                log("error", "state.unsaved", error=str(error))
            self.unsaved = True
            return
        if self.unsaved:
            log("info", "state.saved")
        self.unsaved = False

    def _create_semaphore(self) -> None:
        self.save()
        owner = self.owner
        try:
            posix_ipc.Semaphore(
                self.state.semaphore, posix_ipc.O_CREX, mode=0o600, initial_value=1
            ).close()
            if owner is not None:
                # Made a moment ago, ours, in a sticky folder: nobody else can have renamed it.
                path = SHM / f"sem.{self.state.semaphore[1:]}"
                os.chown(path, owner, owner, follow_symlinks=False)
        except posix_ipc.ExistentialError as error:
            raise _taken(f"/dev/shm/sem.{self.state.semaphore[1:]}") from error
        except (OSError, posix_ipc.Error) as error:
            raise refused("semaphore_create", getattr(error, "errno", None), why=error) from error

    def _create_queue(self, queue_bytes: int) -> None:
        owner, group = self.owner, self.group
        while True:
            self.state.queue_key = _random(4) >> 1 | 1
            self.save()
            try:
                queue = sysv_ipc.MessageQueue(
                    self.state.queue_key,
                    sysv_ipc.IPC_CREX,
                    mode=0o600 if group is None else 0o620,
                )
                break
            except sysv_ipc.ExistentialError:
                continue  # somebody's key: take another
            except (OSError, sysv_ipc.Error) as error:
                number = getattr(error, "errno", None)
                if number is None and "limit" in str(error):  # sysv_ipc says ENOSPC in words only
                    number = errno.ENOSPC
                raise refused("queue_create", number, why=error) from error
        if group is not None and owner is not None:
            queue.gid = group
            queue.uid = owner
        try:
            queue.max_size = queue_bytes
        except (ValueError, OSError, sysv_ipc.Error) as error:
            # Above kernel.msgmnb without CAP_SYS_RESOURCE: the queue stays at the kernel's size.
            log("warning", "queue.size", wanted=queue_bytes, got=queue.max_size, error=str(error))
        self.state.queue_bytes = int(queue.max_size)
        self.save()

    def renew_queue(self) -> str | None:
        """Another queue, when there really is something wrong with this one (what is returned):
        who may send to it may remove it as well. What lay in it is lost, and was hints."""
        try:
            queue = EventQueue.open(self.state.queue_key)
        except RibcageError as error:
            wrong: str | None = error.message
        else:
            wrong = queue.fault(self.state.queue_bytes)
            if wrong is not None:
                with contextlib.suppress(sysv_ipc.Error, OSError):
                    queue.remove()
        if wrong is not None:
            self._create_queue(self.state.queue_bytes)
        return wrong

    def stats_fd(self, worker: int) -> int:
        """The read-write descriptor of a slot's stats object, made on first use. The state file
        has it with the next save, which follows the fork that hands it over."""
        if worker not in self.stats:
            self._keep(worker, self._create_stats(self.names, worker, self.state.instance_id))
        return self.stats[worker]

    def _keep(self, worker: int, fd: int) -> None:
        old = self.stats.get(worker, -1)
        self.stats[worker] = fd
        self.state.stats[worker] = os.fstat(fd).st_ino
        self._store_keep(f"stats-{worker}", fd)
        if old >= 0:
            os.close(old)

    def stats_readonly(self, worker: int) -> int:
        """A fresh O_RDONLY descriptor, the caller's own: what control is given."""
        return _open_again(self.stats_fd(worker), os.O_RDONLY)

    def take_stats(self, worker: int, fd: int) -> bool:
        """What a child kept through a supervisor's death: its slot's object again, whatever its
        copy may do with it. False for anything else than that very object. Owns `fd`."""
        try:
            if worker in self.stats or not is_stats(fd):
                return worker in self.stats
            if os.fstat(fd).st_ino != self.state.stats.get(worker):
                return False
            self.stats[worker] = _open_again(fd, os.O_RDWR)
            self._store_keep(f"stats-{worker}", self.stats[worker])
            return True
        except OSError as error:
            log("error", "stats.lost", worker=worker, error=str(error))
            return False
        finally:
            os.close(fd)

    def renew_stats(self, worker: int) -> None:
        """The slot's worker cannot use its object: a new one, with counters at zero. What its
        rings are at is kept, or frames would wait until the kernel has been round once."""
        new = self._create_stats(self.names, worker, self.state.instance_id)
        if worker in self.stats:
            with contextlib.suppress(OSError, ValueError):  # the old one is of another size
                keep_rings(self.stats[worker], new)
        self._keep(worker, new)

    def resting(self, workers: int) -> list[int]:
        """Slots from `workers` on, given up by a reload. Their objects stay, so that totals never
        go backwards: control goes on counting them, and the slot's next worker goes on there."""
        return sorted(slot for slot in self.stats if slot >= workers)

    def sync_fd(self) -> int:
        """The lock words of strategies that have them: sealed memory, made on first use."""
        if self.sync < 0:
            self.sync = create_sealed_sync(self.names.sync[1:], self.state.instance_id)
            self.state.sync_inode = os.fstat(self.sync).st_ino
            self._store_keep("sync", self.sync)
        return self.sync

    def take_sync(self, fd: int) -> None:
        """What a child kept through a supervisor's death; any other memory is closed."""
        if self.sync < 0 and os.fstat(fd).st_ino == self.state.sync_inode != 0:
            self.sync = fd
            self._store_keep("sync", fd)
        else:
            os.close(fd)

    def remove(self) -> None:
        """Orderly end: everything recorded is removed, descriptors are closed. Never raises."""
        if self.sync >= 0:
            os.close(self.sync)
            self.sync = -1
        for fd in self.stats.values():
            os.close(fd)
        self.stats.clear()
        remove_recorded(self.state)


def remove_recorded(state: State) -> list[str]:
    """Removes what a state file names; returns what was really there. Owner must be dead or us."""
    removed = list(_remove(state))
    if removed:
        log("debug", "object.removed", names=" ".join(removed))
    return removed


def _remove(state: State) -> Iterator[str]:
    """What is gone already is no error, and what may not be removed keeps nothing else."""
    for name in state.shm:
        with contextlib.suppress(OSError):
            _shm_path(name).unlink()
            yield name
    if state.semaphore:
        with contextlib.suppress(OSError, posix_ipc.Error):
            posix_ipc.unlink_semaphore(state.semaphore)
            yield state.semaphore
    if state.queue_key:
        with contextlib.suppress(OSError, sysv_ipc.Error):
            sysv_ipc.MessageQueue(state.queue_key).remove()
            yield f"queue {state.queue_key:#x}"
    if state.sync_key:
        with contextlib.suppress(RibcageError):
            remove_semaphore(open_semaphore(state.sync_key))
            yield f"semaphores {state.sync_key:#x}"


def _open_again(fd: int, access: int) -> int:
    """Another description of the same memory: a copy of the descriptor would have its access."""
    return os.open(f"/proc/self/fd/{fd}", access | os.O_CLOEXEC)


def _shm_path(name: str) -> Path:
    return SHM / name[1:]


def _semaphore_exists(name: str) -> bool:
    return (SHM / f"sem.{name[1:]}").exists()


def _random(size: int) -> int:
    # Not `secrets`: it loads OpenSSL, 4 MB in every process.
    return int.from_bytes(os.urandom(size), "little")


def _occupied(name: str, kind: SegmentKind) -> RibcageError:
    """Why a segment that we did not make stops us: another layout, or another router."""
    try:
        open_segment(name, kind).close()
    except RibcageError as error:
        if error.code in ("E_LAYOUT", "E_PERMISSION"):
            return error
    return _taken(f"/dev/shm{name}")


def _taken(what: str) -> RibcageError:
    return RibcageError(
        "E_TAKEN",
        f"{what} exists and was not made by this run directory",
        hint="another router of this name runs with another RIBCAGE_RUN_DIR, or remove the object",
        exit_code=Exit.RUNNING,
    )

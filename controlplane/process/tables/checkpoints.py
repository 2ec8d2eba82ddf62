"""The checkpoint file: read at a fresh start, written at the stop, now and then, and when asked.

    checkpoints = Checkpoints(names, instance_id, core, tasks, progress, log)
    checkpoints.begin(fresh);  await checkpoints.restore()      # once the links are known
    checkpoints.watch()                # every rib.checkpoint_interval, if something changed
    await checkpoints.write()          # now; also at an orderly stop

The rows are copied in one go, everything else is a thread's: checksums, temporary file,
fsync, rename, fsync of the folder. So a kill at any moment leaves the old file whole or the new
one, and the loop waits for no disk. A file that is not ours or not whole is kept aside as
NAME.refused, told, and the router starts without it. Sources that a start asks anyway (connected,
static, neighbour) are left out.

While control is replaced the RIB segment lives, and the file is not looked at; but a control that
died while it read the file left half a table. So the end of the reading is noted in the run
directory, with the number of this run; without that note the successor reads again, and nobody
writes a checkpoint before. Control only.
"""

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage.controlplane.kernel.netlink.deadline import KernelSilent, in_thread
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.rib.checkpoint import Checkpoint, TableCopy, pack, read, take
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.restore import restore, sweep
from ribcage.controlplane.routes.sources.table import SOURCES
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.names import Names

KEPT = tuple(source.number for source in SOURCES if source.offer is None)
MAX_BYTES = 1 << 32
READ_WAIT = 20.0
WRITE_WAIT = 30.0
STOP_WAIT = 1.5  # of the 5 s that the supervisor gives an orderly stop
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class Checkpoints:
    """See the module's text."""

    def __init__(
        self,
        names: Names,
        instance_id: int,
        core: Core,
        tasks: Tasks,
        progress: Callable[[], None],
        log: Callable[..., None],
    ) -> None:
        """`progress` is called while a long file is read."""
        self.path = names.checkpoint
        self._note = names.restored
        self._run = str(instance_id)
        self._complete = False
        self.facts: dict[str, Any] = {"written": 0, "failed": 0, "restored": None}
        self._instance = names.instance
        self._core = core
        self._tasks = tasks
        self._progress = progress
        self._log = log
        self._last = -1  # the CRC of what the file holds
        self._busy = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    # -- a fresh start

    def begin(self, fresh: bool) -> None:
        """Whether the file is still to be read. First of all: the note of another table goes."""
        try:
            if fresh:
                self._note.unlink(missing_ok=True)
            else:
                self._complete = _note(self._note) == self._run.encode()
        except OSError:
            pass  # no note: the one before us was not through with it

    async def restore(self) -> None:
        """What the file holds is in force. Without one, or with one that is not ours, nothing."""
        if self._complete or not self._core.plan.rib.checkpoint:
            return
        await self._restore()
        self._complete = True
        try:
            self._note.write_text(self._run)
        except OSError as error:  # then a successor reads the file once more
            self._log("error", "checkpoint.note", file=str(self._note), why=error.strerror)

    async def _restore(self) -> None:
        try:
            found = await in_thread(READ_WAIT, _read, self.path, self._instance)
        except FileNotFoundError:
            return
        except (OSError, KernelSilent) as error:
            self._log("error", "checkpoint.unread", file=str(self.path), why=str(error)[:200])
            return
        except RibcageError as error:
            self._aside(error)
            return
        done = await restore(self._core, found, KEPT, self._progress)
        self.facts["restored"] = {"routes": done.routes, "refused": done.refused,
                                  "stale": sorted(done.stale), "written": found.written,
                                  "seconds": round(done.seconds, 3)}  # fmt: skip
        level = "warning" if done.refused else "info"
        self._log(level, "checkpoint.restored", routes=done.routes, refused=done.refused,
                  why=done.why or None, age_s=round(time.time() - found.written),
                  seconds=round(done.seconds, 3))  # fmt: skip
        if done.refused:
            self._keep()
        if done.stale:
            self._tasks.spawn(self._sweep_later(done.stale), "stale")

    async def _sweep_later(self, stale: dict[int, int]) -> None:
        await asyncio.sleep(self._core.plan.rib.stale_time)
        gone = await sweep(self._core, stale)
        self._log("info", "checkpoint.swept", routes=gone)

    @property
    def _kept(self) -> Path:
        return self.path.with_name(self.path.name + ".refused")

    def _aside(self, error: RibcageError) -> None:
        with contextlib.suppress(OSError):
            self.path.replace(self._kept)
        self._log("error", "checkpoint.refused", why=error.message, kept=str(self._kept))

    def _keep(self) -> None:
        """The next write will not have what was refused: this file stays under another name."""
        with contextlib.suppress(OSError):
            self._kept.unlink(missing_ok=True)
            self._kept.hardlink_to(self.path)
        self._log("warning", "checkpoint.kept", kept=str(self._kept))

    # -- writing

    def watch(self) -> None:
        """From now on every interval; what has not changed is not written again."""
        if self._core.plan.rib.checkpoint:
            every = self._core.plan.rib.checkpoint_interval
            self._timer = asyncio.get_running_loop().call_later(every, self._due)

    def _due(self) -> None:
        self._tasks.spawn(self._now_and_then(), "checkpoint")
        self.watch()

    async def _now_and_then(self) -> None:
        with contextlib.suppress(RibcageError):  # logged and counted
            await self.write(unchanged=False)

    async def write(self, limit: float = WRITE_WAIT, unchanged: bool = True) -> dict[str, Any]:
        """The file is what the table is. `unchanged`: also when it was so before. E_CHECKPOINT."""
        if not self._core.plan.rib.checkpoint:
            raise RibcageError(
                "E_NO_CHECKPOINT",
                "this router keeps no checkpoint",
                "checkpoint = true in [rib], then start the router again",
                Exit.NO,
            )
        if not self._complete:
            raise RibcageError(
                "E_CHECKPOINT", "the last one is still being read", "ask again", Exit.NO
            )
        async with self._busy:
            start = time.monotonic()
            core = self._core
            taken = take(
                core.rib, core.forwarding.sets, core.topology.indices, self._instance, KEPT
            )
            known = None if unchanged else self._last
            size, self._last = await self._put(taken, known, limit)
            if not size:
                return {}
            self.facts["written"] += 1
            seconds = round(time.monotonic() - start, 3)
            self._log("info", "checkpoint.written", routes=taken.count, bytes=size, seconds=seconds)
            return {"file": str(self.path), "routes": taken.count, "bytes": size,
                    "seconds": seconds}  # fmt: skip

    async def _put(self, taken: TableCopy, known: int | None, limit: float) -> tuple[int, int]:
        try:
            return await in_thread(limit, _write, self.path, taken, known)
        except (OSError, KernelSilent) as error:
            self.facts["failed"] += 1
            why = error.strerror if isinstance(error, OSError) else f"not within {limit:g} s"
            self._log("error", "checkpoint.failed", file=str(self.path), why=why)
            raise RibcageError(
                "E_CHECKPOINT", f"{self.path} could not be written: {why}", None, Exit.NO
            ) from error

    async def stop(self) -> None:
        """The last one, at an orderly stop."""
        self.close()
        if self._core.plan.rib.checkpoint and self._complete:
            with contextlib.suppress(RibcageError):  # logged and counted
                await self.write(STOP_WAIT, unchanged=False)

    def close(self) -> None:
        """No timer runs any more."""
        if self._timer is not None:
            self._timer.cancel()


def _note(path: Path) -> bytes:
    """What the note says: any bytes, so that one which somebody overwrote is none, and no more."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | FLAGS)
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def _read(path: Path, instance: str) -> Checkpoint:
    """In a thread. OSError; E_CHECKPOINT for what is not ours."""
    fd = os.open(path, os.O_RDONLY | FLAGS)
    with os.fdopen(fd, "rb", buffering=0) as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise RibcageError("E_CHECKPOINT", "the checkpoint is no file of ours alone")
        if info.st_size > MAX_BYTES:
            raise RibcageError("E_CHECKPOINT", f"the checkpoint has {info.st_size} bytes")
        data, at = bytearray(info.st_size), 0
        while at < len(data) and (got := file.readinto(memoryview(data)[at:])):
            at += got
    return read(data if at == len(data) else data[:at], instance)


def _write(path: Path, taken: TableCopy, known: int | None) -> tuple[int, int]:
    """In a thread: bytes written, and their CRC; none when that is `known`. The name stands for
    the old file until the new one is on the disk."""
    packed = pack(taken)
    if packed.crc == known:
        return 0, packed.crc
    temporary = path.with_suffix(".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | FLAGS, 0o600)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            total = 0
            for piece in packed.pieces:
                left = memoryview(piece).cast("B")
                while left:
                    done = file.write(left)
                    total += done
                    left = left[done:]
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return total, packed.crc

"""Allows one supervisor a run directory: a lock that the kernel drops at its death.

Use: `lock = SupervisorLock.take(names)` before anything else. The file holds the owner's pid for
the message a second start gets; the lock, not the file, decides. Children close the descriptor,
so nobody but the supervisor holds it.
"""

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.names import Names

_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock

RETRY = 0.02


class SupervisorLock:
    """Held as long as the object's descriptor is open."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def take(cls, names: Names, patience: float = 0.0) -> "SupervisorLock":
        """E_RUNNING (exit 8) with the owner's pid when another supervisor has it.

        `patience`: seconds in which it may yet come free. A supervisor that was killed between a
        fork and the child's first steps has left the lock to that child, which closes it there.
        """
        path = names.supervisor_lock
        end = time.monotonic() + patience
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(path, flags, 0o600)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            except BlockingIOError as error:
                owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                if time.monotonic() < end:
                    time.sleep(RETRY)
                    continue
                raise RibcageError(
                    "E_RUNNING",
                    f'router "{names.instance}" is already running, pid {owner}',
                    hint=f"stop it (kill -TERM {owner}) or choose another --instance",
                    exit_code=Exit.RUNNING,
                ) from error
            # The last owner may have removed the file between our open and our lock.
            if path.exists() and path.stat().st_ino == os.fstat(fd).st_ino:
                break
            os.close(fd)
        # The number is for messages: without room for it, the lock is what counts.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd, path)

    @property
    def in_force(self) -> bool:
        """The file of that name is the one we hold: somebody may have removed it."""
        try:
            return self.path.stat().st_ino == os.fstat(self.fd).st_ino
        except OSError:
            return False

    def release(self, remove: bool = True) -> None:
        """Removes the file, then lets go: in this order nobody locks a file that vanishes."""
        if remove and self.in_force:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self.fd)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock on this file, in whatever pid namespace."""
    return _holder(path) is not None


def lock_owner(path: Path) -> int | None:
    """The pid of the supervisor that holds the lock now, or None."""
    text = _holder(path) or b""
    return int(text) if text.isdigit() and len(text) < 10 else None


def _holder(path: Path) -> bytes | None:
    """What the file of a held lock says; None when nobody holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # struct flock, asked for a read lock: only a held write lock conflicts.
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        (kind,) = struct.unpack_from("h", fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
        text = os.pread(fd, 32, 0).strip()
    except OSError:
        return None
    finally:
        os.close(fd)
    return text if kind != fcntl.F_UNLCK else None

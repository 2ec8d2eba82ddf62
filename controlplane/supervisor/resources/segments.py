"""Puts right what stands at the names of control's objects in /dev/shm: before each control, and
once a second.

    mend_objects(names, owner, fib_fd)

A table that somebody closed (chmod) or gave away (chown) would end every control at its start, for
ever. Control's own is opened again; the FIB, known by the descriptor that we hold, is given back.
What is not control's, not a file, or of another run is removed: whoever it belongs to may write
it, and control makes a lost table from the other one. Only once the router was ready: before, a
name that is taken is somebody else's, and ends the start. Supervisor only.
"""

import os
import stat
import struct
from pathlib import Path

from ribcage.controlplane.supervisor.resources.shm import SHM
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names

ASIDE = ".void"
# glibc's struct new_sem on LP64 Linux, the whole file: count, waiters, whether it is private.
SEMAPHORE = struct.Struct("<IIi20x")
MANY = 1 << 16  # of both; a count of a few is put right by control
SHARED = (0, 128)  # 128: of processes


def mend_objects(names: Names, owner: int, fib_fd: int = -1) -> None:
    """Never raises: what cannot be put right is control's to tell."""
    for name in (*names.segments, f"/sem.{names.writer_semaphore[1:]}"):
        path = SHM / name[1:]
        try:
            if done := _mend(path, owner, fib_fd):
                log("warning", "object.mended", path=str(path), what=done)
        except FileNotFoundError:
            continue
        except OSError as error:
            log("error", "object.unmended", path=str(path), error=error.strerror)


def _mend(path: Path, owner: int, fib_fd: int) -> str:
    """What was done; "" where all is right, as a rule."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        info, itself = os.fstat(fd), f"/proc/self/fd/{fd}"
        if stat.S_ISDIR(info.st_mode):
            try:
                path.rmdir()
            except OSError:
                path.rename(path.with_name(path.name + ASIDE))
            return "a folder stood there"
        lent = fib_fd >= 0 and os.path.samestat(info, os.fstat(fib_fd))
        if not stat.S_ISREG(info.st_mode) or (info.st_uid != owner and not lent):
            path.unlink()
            return f"removed, it was uid {info.st_uid}'s"
        if path.name.startswith("sem.") and info.st_nlink == 1 and not _is_semaphore(itself):
            path.unlink()  # control makes one; this one would end it, by SIGBUS or abort()
            return "removed, it was no semaphore"
        if info.st_nlink != 1:
            return ""  # its other name is not ours to change
        if info.st_uid != owner:
            os.chown(itself, owner, -1)
        if info.st_mode & 0o600 != 0o600:
            Path(itself).chmod(0o600)
        elif info.st_uid == owner:
            return ""
        return f"was uid {info.st_uid}'s, mode {stat.S_IMODE(info.st_mode):04o}"
    finally:
        os.close(fd)


def _is_semaphore(path: str) -> bool:
    with Path(path).open("rb", buffering=0) as file:
        raw = file.read(SEMAPHORE.size + 1)
    if len(raw) != SEMAPHORE.size:
        return False
    count, waiters, private = SEMAPHORE.unpack(raw)
    return count < MANY and waiters < MANY and private in SHARED

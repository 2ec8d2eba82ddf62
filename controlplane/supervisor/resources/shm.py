"""Opens what others made in /dev/shm, where everybody may make files: not by its name alone."""

import errno
import os
import stat
from pathlib import Path

SHM = Path("/dev/shm")


def open_shm(name: str, *, write: bool = False, owner: int | None = None) -> int:
    """A POSIX shm object: what shm_open(3) does, without a library in between. OSError, too, when
    it is no plain file with one name, or not `owner`'s: the name may have been free for a moment.
    """
    access = os.O_RDWR if write else os.O_RDONLY
    fd = os.open(SHM / name[1:], access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    info = os.fstat(fd)
    if stat.S_ISREG(info.st_mode) and owner in (None, info.st_uid) and info.st_nlink == 1:
        return fd
    os.close(fd)
    raise PermissionError(errno.EPERM, f"it belongs to uid {info.st_uid}", name)

"""The management socket in the file system: made safely, removed only when it is ours.

    listener = make_listener(path, mode=0o660, group="ribcage")
    ...
    remove_listener(path, listener)

A socket that a live process serves is never replaced ("already running, pid N", exit 8); one
that nobody answers on is. Control only, which holds the control lock meanwhile.
"""

import grp
import os
import socket
import stat
from pathlib import Path

from ribcage.controlplane.management.peer import CREDENTIALS
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.refusals import refused

BACKLOG = 128
MAX_PATH = 107  # sizeof(sun_path) - 1


def make_listener(path: Path, mode: int = 0o600, group: str | None = None) -> socket.socket:
    """A listening, non-blocking, close-on-exec socket at `path`, mode and group set.

    E_RUNNING (exit 8), E_SOCKET (something else is in the way, or it cannot be made),
    E_GROUP (no such group, or not allowed to give it).
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise RibcageError(
            "E_SOCKET",
            f"socket path {path} has {len(os.fsencode(path))} bytes, at most {MAX_PATH} work",
            "set RIBCAGE_RUN_DIR to a shorter directory",
            Exit.CONFIG,
        )
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # From bind() to chmod() nobody but us may connect, whatever the umask was.
    before = os.umask(0o077)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise refused("management_socket", error.errno, what="make", path=path) from error
    finally:
        os.umask(before)
    try:
        if group is not None:
            _give(path, group)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except BaseException:
        remove_listener(path, listener)
        raise
    return listener


def remove_listener(path: Path, listener: socket.socket) -> None:
    """Closes the socket and removes its file, unless another socket has taken the name.

    (A file that is not ours answers; ours does not once it is closed.)"""
    listener.close()
    try:
        if holder(path) is None:
            path.unlink()
    except (FileNotFoundError, PermissionError):  # or the folder is one that we may not enter
        return


def holder(path: Path) -> int | None:
    """The pid that listens at `path` (0: outside our pid namespace), None when nobody does.

    FileNotFoundError when there is no such file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return None
        except BlockingIOError:  # a full backlog is somebody's
            return 0
        raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return int(CREDENTIALS.unpack(raw)[0])


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise RibcageError(
                "E_SOCKET", f"{path} exists and is not a socket", "move it away", Exit.CONFIG
            )
        pid = holder(path)
        if pid is None:
            path.unlink()
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused("management_socket", error.errno, what="use", path=path) from error
    raise RibcageError(
        "E_RUNNING",
        f"already running, pid {pid}: it serves {path}",
        "`ribcage stop` ends it; another --instance runs beside it",
        Exit.RUNNING,
    )


def _give(path: Path, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise RibcageError(
            "E_GROUP", f"management.group {group!r} does not exist here", None, Exit.CONFIG
        ) from None
    except OSError as error:
        raise refused("management_group", error.errno, path=path, group=group) from error

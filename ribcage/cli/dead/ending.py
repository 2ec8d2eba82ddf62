"""Ends a router that has no supervisor: its processes by pidfd, then what they leave.

    ended, removed, problems = end(remains, patience=5.0)

SIGTERM to all, SIGKILL to the slow, in seconds; kernel settings are undone and objects removed
where the processes were. For `stop`, and (without processes) for `gc` and `undo`.
"""

import contextlib
import os
import select
import signal
import time

from ribcage.cli.dead.inside import Place
from ribcage.cli.dead.remains import Remains, clear
from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.shared.errors import Exit, RibcageError

KILLED = 2.0  # seconds for SIGKILL to be obeyed


def end(remains: Remains, patience: float) -> tuple[list[int], list[str], list[str]]:
    """(pids that were ended, names that were removed, problems). E_RUNNING when a supervisor was
    started meanwhile, E_TIMEOUT when somebody cannot be killed, E_PERMISSION for others' processes.
    """
    place = Place.of(remains.children[0].pid) if remains.children else Place()
    try:
        ended = end_processes(remains, patience)
        lock = SupervisorLock.take(remains.names)
        try:
            removed, problems = place.run(lambda: clear(remains.names, remains.state))
        finally:
            lock.release()
            remains.names.remove_run_dir()
        return ended, removed, problems
    finally:
        place.close()


def end_processes(remains: Remains, patience: float) -> list[int]:
    """By pidfd and start time: these very processes, or nobody."""
    open_fds: dict[int, int] = {}
    try:
        for pid, start in remains.living:
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                open_fds[fd] = pid
                if not processes.is_alive(pid, start):
                    os.close(fd)
                    del open_fds[fd]
        ended = list(open_fds.values())
        left = dict(open_fds)
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, KILLED)):
            for fd in left:
                _send(fd, left[fd], number)
            left = _wait(left, seconds)
    finally:
        for fd in open_fds:
            os.close(fd)
    if left:
        raise RibcageError(
            "E_TIMEOUT",
            f"pid {', '.join(map(str, left.values()))} cannot be killed",
            "it waits in the kernel (state D); try again later",
            Exit.TIMEOUT,
        )
    return ended


def _send(fd: int, pid: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise RibcageError(
            "E_PERMISSION", f"pid {pid} may not be signalled", "as root, or as the router's user",
            Exit.PRIVILEGE,
        ) from error  # fmt: skip


def _wait(left: dict[int, int], seconds: float) -> dict[int, int]:
    """Those that live after so many seconds."""
    poller = select.poll()
    for fd in left:
        poller.register(fd, select.POLLIN)
    left = dict(left)
    deadline = time.monotonic() + seconds
    while left and (rest := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(rest * 1000):
            poller.unregister(fd)
            del left[fd]
    return left

"""Runs a function where a router's objects are: its mount and IPC namespace may not be ours.

    count = inside(supervisor_pid, fill, key)     # in a forked child there, if that is elsewhere
    with elsewhere(supervisor_pid, hold, name) as running:
        while running(): ...                       # meanwhile, look at what happens

`/dev/shm`, System V queues and links belong to namespaces; a router in a lab has its own.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from ribcage.lab.topology.inside import LabError, call_inside
from ribcage.shared.errors import Exit, RibcageError

P = ParamSpec("P")
R = TypeVar("R")


def _differs(pid: int, kind: str) -> bool:
    try:
        there, here = (Path(f"/proc/{one}/ns/{kind}").readlink() for one in (pid, "self"))
    except OSError as error:
        raise RibcageError(
            "E_PERMISSION", f"process {pid} may not be looked into: {error.strerror}",
            "be the router's user, or root", Exit.PRIVILEGE,
        ) from error  # fmt: skip
    return there != here


def inside(pid: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """function(*args) where process `pid` lives; what it raises comes back."""
    if not any([_differs(pid, kind) for kind in ("mnt", "ipc", "net")]):
        return function(*args, **kwargs)
    try:
        return call_inside(pid, _differs(pid, "user"), function, *args, **kwargs)
    except LabError as error:
        raise RibcageError(
            "E_PERMISSION", f"the router's namespaces may not be entered: {error}",
            "be the router's user, or root", Exit.PRIVILEGE,
        ) from error  # fmt: skip


@contextlib.contextmanager
def elsewhere(
    pid: int, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Callable[[], bool]]:
    """The same in a child of its own; it is gone when the block has ended."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            inside(pid, function, *args, **kwargs)
            status = 0
        os._exit(status)
    ended: list[int] = []

    def running() -> bool:
        if not ended and os.waitpid(child, os.WNOHANG)[0]:
            ended.append(child)
        return not ended

    try:
        yield running
    finally:
        if running():
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)

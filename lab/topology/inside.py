"""Runs a Python function inside a process's namespaces and brings back what it returned.

`Node.call` is the way to use it. The function runs in a forked child, which enters the namespaces
(user first, so that it has the rights for the others) and ends with the call, or with its parent:
a killed test run leaves nobody behind. The result or the exception comes back pickled. Python
3.11 has neither os.setns nor prctl, hence ctypes.
"""

import ctypes
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

PR_SET_PDEATHSIG = 1


class LabError(Exception):
    """A namespace, link or command of the lab could not be made; the text says which and why."""


def die_with(parent: int) -> None:
    """SIGKILL for this process when the thread that forked it ends, in whatever way (`parent` is
    the pid of that process).

    The end of the lab's pipe is not enough: this child holds a copy. The kernel forgets it when
    credentials change, so it is called again in another user namespace. A parent that has ended
    already is noticed here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise LabError(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        os._exit(1)


def enter(pid: int, user: bool) -> None:
    """Move this (single-threaded) process into the namespaces of process `pid`."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = Path.cwd()
    kinds = [*(["user"] if user else []), "mnt", "ipc", "net"]
    descriptors = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    for kind, descriptor in zip(kinds, descriptors, strict=True):
        if libc.setns(descriptor, 0) != 0:
            raise LabError(f"setns({kind}): {os.strerror(ctypes.get_errno())}")
        os.close(descriptor)
    os.chdir(here)


def call_inside(
    pid: int, user: bool, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """`function(*args)` in a child inside the namespaces of `pid`; `user` as for `enter`.

    Raises what the function raised, with the child's traceback as a note; LabError when the child
    died, or when the exception cannot be pickled.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            die_with(parent)
            answer = _answer(pid, user, parent, lambda: function(*args, **kwargs))
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise LabError(f"the child running {function.__name__} died")
    good, value = pickle.loads(data)
    if not good:
        raise value
    result: R = value
    return result


def _answer(pid: int, user: bool, parent: int, call: Callable[[], Any]) -> bytes:
    """(True, result) or (False, exception) of the call, as bytes."""
    try:
        enter(pid, user)
        die_with(parent)
        return pickle.dumps((True, call()))
    except BaseException as error:
        # The frames die with the child; their text travels as a note of the exception.
        error.add_note("in the child:\n" + traceback.format_exc())
        try:
            data = pickle.dumps((False, error))
            pickle.loads(data)  # some exceptions pickle and do not come back
            return data
        except Exception:
            return pickle.dumps((False, LabError(f"{type(error).__name__}: {error}")))

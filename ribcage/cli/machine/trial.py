"""Runs one check in a throw-away child: it may enter namespaces, open sockets, or crash.

    finding = in_child(check, namespace=True, timeout=5.0)

The child ends with everything it made: a network namespace lives no longer than its last
process. Nothing of the caller changes. For `ribcage doctor`; a process with one thread only.
"""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def in_child(
    check: Callable[[], str], namespace: bool = False, timeout: float = 5.0
) -> tuple[bool, str]:
    """(True, what check returned) or (False, why it failed)."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(check, namespace, write)
    os.close(write)
    try:
        data = _read(read, timeout)
    finally:
        os.close(read)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if data is None:
        return False, f"no result within {timeout:g} s"
    good, _, text = data.decode("utf-8", "replace").partition(":")
    if good not in ("ok", "no"):
        return False, f"the check ended with status {os.waitstatus_to_exitcode(status)}"
    return good == "ok", text


def enter_namespace() -> bool:
    """A network and IPC namespace of our own; True when a user namespace was needed for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS
    if os.geteuid() == 0 and libc.unshare(flags) == 0:
        return False
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(flags | CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path("/proc/self", name).write_text(text)
    return True


def _child(check: Callable[[], str], namespace: bool, write: int) -> None:
    """Never returns."""
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):  # libraries warn there; the answer has its own way
            os.dup2(null, fd)
        if namespace:
            enter_namespace()
        answer = "ok:" + check()
    except BaseException as error:
        strerror = getattr(error, "strerror", None)
        answer = f"no:{strerror or error or type(error).__name__}"
    with contextlib.suppress(OSError):
        os.write(write, answer.encode("utf-8", "replace")[:4096])
    os._exit(0)


def _read(fd: int, timeout: float) -> bytes | None:
    deadline = time.monotonic() + timeout
    data = b""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poller.poll(left * 1000):
            part = os.read(fd, 4096)
            if not part:
                return data
            data += part
    return None

"""The lists of system calls, in a child of their own: what is refused, and how."""

import errno
import os
import signal

import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.supervisor.children.exits import decode
from ribcage.shared.process.rights import (
    CONTROL_CALLS,
    MODES,
    TRIALS,
    WORKER_CALLS,
    guard_calls,
    try_call,
)

pytestmark = pytest.mark.skipif(
    not lib.sys_seccomp_available(lib.SECCOMP_LOG), reason="no seccomp filters with LOG here"
)
HARMLESS = {"try-open", "try-fork", "try-unlink"}


def guarded(policy: int, mode: str, trial: str) -> tuple[str, int]:
    """What a guarded child was answered, and its wait status."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lib.sys_no_new_privileges()
            guard_calls(policy, mode)
            os.write(writer, try_call(trial).encode())
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 64).decode()
    os.close(reader)
    return said, os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("trial", sorted(TRIALS))
def test_a_worker_is_refused_or_ended(trial: str) -> None:
    """EPERM for what harms nobody, SIGSYS for what no worker ever asks, told by name."""
    said, status = guarded(WORKER_CALLS, "enforce", trial)
    if trial in HARMLESS:
        assert (said, status) == ("EPERM", 0)
    else:
        assert said == ""
        assert os.WTERMSIG(status) == signal.SIGSYS
        assert decode(status).text.startswith("killed by signal 31 (SIGSYS): seccomp")


@pytest.mark.parametrize("trial", sorted(TRIALS))
def test_log_refuses_nothing(trial: str) -> None:
    """The kernel answers as without a filter."""
    free, _ = guarded(WORKER_CALLS, "off", trial)
    assert guarded(WORKER_CALLS, "log", trial) == (free, 0)


@pytest.mark.parametrize("trial", ["try-ptrace", "try-bpf", "try-io-uring", "try-userfaultfd"])
def test_control_is_refused_what_it_never_needs(trial: str) -> None:
    """EPERM: it goes on, and so does a program it starts."""
    assert guarded(CONTROL_CALLS, "enforce", trial) == ("EPERM", 0)


def test_control_opens_and_forks() -> None:
    """All else is as without a filter."""
    assert guarded(CONTROL_CALLS, "enforce", "try-open") == ("done", 0)
    assert guarded(CONTROL_CALLS, "enforce", "try-fork") == ("EINVAL", 0)


def test_nonsense_is_refused() -> None:
    """Another policy, mode or trial: an errno, and no filter."""
    assert lib.sys_seccomp(9, lib.SECCOMP_ENFORCE) == -errno.EINVAL
    assert lib.sys_seccomp(WORKER_CALLS, 9) == -errno.EINVAL
    assert lib.sys_seccomp_try(99) == -errno.EINVAL
    assert set(MODES) == {"log", "enforce"}

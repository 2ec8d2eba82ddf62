"""The kernel calls of csrc/base/system.c: each does what its line in system.h says."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ribcage.shared._core import ffi, lib


def in_child(work: Callable[[], bool]) -> bool:
    """Runs `work` in a fork, because what it changes cannot be changed back."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def status(field: str) -> str:
    text = Path("/proc/self/status").read_text()
    return text.split(f"\n{field}:\t")[1].split("\n")[0]


def test_signals_come_through_a_descriptor_with_their_sender() -> None:
    """Blocked, queued once, read with number, pid and uid; then nothing."""

    def work() -> bool:
        fd = lib.sys_signalfd(ffi.new("int32_t[]", [signal.SIGUSR1]), 1)
        info = ffi.new("struct sys_signal *")
        if lib.sys_signal_read(fd, info) != 0:
            return False
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        first = lib.sys_signal_read(fd, info)
        return (first, info.number, info.pid, info.uid) == (
            1, signal.SIGUSR1, os.getpid(), os.getuid(),
        ) and lib.sys_signal_read(fd, info) == 0  # fmt: skip

    assert in_child(work)


@pytest.mark.parametrize("number", [0, -1, 65, 2**31 - 1])
def test_a_number_that_is_no_signal_is_refused(number: int) -> None:
    """-EINVAL before anything is blocked."""
    assert lib.sys_signalfd(ffi.new("int32_t[]", [number]), 1) == -22


def test_all_signals_but_faults_are_put_off_and_come_afterwards() -> None:
    """The mask of before comes back bit for bit, and the signal sent meanwhile is delivered."""

    def work() -> bool:
        got: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        before = lib.sys_block_signals()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.kill(os.getpid(), signal.SIGUSR1)
        quiet = not got
        lib.sys_restore_signals(before)
        faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
        never = {signal.SIGKILL, signal.SIGSTOP}
        return (
            quiet
            and got == [signal.SIGUSR1]
            and blocked == signal.valid_signals() - faults - never
            and signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
        )

    assert in_child(work)


@pytest.mark.parametrize("keep", [0, 1 << 12, 1 << 12 | 1 << 13])
def test_capabilities_are_dropped_to_the_mask(keep: int) -> None:
    """Effective and permitted are at most the mask; inheritable and ambient are empty."""

    def work() -> bool:
        before = int(status("CapPrm"), 16)
        if lib.sys_drop_capabilities(keep) != 0:
            return False
        sets = [int(status(name), 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
        words = ffi.new("uint64_t[2]")
        lib.sys_capabilities(words, words + 1)
        return sets == [keep & before, keep & before, 0, 0] and list(words) == sets[:2]

    assert in_child(work)


def test_dropped_capabilities_do_not_come_back() -> None:
    """Nor through an exec: the bounding set is empty, new privileges are refused."""

    def work() -> bool:
        bounded = int(status("CapPrm"), 16) >> 8 & 1  # CAP_SETPCAP
        ok = lib.sys_no_new_privileges() == 0 and lib.sys_drop_capabilities(0) == 0
        return ok and status("NoNewPrivs") == "1" and (
            not bounded or int(status("CapBnd"), 16) == 0
        )  # fmt: skip

    assert in_child(work)


def test_the_name_is_what_ps_shows_cut_at_fifteen_bytes() -> None:
    """Long names are cut, never refused."""

    def work() -> bool:
        lib.sys_set_name(b"ribcage-control-and-more")
        return Path("/proc/self/comm").read_text() == "ribcage-control\n"

    assert in_child(work)


@pytest.mark.parametrize("length", [1, 30, 5000])
def test_the_title_takes_the_place_of_the_command_line(length: int) -> None:
    """Cut at the room there is; never read on into the environment, which stays as it was."""

    def work() -> bool:
        before = Path("/proc/self/cmdline").read_bytes()
        environment = Path("/proc/self/environ").read_bytes()
        title = b"t" * length
        if lib.sys_set_title(title) != 0:
            return False
        shown = Path("/proc/self/cmdline").read_bytes()
        kept = Path("/proc/self/environ").read_bytes() == environment
        return kept and shown.rstrip(b"\0") == title[: len(before) - 1]

    assert in_child(work)


def test_close_range_closes_just_that_range() -> None:
    """first..last inclusive; a range that is none is -EINVAL."""

    def work() -> bool:
        fds = [os.dup2(0, number) for number in (50, 51, 52, 53)]
        if lib.sys_close_range(51, 52) != 0 or lib.sys_close_range(9, 8) != -22:
            return False
        return [Path(f"/proc/self/fd/{fd}").exists() for fd in fds] == [True, False, False, True]

    assert in_child(work)


def test_namespaces_report_errors_as_numbers() -> None:
    """A descriptor that is no namespace, flags that are none: -errno."""
    assert lib.sys_setns(0, 0x40000000) < 0
    assert lib.sys_unshare(0x7FFFFFFF) < 0

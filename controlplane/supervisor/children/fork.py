"""Forks a role: the checks of the parent before, the clean-up of the child after.

Use: `pid = fork_role(entry, channel_fd=..., role=...)`. The child gets descriptors 0-2 and its
end of the channel, default signal dispositions, an empty signal mask, fresh random state and
log, and ends in os._exit whatever its entry does: it never falls back into the parent's code.

The parent is single-threaded (checked): a fork copies one thread and every lock another one
held. gc.freeze() before the fork keeps the child's collector from touching, and so copying, the
pages it shares with the parent.
"""

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ribcage.shared._core import lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.rights import Rights
from ribcage.shared.process.title import show_as

CRASHED = 70  # exit status of a role whose entry raised


@dataclass(frozen=True, slots=True)
class ForkSpec:
    """What a child is to become. `prepare` runs with the parent's rights still: it imports what
    the user of the child may not be able to read (a router that lies in root's home)."""

    role: str
    instance: str  # the router's name, shown by ps beside the role
    rights: Rights = field(default_factory=Rights)
    prepare: Callable[[], None] = lambda: None
    level: str = "info"
    form: str = "text"
    cpu: int | None = None


def fork_role(
    spec: ForkSpec,
    channel_fd: int,
    entry: Callable[[int], None],
    fork: Callable[[], int] = os.fork,
) -> int:
    """The child's pid. OSError when the kernel refuses (the caller tries again later)."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise RibcageError("E_THREADS", f"fork with {threads} threads; the supervisor has one")
    sys.stdout.flush()
    gc.freeze()
    try:
        pid = fork()
    finally:
        gc.unfreeze()
    if pid != 0:
        return pid
    live(spec, channel_fd, entry)


def live(spec: ForkSpec, channel_fd: int, entry: Callable[[int], None]) -> NoReturn:
    """The whole life of a child, to its exit."""
    gc.freeze()
    status = CRASHED
    try:
        _become(spec, channel_fd)
        entry(channel_fd)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else CRASHED
    except BaseException as error:
        if isinstance(error, RibcageError):
            last_words(channel_fd, error)
        with contextlib.suppress(Exception):
            log.log("error", "role.crashed", trace=traceback.format_exc()[-3000:])
    finally:
        os._exit(status & 0xFF)


def _become(spec: ForkSpec, channel_fd: int) -> None:
    """Runs in the child, first thing."""
    # Ctrl-C and a closed terminal reach the whole group; the supervisor alone answers them, so
    # that exactly one orderly stop runs. SIGTERM keeps its default.
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    close_others(channel_fd)
    log.own_description()
    show_as(spec.role, spec.instance)
    if "random" in sys.modules:
        sys.modules["random"].seed()
    log.setup(spec.role, spec.level, spec.form)
    faulthandler.enable()  # a stack on stderr, then the true signal for the supervisor to see
    if spec.cpu is not None:
        try:
            os.sched_setaffinity(0, {spec.cpu})
        except OSError as error:
            log.log("warning", "cpu.pin", cpu=spec.cpu, error=error.strerror)
    spec.prepare()
    spec.rights.take()
    # Last: a signal that waited since before the fork finds the child complete.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def last_words(channel_fd: int, error: RibcageError) -> None:
    """`failed` on the channel: what the supervisor should know beyond an exit status."""
    with contextlib.suppress(Exception):
        channel = Channel.from_fd(os.dup(channel_fd))
        channel.send({"type": "failed", **error.to_json(), "exit": error.exit_code})


def close_others(channel_fd: int) -> None:
    """Leaves 0, 1, 2 and the channel open; stdin reads nothing from now on."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0, inheritable=True)
    if channel_fd > 3:
        lib.sys_close_range(3, channel_fd - 1)
    lib.sys_close_range(channel_fd + 1, 0xFFFFFFFF)


def log_level(name: str) -> str:
    return name if name in ("debug", "info", "warning", "error") else "info"

"""What a process inherits from whoever started it, set to what a supervisor needs. First thing.

    stand(keep=[plan_fd])

Standard streams that were closed become /dev/null (a socket that got number 2 would be written log
lines to). SIGCHLD that was ignored would let the kernel reap children unseen (`trap '' CHLD`); a
blocked mask would be the children's, too. The signals of the supervisor are blocked from here on,
until its loop reads them: one that comes meanwhile is answered then, not by a traceback.
Descriptors of the caller's that nobody named are closed: they would live as long as the router.
"""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
        signal.SIGCHLD)  # fmt: skip
LEAST = {  # name -> (limit, what a router may need)
    "RLIMIT_FSIZE": (resource.RLIMIT_FSIZE, 1 << 30),  # a segment is a file
    "RLIMIT_AS": (resource.RLIMIT_AS, 4 << 30),
    "RLIMIT_DATA": (resource.RLIMIT_DATA, 1 << 30),
    "RLIMIT_NPROC": (resource.RLIMIT_NPROC, 256),
}


def stand(keep: Iterable[int]) -> None:
    """See the module's text. Never raises."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.open("/dev/null", os.O_RDWR)  # the lowest free number: fd
                os.set_inheritable(fd, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # Python's word for one that was closed
            setattr(sys, name, Path("/dev/null").open(mode, encoding="utf-8"))  # noqa: SIM115
    signal.pthread_sigmask(signal.SIG_SETMASK, HELD)
    for number in HELD:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # an errno instead
    os.umask(0o077)
    kept = {0, 1, 2, *keep}
    for fd in _open_descriptors():
        if fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
        elif fd > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, False)


def low_limits() -> list[tuple[str, int]]:
    """Limits below what a router may need, as (name, soft limit): told, since it may suffice."""
    found = [
        (name, resource.getrlimit(number)[0], least) for name, (number, least) in LEAST.items()
    ]
    return [
        (n, soft) for n, soft, least in found if soft != resource.RLIM_INFINITY and soft < least
    ]


def _open_descriptors() -> list[int]:
    try:
        return [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return []

"""Says in words how a child ended: "exited 42", "killed by signal 9 (SIGKILL)", ...

Use: `for pid, status in reap(): ...` on SIGCHLD. Signals coalesce, so the loop asks until nobody
is left. Only the parent learns a status; of an adopted child it is UNKNOWN.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

UNKNOWN = "unknown (not our child)"


@dataclass(frozen=True, slots=True)
class ChildExit:
    """One end. `text` is what log, `ps` and the event stream show."""

    text: str
    code: int | None  # exit status, None when a signal ended it
    signal: int | None
    core: bool = False

    @property
    def clean(self) -> bool:
        return self.code == 0


def decode(status: int) -> ChildExit:
    """A wait status as waitpid gives it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = f" ({signal.Signals(number).name})"
            if number == signal.SIGSYS:
                name += ": seccomp"  # nothing else sends it
        except ValueError:  # a real-time signal has no name
            name = ""
        core = os.WCOREDUMP(status)
        return ChildExit(
            f"killed by signal {number}{name}{', core dumped' if core else ''}", None, number, core
        )
    code = os.waitstatus_to_exitcode(status)
    return ChildExit(f"exited {code}", code, None)


def reap(
    waitpid: Callable[[int, int], tuple[int, int]] = os.waitpid,
) -> Iterator[tuple[int, ChildExit]]:
    """Every child that has ended, none left as a zombie. Never blocks."""
    while True:
        try:
            pid, status = waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        except InterruptedError:
            continue
        if pid == 0:
            return
        yield pid, decode(status)

"""Helper programs: started with an argument vector, never a shell; output bounded, time bounded.

Use: `helpers.run(python("ribcage", ...), 30.0, done)`; `done(cause, clean, out, err)` runs in
the loop when it has ended. The program gets an empty signal mask, default dispositions (SIGPIPE
too), stdin from /dev/null, and no descriptor of ours: all are close-on-exec.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from ribcage.controlplane.supervisor.children.exits import ChildExit
from ribcage.controlplane.supervisor.loop import Loop, Timer

OUT_BYTES = 17 << 20  # a plan of the largest size and a bit
ERR_BYTES = 1 << 20
DEFAULTS = [
    number
    for number in signal.Signals
    if number not in (signal.SIGKILL, signal.SIGSTOP) and number < signal.SIGRTMIN
]

WhenDone = Callable[[str, bool, bytes, bytes], None]


@dataclass(slots=True)
class _Helper:
    pid: int
    pidfd: int
    done: WhenDone
    timer: Timer
    pipes: list[int]
    output: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])


class Helpers:
    """The helper programs that run now. Their exits come through `ended`, from the reaper."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._running: dict[int, _Helper] = {}

    @property
    def running(self) -> int:
        """How many."""
        return len(self._running)

    def run(self, argv: list[str], limit: float, done: WhenDone, stdin: int = -1) -> None:
        """A program that cannot be started is `done` at once, not clean. `stdin`: what it reads,
        closed here; else nothing."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
            if stdin < 0
            else (os.POSIX_SPAWN_DUP2, stdin, 0)
        ]
        ends: list[int] = []
        try:
            for _ in range(2):
                ends += os.pipe()  # close-on-exec, as all of Python's
            out, theirs_out, err, theirs_err = ends
            pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[
                    *actions,
                    (os.POSIX_SPAWN_DUP2, theirs_out, 1),
                    (os.POSIX_SPAWN_DUP2, theirs_err, 2),
                ],
                setsigmask=(),
                setsigdef=DEFAULTS,
            )
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            for fd in ends:
                os.close(fd)
            done(f"could not start: {error.strerror}", False, b"", str(error).encode())
            return
        finally:
            if stdin >= 0:
                os.close(stdin)
        os.close(theirs_out)
        os.close(theirs_err)
        for fd in (out, err):
            os.set_blocking(fd, False)
        timer = self._loop.after(limit, lambda: self._kill(pid))
        helper = _Helper(pid, pidfd, done, timer, [out, err])
        self._running[pid] = helper
        for stream in (0, 1):
            self._listen(helper, stream)

    def _listen(self, helper: _Helper, stream: int) -> None:
        self._loop.watch(helper.pipes[stream], lambda: self._read(helper, stream))

    def _read(self, helper: _Helper, stream: int) -> None:
        limit = (OUT_BYTES, ERR_BYTES)[stream]
        while helper.pipes[stream] >= 0:
            try:
                data = os.read(helper.pipes[stream], 1 << 16)
            except BlockingIOError:
                return
            helper.output[stream] += data
            if not data or len(helper.output[stream]) > limit:
                self._close(helper, stream)
                if data:
                    self._kill(helper.pid)

    def _close(self, helper: _Helper, stream: int) -> None:
        if helper.pipes[stream] >= 0:
            self._loop.unwatch(helper.pipes[stream])
            os.close(helper.pipes[stream])
            helper.pipes[stream] = -1

    def _kill(self, pid: int) -> None:
        helper = self._running.get(pid)
        if helper is not None:
            signal.pidfd_send_signal(helper.pidfd, signal.SIGKILL)

    def kill_all(self) -> None:
        for pid in list(self._running):
            self._kill(pid)

    def ended(self, pid: int, end: ChildExit) -> bool:
        """From the reaper; False when this was no helper."""
        helper = self._running.pop(pid, None)
        if helper is None:
            return False
        helper.timer.cancel()
        for stream in (0, 1):
            if helper.pipes[stream] >= 0:
                self._read(helper, stream)
            self._close(helper, stream)
        os.close(helper.pidfd)
        out, err = (bytes(data) for data in helper.output)
        helper.done(end.text, end.clean, out, err)
        return True

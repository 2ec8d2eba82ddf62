"""Log lines for processes that fork: the supervisor and the workers (control uses structlog).

Use: `setup("worker 0", level="info", form="text")` once per process (again after a fork), then
`log("info", "worker.start", index=0, pid=12)`. One line is one write(2), so that lines of several
processes never mix:

    2026-01-02T03:04:05.678Z info worker-0[12] worker.start index=0
    {"ts":...,"level":"info","role":"worker-0","pid":12,"event":"worker.start","index":0}

Never blocks: a line that the descriptor would not take at once is dropped and counted, and the
count is told in a later line. Never raises. An event that repeats more than REPEATS times a
second is held back and its number told as `repeated=N`. Not for the packet path.
"""

import errno
import fcntl
import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable

Log = Callable[..., None]  # log(level, event, **fields): what is lent to the parts of a process
NOWAIT = 8  # RWF_NOWAIT
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
REPEATS = 100  # lines of one event and window; above any honest burst (64 workers at start)
WINDOW = 1.0  # seconds
EVENTS_KEPT = 512  # names counted at once; the table is emptied when it is full
LINE_BYTES = 4096  # PIPE_BUF: poll() promises room for this much, and writes of it are atomic


def _plain(text: str) -> bool:
    return text != "" and text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # Quoted as JSON: a value never breaks the line nor forges a field.
    return text if _plain(text) else json.dumps(text)


class LineLog:
    """One process's log; `fd` is borrowed, never closed. Not for several threads."""

    def __init__(
        self,
        role: str,
        level: str = "info",
        form: str = "text",
        fd: int = 2,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.role = role.replace(" ", "-")
        self.json = form == "json"
        self.fd = fd
        self.lost = 0
        self.threshold = LEVELS.get(level, 20)
        self._clock = clock
        self._wall = wall
        self._shared = False
        self._seen: dict[str, tuple[float, int]] = {}  # event -> (window start, lines in it)
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self.look()

    def look(self) -> None:
        """What the descriptor is may have changed: somebody put another one there."""
        try:
            mode = os.fstat(self.fd).st_mode
        except OSError:
            mode = 0
        self._shared = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def set_level(self, level: str) -> None:
        """Unknown names leave the level as it is."""
        self.threshold = LEVELS.get(level, self.threshold)

    @property
    def level(self) -> str:
        return next((n for n, v in LEVELS.items() if v == self.threshold), "info")

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        if LEVELS.get(level, 40) < self.threshold:
            return
        held = self._hold_back(event)
        if held is None:
            return
        if held:
            fields["repeated"] = held
        if self.lost:
            fields["lines_lost"] = self.lost
        if self._write(self._line(level, event, fields)):
            self.lost = 0
        else:
            self.lost += 1

    def _hold_back(self, event: str) -> int | None:
        """None: hold this line back; else how many were held back in the last window."""
        now = self._clock()
        start, count = self._seen.get(event, (now, 0))
        held = 0
        if now - start >= WINDOW:
            start, held, count = now, max(0, count - REPEATS), 0
        if len(self._seen) >= EVENTS_KEPT and event not in self._seen:
            self._seen.clear()
        self._seen[event] = (start, count + 1)
        return held if count < REPEATS else None

    def _line(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        wall = self._wall()
        if self.json:
            head: dict[str, object] = {
                "ts": round(wall, 6),
                "level": level,
                "role": self.role,
                "pid": os.getpid(),
                "event": event,
            }
            text = json.dumps(head | fields, separators=(",", ":"), default=str)
        else:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall))
            parts = [f"{moment}.{int(wall % 1 * 1000):03d}Z {level} {self.role}[{os.getpid()}]"]
            parts.append(event if _plain(event) else json.dumps(event))
            parts += [f"{key}={_text(value)}" for key, value in fields.items()]
            text = " ".join(parts)
        raw = text.encode("ascii", "backslashreplace")
        if len(raw) >= LINE_BYTES and self.json:
            return self._line(level, event, {"truncated": len(raw)})
        return raw[: LINE_BYTES - 1] + b"\n"

    def _write(self, line: bytes) -> bool:
        # O_NONBLOCK would change the terminal or pipe for everybody who shares it; a poll with no
        # timeout asks the same question without touching it. Somebody else may fill a pipe between
        # the question and the write, so the write itself is told not to wait, where the kernel
        # can (pipes and sockets, Linux 6.4).
        try:
            if not self._room.poll(0):
                return False
            if self._shared:
                try:
                    return os.pwritev(self.fd, [line], -1, NOWAIT) == len(line)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE):
                        return False
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False


_log = LineLog("ribcage")


def setup(role: str, level: str = "info", form: str = "text", fd: int = 2) -> LineLog:
    """Makes the process's log anew (at start and after a fork). Returns it."""
    global _log
    _log = LineLog(role, level, form, fd)
    return _log


def current() -> LineLog:
    return _log


def write_to(fd: int) -> None:
    """Standard error, and so every line from now on, goes to what `fd` (borrowed) is: a log file
    that was opened anew. A descriptor that is none leaves it as it was."""
    try:
        os.dup2(fd, 2, inheritable=True)
        _log.look()
    except OSError as error:
        log("error", "log.file", error=error.strerror)


def description_of(fd: int) -> int:
    """The file behind a descriptor, opened once more to append: flags and place of its own, which
    no process that shares the other can change. OSError for a pipe that may not be opened."""
    return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)


def own_description() -> None:
    """Standard error becomes our own open file, where it is a log file: after a fork, before
    rights are given up. One that was not opened to append has a place that all must share."""
    try:
        append = fcntl.fcntl(2, fcntl.F_GETFL) & os.O_APPEND
        if append and stat.S_ISREG(os.fstat(2).st_mode):
            fd = description_of(2)
            os.dup2(fd, 2, inheritable=True)
            os.close(fd)
    except OSError:
        return  # then it is shared as before


def set_level(level: str) -> None:
    _log.set_level(level)


def log(level: str, event: str, /, **fields: object) -> None:
    """One line; levels debug, info, warning, error. Never blocks, never raises."""
    try:
        _log(level, event, **fields)
    except Exception as error:  # a log line must never end a daemon
        print(f"log line failed: {event}: {error!r}", file=sys.stderr)

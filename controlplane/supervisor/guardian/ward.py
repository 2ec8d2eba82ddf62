"""Watches the guardian, so that killing any process heals by itself: one that is gone is replaced.

    ward = Ward(names, manager, store, loop, successor, json_log, on_change)
    ward.begin()           # nothing without a guardian: in the foreground, and under systemd

The new one is a child of ours, is told to watch us, and is given every stored descriptor again. One
that is stopped or hung is killed first: it has not read our pings for DEAF seconds, or could not be
reached. Should we die before it has opened its eyes, its pidfd of us says so, and it starts the
next supervisor.
"""

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.backoff import ForkRetry
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.guardian.spawn import bind, command
from ribcage.controlplane.supervisor.loop import Loop, Timer
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.shared.build import build_id
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names

DEAF = 5  # pings, one a second
LOOK = 1.0
ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
HIGH = 100  # descriptors that wait for posix_spawn lie above those it makes


class Ward:
    """See the module's text. Owns the pidfd of the guardian."""

    def __init__(
        self,
        names: Names,
        manager: Manager,
        store: Store,
        loop: Loop,
        successor: list[str],
        json_log: bool,
        on_change: Callable[[list[int]], None],
    ) -> None:
        self.names = names
        self.manager = manager
        self.store = store
        self.loop = loop
        self.successor = [word for word in successor if word != "--stop"]
        self.json_log = json_log
        self.on_change = on_change
        self.pid = 0
        self.start = 0
        self.made = 0
        self.announced = False
        self._pidfd = -1
        self._retry = ForkRetry()
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Watches the guardian that started us; makes the one that is to be."""
        if self.manager.guardian is None:
            return
        pid, start = self.manager.guardian
        self._timer = self.loop.after(LOOK, self._look)
        if pid == 0:
            self.made = -1  # the first is no replacement
            self._make()
            return
        try:
            self._watch(pid)
        except OSError:
            self._make()
            return
        if self.start != start:
            self._gone()

    def renew(self) -> None:
        """Another one, of this build, that would start this build: after an upgrade."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def end(self) -> None:
        """An orderly stop: a guardian that dies now is not replaced, and its socket goes."""
        if self._timer is not None:
            self._timer.cancel()
        self._unwatch()
        if self.manager.guardian is not None:
            self._remove_socket()

    def row(self) -> dict[str, object] | None:
        """A line of `ps`; None without a guardian."""
        if self.manager.guardian is None:
            return None
        facts = processes.facts(self.pid) if self.pid else None
        return {
            "role": "guardian", "index": 0, "pid": self.pid, "uid": os.geteuid(),
            "state": "ready" if facts and facts.letter not in "TtZ" else "absent",
            "restarts": self.made, "started_ns": processes.started_ns(self.start),
            "last_exit": None, "own": False, "build": build_id() if self.pid else None,
            "letter": facts.letter if facts else None, "rss_kb": facts.rss_kb if facts else None,
            "cpu": round(facts.cpu_seconds, 3) if facts else None,
            "fds": processes.fd_count(self.pid) if self.pid else None,
        }  # fmt: skip

    # ---- its life ----

    def _watch(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self.pid, self.start = pid, processes.start_time(pid)
        self.loop.watch(self._pidfd, self._gone)
        self.on_change([self.pid, self.start])

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self.loop.unwatch(self._pidfd)
            os.close(self._pidfd)
        self.pid, self.start, self._pidfd = 0, 0, -1

    def _gone(self) -> None:
        log("warning", "guardian.gone", guardian=self.pid)
        self._unwatch()
        self._make()

    def _look(self) -> None:
        """Once a second: a guardian that does not read does not watch either."""
        self._timer = self.loop.after(LOOK, self._look)
        if self._pidfd >= 0 and self.manager.deaf >= DEAF:
            log("error", "guardian.hung", guardian=self.pid)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _make(self) -> None:
        self._remove_socket()
        sock: socket.socket | None = None
        try:
            path, sock = bind(self.names, f"{os.getpid()}-{self.made + 1}")
            self._watch(self._spawn(sock, path))
        except OSError as error:
            delay = self._retry.failed()
            log("error", "guardian.failed", error=str(error), retry_s=delay)
            self.loop.after(delay, self._make)
            return
        finally:
            if sock is not None:
                sock.close()
        self._retry.succeeded()
        self.made += 1
        log("info", "guardian.start", guardian=self.pid)
        self.manager.connect(str(path))
        self.store.again()
        if self.announced:
            self.manager.notify("READY=1")

    def _spawn(self, sock: socket.socket, path: Path) -> int:
        stored = dict(self.manager.lasting)
        if "plan" in self.store.kept:
            stored["plan"] = self.store.kept["plan"]
        ours = os.pidfd_open(os.getpid())
        high = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
            for fd in (sock.fileno(), ours, *stored.values())
        ]
        os.close(ours)
        flags = ["--watch", f"{os.getpid()}=4"]
        flags += ["--ready"] if self.announced else []
        flags += ["--json-log"] if self.json_log else []
        places = {name: place for place, name in enumerate(stored, 5)}
        argv = command(3, path, places, self.successor, *flags)
        try:
            return os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(high, 3)],
                setsigmask=ASKS,  # it answers one that comes while it loads
                setsigdef=(*ASKS, signal.SIGCHLD),
            )
        finally:
            for fd in high:
                os.close(fd)

    def _remove_socket(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.manager.address).unlink(missing_ok=True)

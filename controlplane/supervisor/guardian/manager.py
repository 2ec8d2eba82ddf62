"""The supervisor's end of the service protocol: systemd listens, or the guardian, or nobody.

    manager = Manager.from_environment(os.environ)   # takes the variables out: children have none
    manager.taken                                    # {name: fd} that the last supervisor stored
    manager.run(loop)                                # WATCHDOG=1 in time, from now on
    manager.notify("READY=1")
    manager.store("ring-2-0", fd); manager.remove("ring-2-0")

Never blocks: what the listener has no room for waits here, in order. Without NOTIFY_SOCKET all
calls do nothing. sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import MutableMapping
from typing import Self

from ribcage.controlplane.supervisor.guardian.main import WATCHDOG
from ribcage.controlplane.supervisor.loop import WRITE, Loop
from ribcage.shared.process.log import log

FIRST = 3  # SD_LISTEN_FDS_START
LAST_WORDS = 1.0
PING = 1.0  # seconds, or a third of what the listener wants
WAITING = 4096  # notices that wait; beyond it the oldest goes: it is told anew to the next listener
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS",
             "LISTEN_FDNAMES", "RIBCAGE_GUARDIAN", "RIBCAGE_RESTARTS")  # fmt: skip


class Manager:
    """See the module's text. `address` is the listener's, "" for none."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self.address = address
        self.watchdog = watchdog
        self.taken: dict[str, int] = {}
        self.guardian: tuple[int, int] | None = None  # pid and start time; (0, 0): to be made
        self.successor: list[str] = []  # command line of the next supervisor; empty: as ours
        self.lasting: dict[str, int] = {}  # descriptors that each guardian is given from the first
        self.restarts = 0
        self._sock: socket.socket | None = None
        self._waiting: deque[tuple[str, int]] = deque()  # text and a copy of a descriptor, or -1
        self._loop: Loop | None = None
        self._unread = 0
        self._unheard = False  # the last notice went to nobody

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Reads and removes the variables; descriptors that came become close-on-exec."""
        said = {name: environment.pop(name, "") for name in VARIABLES}
        ours = str(os.getpid())
        usec = said["WATCHDOG_USEC"]
        wanted = usec.isdigit() and said["WATCHDOG_PID"] in ("", ours)
        manager = cls(said["NOTIFY_SOCKET"], int(usec) / 1e6 if wanted else 0.0)
        manager.restarts = _number(said["RIBCAGE_RESTARTS"])
        pid, _, start = said["RIBCAGE_GUARDIAN"].partition(" ")
        if pid.isdigit() and start.isdigit() and manager.address:
            manager.guardian = int(pid), int(start)
        if said["LISTEN_PID"] == ours:
            names = said["LISTEN_FDNAMES"].split(":")
            for number in range(_number(said["LISTEN_FDS"])):
                fd = FIRST + number
                with contextlib.suppress(OSError):
                    os.set_inheritable(fd, False)
                    manager.taken[names[number] if number < len(names) else f"fd-{fd}"] = fd
        return manager

    @classmethod
    def to_be(cls, successor: list[str], lasting: dict[str, int]) -> Self:
        """Of a daemon that has no guardian yet: the ward makes it."""
        manager = cls("", WATCHDOG)
        manager.guardian = 0, 0
        manager.successor, manager.lasting = successor, lasting
        return manager

    def connect(self, address: str) -> None:
        """Another listener: a new guardian. What waited for the last one is dropped."""
        self.close()
        self.address = address
        self._unread = 0

    def close(self) -> None:
        for _, fd in self._waiting:
            _close(fd)
        self._waiting.clear()
        if self._sock is not None:
            if self._loop is not None:
                self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None

    @property
    def pending(self) -> int:
        """Notices that wait."""
        return len(self._waiting)

    # ---- sending ----

    def notify(self, text: str, fd: int = -1) -> None:
        """One notice, with a descriptor (a copy is kept while it waits)."""
        if not self.address:
            return
        if not self._waiting and self._send(text, fd):
            return
        if len(self._waiting) >= WAITING:
            _close(self._waiting.popleft()[1])
        copy = -1
        if fd >= 0:
            try:
                copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST)
            except OSError as error:
                log("error", "notify.copy", error=error.strerror)
                return
        self._waiting.append((text, copy))
        self._want_room()

    def store(self, name: str, fd: int) -> None:
        """FDPOLL=0: a packet socket whose link is down shows an error, which is no end of it."""
        self.notify(f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", fd)

    def remove(self, name: str) -> None:
        self.notify(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def _send(self, text: str, fd: int) -> bool:
        """False: later. A listener that is gone is no error: it is the ward's to notice."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        try:
            sock = self._connected()
            sock.sendmsg([text.encode()], [rights] if fd >= 0 else [], socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            self._unheard = True
            log("debug", "notify", error=str(error))
        else:
            self._unheard = False
        return True

    def _connected(self) -> socket.socket:
        if self._sock is None:
            address = self.address
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.setblocking(False)
            try:
                # Connected once: who removes the name later does not part us.
                sock.connect("\0" + address[1:] if address.startswith("@") else address)
            except BaseException:
                sock.close()
                raise
            self._sock = sock
        return self._sock

    def _want_room(self) -> None:
        if self._loop is not None and self._sock is not None:
            with contextlib.suppress(OSError):  # watched already
                self._loop.watch(self._sock.fileno(), self._flush, WRITE)

    def _flush(self) -> None:
        while self._waiting:
            text, fd = self._waiting[0]
            if not self._send(text, fd):
                return
            self._waiting.popleft()
            _close(fd)
        if self._loop is not None and self._sock is not None:
            self._loop.unwatch(self._sock.fileno())

    def finish(self, text: str) -> None:
        """The last words: waits for the listener, a second at most."""
        self.notify(text)
        end = time.monotonic() + LAST_WORDS
        while self._waiting and time.monotonic() < end:
            select.select([], [self._sock] if self._sock is not None else [], [], LAST_WORDS / 10)
            self._flush()

    # ---- watchdog ----

    def run(self, loop: Loop) -> None:
        """Pings from the loop, so that a supervisor whose loop stands still is one that is hung."""
        self._loop = loop
        if self._waiting:
            self._want_room()
        if self.watchdog > 0:
            self._ping()

    def _ping(self) -> None:
        self._unread = self._unread + 1 if self.unread() or self._unheard else 0
        self.notify("WATCHDOG=1")
        if self._loop is not None:
            self._loop.after(min(PING, self.watchdog / 3), self._ping)

    def unread(self) -> int:
        """Bytes that the listener has not read."""
        if self._sock is None:
            return 0
        try:
            raw = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except OSError:
            return 0
        return int(struct.unpack("i", raw)[0])

    @property
    def deaf(self) -> int:
        """Pings in a row at which the listener had not read the one before, or could not be
        reached: its socket is another's now, or gone."""
        return self._unread


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 6 else 0


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)

"""Control's end of a worker's bell: rung and heard without ever waiting.

    bell = WorkerBell(fd)
    bell.ring()                      # False: it has been rung and not been heard, or nobody hears
    bell.listen(heard); bell.deafen()

A socket of a pair (supervisor/resources/bells.py). The worker may do with its end what it likes:
no call here blocks, and one that rings without pause is heard BUDGET times a second; beyond that
it is looked at with everybody else, every tenth of a second. Control only.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from ribcage.shared.process.budget import Budget

PER_SECOND, AT_ONCE = 1000.0, 500.0
PAUSE = 0.1  # seconds without hearing, once the budget is spent
PER_LOOK = 16  # messages taken at once; how many there are does not matter


class WorkerBell:
    """Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self._heard: Callable[[], None] | None = None
        self._budget = Budget(PER_SECOND, AT_ONCE)
        self._timer: asyncio.TimerHandle | None = None
        self.storms = 0  # times that its budget was spent

    def fileno(self) -> int:
        return self._sock.fileno()

    def ring(self) -> bool:
        try:
            self._sock.send(b"\1", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def listen(self, heard: Callable[[], None]) -> None:
        """`heard()` whenever it was rung. Needs the running loop."""
        self._heard = heard
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._rung)

    def _rung(self) -> None:
        # An error of the socket, which the worker can cause, is read here too and so taken back.
        with contextlib.suppress(OSError):
            for _ in range(PER_LOOK):
                self._sock.recv(1, socket.MSG_DONTWAIT)
        loop = asyncio.get_running_loop()
        if not self._budget.take(loop.time()):
            self.storms += 1
            loop.remove_reader(self._sock.fileno())
            self._timer = loop.call_later(PAUSE, self._again)
        if self._heard is not None:
            self._heard()

    def _again(self) -> None:
        self._timer = None
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._rung)

    def deafen(self) -> None:
        if self._heard is not None:
            self._heard = None
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        self.deafen()
        self._sock.close()

"""One management client: reads requests, writes replies, and knows when to give up.

What a client can cost is bounded: `max_line` bytes of an unfinished request and one read beyond,
the replies in flight (HIGH_WATER and one more), one request at a time. It is let go when a
request is not complete in `request_timeout` after its first byte, when it does not read for
STALL seconds, when nothing happens for `idle_timeout`, or when its framing is lost. A client
that half-closes still gets its replies.

Works on the loop's readiness callbacks (no stream objects), because these bounds are the point.
Made by server.py only.
"""

import asyncio
import select
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.management.peer import Peer
from ribcage.controlplane.management.protocol import (
    INVALID_REQUEST,
    PARSE_ERROR,
    LineBuffer,
    ProtocolError,
    encode_protocol_error,
)

READ = 65536
PIPELINE = 64  # requests read ahead of the one being answered
HIGH_WATER = 256 << 10  # bytes of replies unread before the next request is looked at


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Seconds and bytes; see the module's text."""

    max_line: int = 65536
    request_timeout: float = 5.0
    idle_timeout: float = 600.0
    stall_timeout: float = 5.0
    max_backlog: int = 8 << 20


class Connection:
    """`answer(line, connection)` gives the reply and whether to close after it; `gone(connection,
    reason)` is called once, at the end, whatever the reason."""

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        number: int,
        limits: ClientLimits,
        answer: Callable[[bytes, "Connection"], Awaitable[tuple[bytes, bool]]],
        gone: Callable[["Connection", str], None],
    ) -> None:
        self.peer = peer
        self.number = number
        self.bytes_in = self.bytes_out = self.requests = 0
        self.closers: list[Callable[[], None]] = []
        self._sock = sock
        self._limits = limits
        self._answer = answer
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self.opened = self._active = self._loop.time()
        self._lines = LineBuffer(limits.max_line)
        self._todo: deque[bytes] = deque()
        self._out: deque[memoryview[Any]] = deque()
        self.backlog = 0
        self._reading = self._ended = self._closed = self._busy = False
        self._work = asyncio.Event()  # something in _todo, or _ended
        self._calm = asyncio.Event()  # backlog below HIGH_WATER
        self._calm.set()
        self._begun: float | None = None  # first byte of the unfinished request
        self._stuck: float | None = None  # last progress of a non-empty backlog
        self._final: ProtocolError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.task = self._loop.create_task(self._serve(), name=f"management client {number}")
        self._resume()
        self._watch()

    # -- in

    def _resume(self) -> None:
        if not (self._reading or self._ended or self._closed):
            self._reading = True
            self._begun = self._loop.time() if self._lines.pending else None
            self._loop.add_reader(self._sock, self._readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._begun = None  # the wait is ours now
            self._loop.remove_reader(self._sock)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.drop(f"read: {error.strerror}")
            return
        self._active = self._loop.time()
        if not data:
            self._end_of_input()
            return
        self.bytes_in += len(data)
        before = self._lines.pending
        lines = self._lines.feed(data)
        self._todo.extend(line for line in lines if line.strip())
        if self._lines.overrun:
            self._end_with_error(
                PARSE_ERROR, "E_TOO_LONG", f"a line is longer than {self._limits.max_line} bytes"
            )
        elif not self._lines.pending:
            self._begun = None
        elif lines or not before:
            self._begun = self._active
        if len(self._todo) >= PIPELINE:
            self._pause()
        self._work.set()
        self._watch()

    def _end_of_input(self) -> None:
        poll = select.poll()
        poll.register(self._sock, 0)
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self.drop("closed by the client")  # both directions: nobody reads a reply
        elif self._lines.pending:
            self._end_with_error(INVALID_REQUEST, "E_CUT", "the last request has no end of line")
        else:
            self._stop_reading()

    def _end_with_error(self, number: int, code: str, message: str) -> None:
        """No more input; an error reply after those that are due, then the end."""
        self._final = ProtocolError(number, code, message)
        self._stop_reading()

    def _stop_reading(self) -> None:
        self._pause()
        self._ended = True
        self._begun = None
        self._work.set()

    # -- one request after the other

    async def _serve(self) -> None:
        while True:
            await self._calm.wait()
            while not self._todo and not self._ended:
                self._work.clear()
                await self._work.wait()
            if not self._todo:
                break
            line = self._todo.popleft()
            if len(self._todo) < PIPELINE // 2:
                self._resume()
            self.requests += 1
            self._busy = True
            try:
                reply, last = await self._answer(line, self)
            finally:
                self._busy = False
            self._active = self._loop.time()
            self.send(reply)
            if last:
                self._todo.clear()
                self._final = None
                self._stop_reading()
        if self._final is not None:
            self.send(encode_protocol_error(self._final))
        while self.backlog and not self._closed:  # _writable or a timer ends this
            self._calm.clear()
            await self._calm.wait()
        self.drop("done" if self._final is None else str(self._final))

    def finish(self) -> None:
        """Orderly end: the request in progress is answered, those behind it are not."""
        self._todo.clear()
        self._stop_reading()

    # -- out

    def send(self, data: bytes) -> None:
        if self._closed:
            return
        if self.backlog + len(data) > self._limits.max_backlog:
            self.drop(f"{self.backlog} bytes of replies unread")
            return
        if not self.backlog:
            self._stuck = self._loop.time()
            self._loop.add_writer(self._sock, self._writable)
        self._out.append(memoryview(data))
        self.backlog += len(data)
        if self.backlog > HIGH_WATER:
            self._calm.clear()
        self._writable()
        self._watch()

    def _writable(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out[0], socket.MSG_NOSIGNAL)
                self.bytes_out += sent
                self.backlog -= sent
                self._stuck = self._active = self._loop.time()
                if sent == len(self._out[0]):
                    self._out.popleft()
                else:
                    self._out[0] = self._out[0][sent:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.drop(f"write: {error.strerror}")
            return
        if not self._out:
            self._stuck = None
            self._loop.remove_writer(self._sock)
        if self.backlog <= (0 if self._ended else HIGH_WATER):
            self._calm.set()

    # -- time

    def _watch(self) -> None:
        """One timer for the nearest of the three deadlines, moved only when it gets nearer."""
        if self._closed:
            return
        nearest = min(when for when, _ in self._deadlines())
        if self._timer is not None and self._timer.when() <= nearest:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(nearest, self._late)

    def _deadlines(self) -> list[tuple[float, str]]:
        limits = self._limits
        found = [(self._active + limits.idle_timeout, "idle")]
        if self._busy:  # ours to end, however long it takes
            found = [(self._loop.time() + limits.idle_timeout, "idle")]
        if self._begun is not None:
            found.append((self._begun + limits.request_timeout, "slow"))
        if self._stuck is not None:
            found.append((self._stuck + limits.stall_timeout, "stalled"))
        return found

    def _late(self) -> None:
        self._timer = None
        when, why = min(self._deadlines())
        if when > self._loop.time():
            self._watch()
        elif why == "slow":
            self._end_with_error(
                INVALID_REQUEST,
                "E_SLOW",
                f"the request was not complete in {self._limits.request_timeout:g} s",
            )
            self._watch()
        else:
            self.drop("idle" if why == "idle" else "does not read its replies")

    # -- the end

    def drop(self, reason: str) -> None:
        """Ends the connection now; calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        # Before close(): a new descriptor of the same number must not meet these callbacks.
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._todo.clear()
        self._out.clear()
        # _serve() itself may be who dropped us, in a send: it must find its end, not wait on.
        self._reading, self._ended = False, True
        self._work.set()
        self._calm.set()
        if self.task is not asyncio.current_task():
            self.task.cancel()
        self._gone(self, reason)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def busy(self) -> bool:
        """A request is being answered, or replies wait to be read."""
        return self._busy or bool(self.backlog)

    def idle_for(self) -> float:
        """Seconds since the last byte, either way."""
        return 0.0 if self.busy else self._loop.time() - self._active

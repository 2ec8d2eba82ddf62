"""The channel between the supervisor and its children: one JSON object a datagram, with fds.

    supervisor ==[SOCK_SEQPACKET: {"v":1,"type":"port-add","fds":["ring:2"]} + SCM_RIGHTS]== child

Use: `channel.send({"type": "ready", "generation": 7})`, `message = channel.recv()`. A message is
at most MESSAGE_BYTES; a larger one (an attach with a long plan) travels in a sealed memfd by
itself, unseen by the caller. Descriptors have names, listed in "fds", and arrive close-on-exec.

Never blocks. `send` says False when the peer does not read (counted in `unsent`), `post` keeps
the message and sends it with the next `flush`. What the peer sends can raise ChannelError and
nothing else; descriptors of a refused message are closed. Not for several threads.
"""

import array
import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.shared.errors import RibcageError

VERSION = 1
MESSAGE_BYTES = 65536
BODY_BYTES = 64 << 20  # of a message in a memfd
MAX_FDS = 253  # SCM_MAX_FD of Linux
OUTBOX = 256  # messages kept by post()
BODY = "body"  # name of the memfd that carries a long message
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ChannelError(RibcageError):
    """The peer broke the rules of the channel; what it sent was thrown away and counted."""

    def __init__(self, message: str) -> None:
        super().__init__("E_CHANNEL", message)


class ChannelClosed(ChannelError):
    """The peer is gone (end of file, or a reset)."""


@dataclass(slots=True)
class Message:
    """One message: `body` is the whole object, `fds` the descriptors by name.

    The receiver owns the descriptors: it takes them with `take`, and `close` closes the rest.
    """

    type: str
    body: dict[str, Any]
    fds: dict[str, int] = field(default_factory=dict)

    def take(self, name: str) -> int | None:
        """The descriptor called `name`, which the caller owns from now on; None if absent."""
        return self.fds.pop(name, None)

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.popitem()[1])


def pair() -> tuple["Channel", "Channel"]:
    """Two connected ends, both non-blocking and close-on-exec."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(left), Channel(right)


class Channel:
    """One end. Owns the socket; `fileno()` is for epoll."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.unsent = 0  # send() calls the peer had no room for
        self.refused = 0  # messages thrown away
        self._outbox: deque[tuple[dict[str, Any], dict[str, int]]] = deque()

    @classmethod
    def from_fd(cls, fd: int) -> "Channel":
        """Takes the descriptor over (a child is given one by number)."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        while self._outbox:
            _close_all(list(self._outbox.popleft()[1].values()))
        self.sock.close()

    # ---- sending ----

    def send(self, message: Mapping[str, Any], fds: Mapping[str, int] | None = None) -> bool:
        """Sends now or not at all: False when the peer has no room. Descriptors stay the caller's.

        ChannelClosed when the peer is gone, ChannelError when the message cannot be sent ever.
        """
        names = dict(fds or {})
        if len(names) >= MAX_FDS:
            raise ChannelError(f"{len(names)} descriptors in one message, at most {MAX_FDS - 1}")
        body = {"v": VERSION, **message}
        if names:
            body["fds"] = list(names)
        raw = json.dumps(body, separators=(",", ":")).encode()
        memfd = -1
        try:
            if len(raw) > MESSAGE_BYTES:
                memfd = _seal(raw)
                names[BODY] = memfd
                head = {"v": VERSION, "type": body.get("type"), "fds": list(names)}
                raw = json.dumps(head).encode()
            return self._sendmsg(raw, list(names.values()))
        finally:
            if memfd >= 0:
                os.close(memfd)

    def _sendmsg(self, raw: bytes, fds: list[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([raw], rights, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            self.unsent += 1
            return False
        except OSError as error:
            # ETOOMANYREFS: too many descriptors in flight; it passes as the peer reads.
            if error.errno in (errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS):
                self.unsent += 1
                return False
            raise ChannelClosed(f"peer is gone: {error.strerror}") from error
        return True

    def post(self, message: Mapping[str, Any], fds: Mapping[str, int] | None = None) -> None:
        """Sends, or keeps the message (with copies of its descriptors) for `flush`, in order.

        ChannelError when OUTBOX messages wait already: the peer is hung, close the channel.
        """
        if not self._outbox and self.send(message, fds):
            return
        if len(self._outbox) >= OUTBOX:
            raise ChannelError(f"peer did not read {OUTBOX} messages")
        copies = {n: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0) for n, fd in (fds or {}).items()}
        self._outbox.append((dict(message), copies))

    @property
    def pending(self) -> int:
        """Messages waiting for `flush`: poll for writing while it is not zero."""
        return len(self._outbox)

    def flush(self) -> bool:
        """Sends what waits. True when nothing is left."""
        while self._outbox:
            message, fds = self._outbox[0]
            if not self.send(message, fds):
                return False
            self._outbox.popleft()
            _close_all(list(fds.values()))
        return True

    # ---- receiving ----

    def recv(self) -> Message | None:
        """The next message, None when there is none now.

        ChannelClosed at the end; ChannelError for a message that was refused (call again).
        """
        try:
            raw, ancillary, flags, _ = self.sock.recvmsg(
                MESSAGE_BYTES, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise ChannelClosed(f"peer is gone: {error.strerror}") from error
        fds: list[int] = []
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                fds.extend(received)
        if not raw and not fds:
            raise ChannelClosed("peer closed the channel")
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ChannelError(f"message was cut short (flags {flags:#x})")
            return _decode(raw, fds)
        except ChannelError:
            self.refused += 1
            _close_all(fds)
            raise


def _decode(raw: bytes, fds: list[int]) -> Message:
    body = _object(raw)
    names = body.get("fds", [])
    if not isinstance(names, list) or not all(isinstance(n, str) and len(n) < 64 for n in names):
        raise ChannelError("fds is not a list of short names")
    if len(names) != len(fds) or len(set(names)) != len(names):
        raise ChannelError(f"{len(fds)} descriptors came for {len(names)} names")
    named = dict(zip(names, fds, strict=True))
    if BODY in named:
        body = _object(_unseal(named[BODY]))
        os.close(named.pop(BODY))
        fds[:] = list(named.values())  # a refusal below must not close the memfd twice
    kind, version = body.get("type"), body.get("v")
    if version != VERSION:
        raise ChannelError(f"message of version {str(version)[:32]}, this build has {VERSION}")
    if not isinstance(kind, str) or not 0 < len(kind) <= 64:
        raise ChannelError("message without a type")
    return Message(kind, body, named)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ChannelError(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(body, dict):
        raise ChannelError(f"a message is an object, not {type(body).__name__}")
    return body


def _seal(raw: bytes) -> int:
    if len(raw) > BODY_BYTES:
        raise ChannelError(f"message of {len(raw)} bytes, at most {BODY_BYTES}")
    fd = os.memfd_create("ribcage-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def _unseal(fd: int) -> bytes:
    # The seals prove that it is memory: reading can neither block nor change under our feet.
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ChannelError("the body is no memfd") from error
    size = os.fstat(fd).st_size
    if seals & SEALS != SEALS or size > BODY_BYTES:
        raise ChannelError(f"the body has seals {seals:#x} and {size} bytes")
    return os.pread(fd, size, 0)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


RETRY = 0.05  # seconds between attempts to find a successor


class Reconnector:
    """What a child does when its supervisor is gone: looks for the next one, in time gives up.

    Use: on ChannelClosed make one; whenever `deadline()` has come call `attempt()`. It returns a
    Channel once a successor listens (say `hello` with again=True on it), None before. `expired`
    is True when `orphan_timeout` seconds went by: stop in order. Never blocks, never sleeps.
    """

    def __init__(
        self,
        path: Path,
        orphan_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._clock = clock
        self._end = clock() + orphan_timeout
        self._next = clock()

    @property
    def expired(self) -> bool:
        return self._clock() >= self._end

    def deadline(self) -> float:
        """Monotonic time of the next thing to do."""
        return min(self._next, self._end)

    def attempt(self) -> Channel | None:
        """Tries once if RETRY seconds went by since the last try."""
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + RETRY
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(str(self.path))
        except OSError:  # nobody there, nobody listening, or its backlog is full: again later
            sock.close()
            return None
        return Channel(sock)

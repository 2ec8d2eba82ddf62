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
import errno
import fcntl
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

from ribcage.shared.process.message import (
    BODY,
    MAX_FDS,
    MESSAGE_BYTES,
    ChannelClosed,
    ChannelError,
    Message,
    close_all,
    decode,
    encode,
    seal,
)

OUTBOX = 256  # messages kept by post()


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
            close_all(list(self._outbox.popleft()[1].values()))
        self.sock.close()

    # ---- sending ----

    def send(self, message: Mapping[str, Any], fds: Mapping[str, int] | None = None) -> bool:
        """Sends now or not at all: False when the peer has no room. Descriptors stay the caller's.

        ChannelClosed when the peer is gone, ChannelError when the message cannot be sent ever.
        """
        names = dict(fds or {})
        if len(names) >= MAX_FDS:
            raise ChannelError(f"{len(names)} descriptors in one message, at most {MAX_FDS - 1}")
        raw = encode(message, list(names))
        memfd = -1
        try:
            if len(raw) > MESSAGE_BYTES:
                names[BODY] = memfd = seal(raw)
                raw = encode({"type": message.get("type")}, list(names))
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
            close_all(list(fds.values()))
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
            return decode(raw, fds)
        except ChannelError:
            self.refused += 1
            close_all(fds)
            raise

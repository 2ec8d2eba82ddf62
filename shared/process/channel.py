"""The channel between the supervisor and its children: one JSON object a datagram, with fds.

    supervisor ==[SOCK_SEQPACKET: {"v":1,"type":"port-add","fds":["ring:2"]} + SCM_RIGHTS]== child

Use: `channel.send({"type": "ready", "generation": 7})`, `message = channel.recv()`. A message is
at most MESSAGE_BYTES; a larger one (an attach with a long plan) travels in a sealed memfd by
itself, unseen by the caller. Descriptors have names, listed in "fds", and arrive close-on-exec.

Never blocks. `send` says False when the peer does not read (counted in `unsent`), `post` keeps
the message and sends it with the next `flush`. What the peer sends can raise ChannelError and
nothing else; descriptors of a refused message are closed. Not for several threads.

What a peer may send is bounded by what it has to say (`limit`): so many bytes, with descriptors or
without, long ones in a memfd or not. What goes beyond is cut by the kernel before it is read.
"""

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

from ribcage.shared.process.message import (
    BODY,
    MAX_FDS,
    MESSAGE_BYTES,
    VERSION,
    ChannelClosed,
    ChannelError,
    Message,
    close_all,
    decode,
    encode,
    seal,
)

OUTBOX = 256  # messages kept by post()
SO_PASSRIGHTS = 83  # Linux 6.16; Python has no name for it


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
        self.version = VERSION  # of what is sent: what both sides speak (protocol.py)
        self._outbox: deque[tuple[dict[str, Any], dict[str, int]]] = deque()
        self._most = MESSAGE_BYTES
        self._most_fds = MAX_FDS
        self._long = True

    def limit(self, most: int, *, fds: bool, long: bool = False) -> None:
        """From now on a message of more than `most` bytes, with descriptors unless `fds`, or in a
        memfd unless `long`, is refused. No descriptor is taken in that is not wanted: to close
        one that somebody chose can last (a TCP socket that lingers), so the kernel is asked not
        to send them at all (Linux 6.16), or else to drop them unseen."""
        self._most, self._most_fds, self._long = most, MAX_FDS if fds else 0, long
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, int(fds))

    def peer(self) -> tuple[int, int]:
        """(pid, uid) of whoever connected or was given the other end, as the kernel says."""
        raw = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("iII", raw)
        return pid, uid

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
        raw = encode(message, list(names), self.version)
        memfd = -1
        try:
            if len(raw) > MESSAGE_BYTES:
                names[BODY] = memfd = seal(raw)
                raw = encode({"type": message.get("type")}, list(names), self.version)
            return self._sendmsg(raw, list(names.values()))
        finally:
            if memfd >= 0:
                os.close(memfd)

    def _sendmsg(self, raw: bytes, fds: list[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([raw], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
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
        copies: dict[str, int] = {}
        try:
            for name, fd in (fds or {}).items():
                copies[name] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError as error:
            close_all(list(copies.values()))
            raise ChannelError(f"no room to keep a message: {error.strerror}") from error
        self._outbox.append((dict(message), copies))

    @property
    def pending(self) -> int:
        """Messages waiting for `flush`: poll for writing while it is not zero."""
        return len(self._outbox)

    def waiting(self) -> list[tuple[dict[str, Any], dict[str, int]]]:
        """What `flush` would send, in order: for the image of an upgrade. All stays as it is."""
        return list(self._outbox)

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
                self._most,
                socket.CMSG_SPACE(self._most_fds * 4) if self._most_fds else 0,
                socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT,
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
        if not raw and not fds and not flags & socket.MSG_CTRUNC:
            raise ChannelClosed("peer closed the channel")
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ChannelError(f"message was cut short (flags {flags:#x})")
            return decode(raw, fds, self._long)
        except ChannelError:
            self.refused += 1
            close_all(fds)
            raise

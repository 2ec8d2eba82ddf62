"""The netlink socket that hears links, addresses, neighbours and forwarding switches.

    link = open_socket();  send(link, request)
    monitor = Monitor(link, on_message, on_complete, retry)
    monitor.resync()                     # dump everything; again after every overrun
    loop.add_reader(monitor.fileno(), monitor.read)

One socket for events and dumps, so that both arrive in the order in which they happened. The
kernel throws events away when the socket is full (ENOBUFS): that is counted, and everything is
dumped again; the tables turn the dump into the differences. pyroute2's asynchronous socket is
dead after ENOBUFS and does not know RTM_NEWNETCONF, hence this one.

Owned by control's event loop. A call of `read` takes a bounded number of datagrams.
"""

import errno
import socket
from collections.abc import Callable
from typing import Final

from ribcage.controlplane.kernel.netlink.messages import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETNETCONF,
    Content,
    Done,
    Interrupted,
    Malformed,
    decode,
    dump_request,
)

# RTNLGRP_ LINK, NEIGH, IPV4_IFADDR, IPV6_IFADDR, IPV4_NETCONF, IPV6_NETCONF as bits.
GROUPS: Final = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 23 | 1 << 24
RECEIVE_BYTES: Final = 4 << 20
DATAGRAMS_PER_READ: Final = 64
# Links first: an address or a neighbour of an unknown link tells nobody anything.
DUMPS: Final = (RTM_GETLINK, RTM_GETADDR, RTM_GETNETCONF, RTM_GETNEIGH)
SO_RCVBUFFORCE: Final = 33


def open_socket() -> socket.socket:
    """A non-blocking rtnetlink socket that hears GROUPS. OSError when netlink is refused."""
    made = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
    )
    try:
        try:
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
        except PermissionError:  # in a user namespace; rmem_max caps this one
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        made.bind((0, GROUPS))
    except OSError:
        made.close()
        raise
    return made


def send(link: socket.socket, request: bytes) -> bool:
    """A request without acknowledgement. False: the kernel cannot take it now."""
    try:
        link.send(request)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False
    return True


class Monitor:
    """Reads the socket, runs the dumps one after another, and starts again after a loss.

    `on_message(message, generation)` gets every message, and `on_complete(kind, generation)`
    says that the dump of `kind` (one of DUMPS) was complete and consistent: entries older than
    `generation` are gone. `synced` holds when nothing is outstanding.
    """

    def __init__(
        self,
        link: socket.socket,
        on_message: Callable[[Content, int], None],
        on_complete: Callable[[int, int], None],
        retry: Callable[[Callable[[], None]], object],
    ) -> None:
        self._socket = link
        self._on_message = on_message
        self._on_complete = on_complete
        # Called with a function to run again later (loop.call_later): when a dump is refused.
        self._retry = retry
        self._generation = 0
        self._sequence = 0
        self._running = 0  # sequence of the dump under way, 0 for none
        self._kind = 0
        self._spoilt = False  # something was lost while this dump ran
        self._waiting: list[int] = []
        self.counters = {"datagrams": 0, "overruns": 0, "resyncs": 0, "malformed": 0, "refused": 0}

    @property
    def synced(self) -> bool:
        """No dump is under way or waiting."""
        return self._running == 0 and not self._waiting

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def resync(self, kinds: tuple[int, ...] = DUMPS) -> None:
        """Dump `kinds` after what is already under way. Cheap to call again: it coalesces."""
        self.counters["resyncs"] += 1
        self._waiting = [kind for kind in DUMPS if kind in kinds or kind in self._waiting]
        self._next()

    def read(self) -> None:
        """Take what is there, at most DATAGRAMS_PER_READ datagrams; never waits."""
        for _ in range(DATAGRAMS_PER_READ):
            try:
                # 64 KiB: the kernel sizes dump parts by the buffer it saw, at most 32 KiB.
                datagram = self._socket.recv(65536)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.counters["overruns"] += 1
                self._spoilt = True
                self.resync()
                continue
            self.counters["datagrams"] += 1
            for message in decode(datagram):
                if isinstance(message, Done):
                    self._done(message)
                elif isinstance(message, Interrupted):
                    self._spoilt = self._spoilt or message.sequence == self._running != 0
                elif isinstance(message, Malformed):
                    self.counters["malformed"] += 1
                else:
                    self._on_message(message, self._generation)

    def _next(self) -> None:
        """Start the next waiting dump: one at a time, a second one would get EBUSY."""
        if self._running or not self._waiting:
            return
        kind = self._waiting[0]
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        self._generation += 1
        if not send(self._socket, dump_request(kind, self._sequence)):
            self._retry(self._next)
            return
        del self._waiting[0]
        self._running, self._kind, self._spoilt = self._sequence, kind, False

    def _done(self, message: Done) -> None:
        if message.sequence != self._running or self._running == 0:
            # Sequence 0 is a resolve request that the kernel refused: no such link any more,
            # table full. The packets that wait for it have a deadline of their own.
            self.counters["refused"] += message.error != 0
            return
        self._running = 0
        if message.error or self._spoilt:
            self._waiting = [kind for kind in DUMPS if kind == self._kind or kind in self._waiting]
            self._retry(self._next)
            return
        self._on_complete(self._kind, self._generation)
        self._next()

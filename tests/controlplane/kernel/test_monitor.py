"""The monitor over a fake socket: overruns and spoilt dumps end in a complete picture."""

import errno
import struct
from collections import deque
from collections.abc import Callable

from ribcage.controlplane.kernel.netlink.messages import (
    RTM_GETLINK,
    RTM_GETNEIGH,
    Content,
    LinkMessage,
)
from ribcage.controlplane.kernel.netlink.monitor import DUMPS, Monitor


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, sequence: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def link(index: int, sequence: int = 0, flags: int = 0) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, 1, 0) + attribute(3, b"eth%d\0" % index)
    return message(16, body, sequence, flags)


def done(sequence: int, error: int = 0) -> bytes:
    return message(3, struct.pack("=i", -error), sequence)


class FakeSocket:
    """A queue of datagrams and errors; remembers the dumps that were asked for."""

    def __init__(self) -> None:
        self.queue: deque[bytes | OSError] = deque()
        self.asked: list[tuple[int, int]] = []  # type, sequence
        self.refuse = False

    def recv(self, _size: int) -> bytes:
        if not self.queue:
            raise BlockingIOError
        item = self.queue.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def send(self, data: bytes) -> int:
        if self.refuse:
            raise BlockingIOError
        _, kind, _, sequence, _ = struct.unpack_from("=IHHII", data)
        self.asked.append((kind, sequence))
        return len(data)


class Rig:
    """A monitor, its fake socket, and what it told."""

    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.heard: list[tuple[Content, int]] = []
        self.complete: list[tuple[int, int]] = []
        self.later: list[Callable[[], None]] = []
        self.monitor = Monitor(
            self.socket,  # type: ignore[arg-type]
            lambda message, generation: self.heard.append((message, generation)),
            lambda kind, generation: self.complete.append((kind, generation)),
            self.later.append,
        )

    def feed(self, *items: bytes | OSError) -> None:
        self.socket.queue.extend(items)
        self.monitor.read()

    def answer(self) -> None:
        """End every dump that is asked for, until none is."""
        while not self.monitor.synced:
            self.feed(done(self.socket.asked[-1][1]))


def test_dumps_run_one_after_another_in_order() -> None:
    """A second dump while one runs would be refused by the kernel (EBUSY)."""
    rig = Rig()
    rig.monitor.resync()
    assert [kind for kind, _ in rig.socket.asked] == [RTM_GETLINK]
    rig.answer()
    assert tuple(kind for kind, _ in rig.socket.asked) == DUMPS
    assert tuple(kind for kind, _ in rig.complete) == DUMPS


def test_an_overrun_is_counted_and_everything_is_dumped_again() -> None:
    """ENOBUFS says that events are lost: only a full dump can tell what they were."""
    rig = Rig()
    rig.monitor.resync()
    rig.answer()
    before = rig.complete[-1][1]
    rig.feed(OSError(errno.ENOBUFS, "no buffer space"), link(7))
    rig.answer()
    assert rig.monitor.counters["overruns"] == 1
    assert tuple(kind for kind, _ in rig.complete[4:]) == DUMPS
    assert all(generation > before for _, generation in rig.complete[4:])
    heard, generation = rig.heard[-1]
    assert isinstance(heard, LinkMessage)
    # Told after the dump of links was asked for, so the sweep of that dump spares it.
    assert generation >= rig.complete[4][1]


def test_a_dump_hit_by_an_overrun_is_never_complete() -> None:
    """Its sweep would remove what it did not get to tell."""
    rig = Rig()
    rig.monitor.resync((RTM_GETLINK,))
    first = rig.socket.asked[-1][1]
    rig.feed(link(2, first), OSError(errno.ENOBUFS, "no buffer space"), done(first))
    assert rig.complete == []
    assert not rig.monitor.synced
    rig.later.pop()()
    rig.answer()
    assert tuple(kind for kind, _ in rig.complete) == DUMPS


def test_an_interrupted_dump_is_asked_for_again() -> None:
    """NLM_F_DUMP_INTR on one part spoils the whole."""
    rig = Rig()
    rig.monitor.resync((RTM_GETNEIGH,))
    first = rig.socket.asked[-1][1]
    rig.feed(link(2, first, flags=0x10), done(first))
    assert (rig.complete, len(rig.later)) == ([], 1)
    rig.later.pop()()
    rig.answer()
    assert [kind for kind, _ in rig.complete] == [RTM_GETNEIGH]


def test_a_refused_dump_is_asked_for_later() -> None:
    """Neither a full send buffer nor EBUSY ends the wish."""
    rig = Rig()
    rig.socket.refuse = True
    rig.monitor.resync((RTM_GETLINK,))
    assert (rig.socket.asked, len(rig.later)) == ([], 1)
    rig.socket.refuse = False
    rig.later.pop()()
    rig.feed(done(rig.socket.asked[-1][1], errno.EBUSY))
    assert rig.complete == []
    rig.later.pop()()
    rig.answer()
    assert [kind for kind, _ in rig.complete] == [RTM_GETLINK]


def test_a_refused_resolve_is_counted_and_ends_no_dump() -> None:
    """Its error has sequence 0; the dump under way goes on."""
    rig = Rig()
    rig.monitor.resync((RTM_GETLINK,))
    rig.feed(message(2, struct.pack("=i", -19) + bytes(16)))
    assert rig.monitor.counters["refused"] == 1
    assert not rig.monitor.synced


def test_one_read_takes_a_bounded_number_of_datagrams() -> None:
    """A storm must not keep control from its other work."""
    rig = Rig()
    rig.feed(*[link(n) for n in range(1, 200)])
    assert len(rig.heard) == 64
    assert len(rig.socket.queue) == 135

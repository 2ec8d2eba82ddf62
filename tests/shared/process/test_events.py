"""The event queue: urgent first, never waiting, honest about what was lost."""

import ctypes
import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
import sysv_ipc
from hypothesis import given
from hypothesis import strategies as st
from ribcage.shared._core import ffi, lib

from ribcage.shared.addresses import Address
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.events import TYPES, Event, EventQueue, decode, encode

MISS, FAULT = lib.EVENT_NEIGHBOUR_MISS, lib.EVENT_WORKER_FAULT


class Sender:
    """A worker's end: the C sender with a private life block."""

    def __init__(self, queue: int, bell: int = -1, worker: int = 5) -> None:
        self.life = ffi.new("struct stats_life *")
        self.raw = ffi.new("struct event_sender *")
        self.payload = ffi.new("struct event_payload *")
        lib.event_open(self.raw, self.life, queue, bell, worker)

    def send(self, kind: int = MISS, urgency: int = lib.URGENCY_NEIGHBOUR) -> int:
        return int(lib.event_send(self.raw, kind, urgency, self.payload, 123))

    def flush(self) -> None:
        lib.event_flush(self.raw, 456)


@pytest.fixture
def queue() -> Iterator[EventQueue]:
    made = EventQueue.create()
    yield made
    made.remove()


def test_urgent_events_come_first(queue: EventQueue) -> None:
    """A fault behind a hundred neighbour misses is handled first; a class keeps its order."""
    sender = Sender(queue.id)
    for _ in range(100):
        assert sender.send() == 0
    sender.payload.code = 42
    assert sender.send(FAULT, lib.URGENCY_FAULT) == 0
    events = queue.receive_batch(200)
    assert len(events) == 101
    assert (events[0].type, events[0].code, events[0].sequence) == ("worker-fault", 42, 101)
    assert [e.sequence for e in events[1:]] == list(range(1, 101))
    assert queue.receive_batch() == []


def test_batch_is_bounded(queue: EventQueue) -> None:
    """A storm cannot hold the receiver: it gets as many as it asked for."""
    sender = Sender(queue.id)
    for _ in range(20):
        sender.send()
    assert len(queue.receive_batch(7)) == 7
    assert len(queue.receive_batch(7)) == 7
    assert queue.limits().queued == 6


def test_full_queue_keeps_room_for_faults(queue: EventQueue) -> None:
    """Misses stop at three quarters; a fault is queued all the same; sending never waits."""
    sender = Sender(queue.id)
    room = queue.limits().queue_bytes // lib.EVENT_SIZE
    results = [sender.send() for _ in range(room + 10)]
    sent = results.count(0)
    assert sent == room * 3 // 4 and results[sent:] == [-11] * (room + 10 - sent)
    assert sender.life.events_sent == sent and sender.life.events_lost == room + 10 - sent
    faults = [sender.send(FAULT, lib.URGENCY_FAULT) for _ in range(room)]
    assert faults.count(0) == room - sent


def test_losses_are_announced_once_there_is_room(queue: EventQueue) -> None:
    """EVENT_LOST says how many; the sequence shows the gap; a flush without losses is silent."""
    sender = Sender(queue.id)
    while sender.send() == 0:
        pass
    sender.send()
    sender.flush()
    before = queue.receive_batch(1000)
    assert {e.type for e in before} == {"neighbour-miss"}
    sender.flush()
    (lost,) = queue.receive_batch()
    assert (lost.type, lost.count, lost.worker) == ("lost", 2, 5)
    assert lost.sequence == before[-1].sequence + 3
    assert queue.counters.lost == 2
    sender.flush()
    assert queue.receive_batch() == []


def test_many_events_are_one_bell(queue: EventQueue) -> None:
    """The bell rings once a flush, and not at all when there is no news."""
    bell, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.setblocking(False)
    sender = Sender(queue.id, bell.fileno())
    sender.flush()
    with pytest.raises(BlockingIOError):
        control.recv(8)
    for _ in range(10):
        sender.send()
    sender.flush()
    sender.flush()
    assert control.recv(8) == b"\1"
    lib.event_wake(sender.raw)
    sender.flush()
    assert control.recv(8) == b"\1"
    with pytest.raises(BlockingIOError):
        control.recv(8)
    bell.close()
    control.close()


def test_a_bell_never_blocks_whatever_the_other_end_does() -> None:
    """Nobody hears it, it is blocking, shut, or closed: ringing and hearing come back at once."""
    bell, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(True)
    rings = [lib.bell_ring(bell.fileno()) for _ in range(5000)]
    assert rings[0] == 0 and rings[-1] == -errno.EAGAIN
    lib.bell_hear(bell.fileno())  # nothing to hear
    other.shutdown(socket.SHUT_RDWR)
    assert lib.bell_ring(bell.fileno()) < 0  # full, or nobody reads
    other.close()
    assert lib.bell_ring(bell.fileno()) < 0
    lib.bell_hear(bell.fileno())
    bell.close()


def test_no_message_stays_in_the_queue(queue: EventQueue) -> None:
    """Any type from 1 to the largest, any length from 0 to the kernel's most: taken and counted,
    or they would fill it for good; what is ours among them arrives."""
    event = Event("neighbour-miss", 3, 1, 9, 77, port=2, address=ip_address("10.0.0.7"))
    raw = sysv_ipc.MessageQueue(queue.key, max_message_size=8192)
    for kind, size in ((1, 0), (6, 64), (77, 1), (2**31 - 1, 64), (5, 8000)):
        raw.send(b"x" * size, type=kind)
    largest = sys.maxsize.to_bytes(8, "little") + b"x" * 65
    assert ctypes.CDLL(None).msgsnd(queue.id, largest, 65, 0) == 0
    queue.send(encode(event), 3)
    events, taken = queue.receive(64)
    assert (events, taken) == ([event], 7)
    assert queue.counters.refused == 6
    assert queue.limits().queued == 0 and queue.receive(64) == ([], 0)


def test_a_queue_that_somebody_changed_is_noticed() -> None:
    """Another size, another mode, removed: each is told in words; as it was made, nothing."""
    queue = EventQueue.create()
    size = queue.limits().queue_bytes
    assert queue.fault(size) is None and queue.fault(0) is None
    raw = sysv_ipc.MessageQueue(queue.key)
    raw.max_size = 128
    assert "room for 128 bytes" in str(queue.fault(size))
    raw.max_size = size
    raw.mode = 0o200
    assert queue.fault(size) is not None
    raw.mode = 0o600
    assert queue.fault(size) is None
    raw.remove()
    assert queue.fault(size) is not None


def test_successor_continues_the_sequence(queue: EventQueue) -> None:
    """A restarted worker makes no gap, and its losses stay counted."""
    first = Sender(queue.id)
    first.send()
    first.send()
    successor = Sender.__new__(Sender)
    successor.life, successor.payload = first.life, first.payload
    successor.raw = ffi.new("struct event_sender *")
    lib.event_open(successor.raw, successor.life, queue.id, -1, 5)
    successor.send()
    assert [e.sequence for e in queue.receive_batch()] == [1, 2, 3]


def test_gone_queue_is_a_counted_loss() -> None:
    """Removed under a worker: every send fails at once, nothing else happens."""
    queue = EventQueue.create()
    sender = Sender(queue.id)
    queue.remove()
    queue.remove()  # twice is no error
    assert sender.send() < 0 and sender.send(FAULT, lib.URGENCY_FAULT) < 0
    sender.flush()
    assert sender.life.events_lost == 2
    with pytest.raises(RibcageError):
        queue.receive_batch()
    with pytest.raises(RibcageError):
        EventQueue.open(queue.key)
    assert Sender(-1).send() < 0


def test_two_queues_do_not_meet(queue: EventQueue) -> None:
    """Keys are random: two instances on a host have queues of their own."""
    other = EventQueue.create()
    try:
        Sender(queue.id).send()
        assert other.receive_batch() == [] and other.key != queue.key
        assert len(EventQueue.open(queue.key).receive_batch()) == 1
    finally:
        other.remove()


@given(st.binary(max_size=100), st.integers(-3, 9))
def test_any_record_is_survived(raw: bytes, urgency: int) -> None:
    """Bytes of any length decode to an event or to nothing."""
    event = decode(raw, urgency)
    assert event is None or event.type in TYPES.values()


def test_strange_records_are_counted_and_skipped(queue: EventQueue) -> None:
    """Another version, type or size: refused one by one, what stands behind them arrives."""
    event = Event("neighbour-miss", 3, 1, 9, 77, port=2, address=ip_address("10.0.0.7"))
    good = encode(event)
    queue.send(b"\x63" + good[1:], 3)
    queue.send(good[:2] + b"\x63" + good[3:], 3)
    queue.send(good[:-1], 3)
    queue.send(good, 3)
    assert queue.receive_batch() == [event]
    assert queue.counters.refused == 3 and queue.counters.received == 1


@given(
    st.sampled_from(sorted(TYPES.values())),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([None, ip_address("0.1.2.3"), ip_address("1:203::f")]),
)
def test_encode_is_the_inverse(
    kind: str, big: int, port: int, code: int, address: Address | None
) -> None:
    """What goes in comes out, for every type."""
    event = Event(kind, 3, 7, big, big, big, big, port, address, code)
    assert decode(encode(event), 3) == event
    assert decode(encode(replace(event, sequence=1)), 3) == replace(event, sequence=1)


def test_limits_are_the_kernels(queue: EventQueue) -> None:
    """What was granted is told, and a wish beyond it is no error."""
    greedy = EventQueue.create(queue_bytes=1 << 30)
    try:
        assert greedy.limits().queue_bytes > 0
        assert queue.limits().message_max >= lib.EVENT_SIZE
    finally:
        greedy.remove()
    with pytest.raises(sysv_ipc.ExistentialError):
        sysv_ipc.MessageQueue(greedy.key)

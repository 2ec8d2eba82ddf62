"""What a worker can do to the part of control that hears it: nothing lasts, nobody else loses."""

import os
import socket
import time

import pytest
import sysv_ipc
from ribcage.shared._core import lib

from ribcage.controlplane.workers.events import SLICE, SLOW_BELL
from ribcage.controlplane.workers.misses import AT_ONCE, EACH, QUEUE
from ribcage.shared.process.events import Event, EventQueue, QueueName, encode
from tests.controlplane.workers.heard import ADDRESS, Heard


def test_waiting_packets_are_found_without_the_queue(heard: Heard) -> None:
    """The queue is full of another worker's messages: who waits is in the stats object."""
    for sequence in range(1, 5000):
        if not heard.send(sequence, worker=0):
            break
    sysv_ipc.MessageQueue(heard.queue.key).max_size = 1  # and takes no more

    def script() -> None:
        heard.wait(1, 41_000)
        heard.ring(1)

    heard.run(script, lambda: 41_000 in heard.misses, 5.0)


def test_a_waiting_packet_is_asked_about_once_a_row(heard: Heard) -> None:
    """The same row is no news at the next look; asked again by the worker, it is."""
    heard.run(lambda: heard.wait(0, 7), lambda: heard.misses == [7], 5.0)
    end = time.monotonic() + 3 * SLOW_BELL
    heard.run(lambda: None, lambda: time.monotonic() > end, 5.0)
    assert heard.misses == [7]
    heard.run(lambda: heard.wait(0, 7), lambda: heard.misses == [7, 7], 5.0)
    heard.wait(0, 8, time.monotonic_ns() - 60_000_000_000)  # a predecessor's, long ago
    heard.run(lambda: heard.wait(0, 9), lambda: heard.misses[2:] == [9], 5.0)


def test_a_worker_that_lies_without_pause_leaves_the_others_their_share(heard: Heard) -> None:
    """All rows anew at each ring: its budget is spent, the other worker's is not."""
    end = time.monotonic() + 0.5
    last = 0

    def lie() -> bool:
        nonlocal last
        for port in range(64):
            last += 1
            heard.wait(0, port, time.monotonic_ns() + last)
        heard.ring(0)
        if time.monotonic() > end:
            heard.wait(1, 50_000)
            return 50_000 in heard.misses
        return False

    took = heard.run(lambda: None, lie, 10.0)
    lied = sum(port < 64 for port in heard.misses)
    assert AT_ONCE <= lied <= AT_ONCE + EACH * (took + 1)
    assert heard.counters["misses_refused"] > 0


def test_a_bell_rung_without_pause_does_not_keep_the_loop(heard: Heard) -> None:
    """Thousands of rings: heard a bounded number of times, then with the slow look."""
    slot = heard.workers.slots[0]
    assert slot.bell is not None
    end = time.monotonic() + 1.0
    heard.bells[0].setblocking(False)

    def flood() -> bool:
        for _ in range(200):
            try:
                heard.bells[0].send(b"x")
            except BlockingIOError:
                break
        return time.monotonic() > end

    heard.run(lambda: None, flood, 10.0)
    heard.run(lambda: heard.wait(0, 3), lambda: 3 in heard.misses, 5.0)


def test_control_rings_and_hears_whatever_the_worker_did_to_its_end(heard: Heard) -> None:
    """Never read, made blocking, shut down, connected elsewhere, closed: nothing blocks."""
    slot = heard.workers.slots[0]
    bell = slot.bell
    assert bell is not None
    os.set_blocking(heard.bells[0].fileno(), True)
    rings = [bell.ring() for _ in range(2000)]
    assert rings[0] and not rings[-1]
    heard.bells[0].shutdown(socket.SHUT_RDWR)
    assert not bell.ring()
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.bind(b"\0ribcage-test-%d" % os.getpid())
    heard.bells[0].connect(other.getsockname())  # control's end is told: ECONNRESET, to be read
    heard.run(lambda: heard.wait(0, 5), lambda: 5 in heard.misses, 5.0)
    heard.bells[0].close()
    assert not bell.ring()
    heard.run(lambda: heard.wait(0, 6), lambda: 6 in heard.misses, 5.0)
    other.close()


def test_forged_senders_leave_nothing_behind(heard: Heard) -> None:
    """Ten thousand worker numbers: counted, nothing of them is kept, no line for each."""

    def script() -> None:
        sent = 0
        while sent < 10_000 and heard.send(sent + 1, worker=1_000_000 + sent):
            sent += 1
        heard.misses.append(sent)

    heard.run(script, lambda: heard.counters["events"] >= heard.misses[0] > 0, 5.0)
    assert len(heard.misses) == 1 and len(heard.log) < 25
    assert heard.counters["events_refused"] == heard.misses[0]
    assert heard.events._order._workers == {}


def test_a_sequence_nobody_could_have_reached_is_not_believed(heard: Heard) -> None:
    """A forged number makes no gap of 2^64, and the worker's own go on."""

    def script() -> None:
        heard.send(1)
        heard.ring()

    heard.run(script, lambda: heard.counters["events"] == 1, 5.0)
    heard.send(2**64 - 1)
    heard.run(heard.ring, lambda: heard.counters["events"] == 2, 5.0)
    end = time.monotonic() + 2 * SLOW_BELL
    heard.run(lambda: None, lambda: time.monotonic() > end, 5.0)
    assert heard.counters["events_gap"] == 0
    heard.send(2), heard.send(4)
    heard.run(heard.ring, lambda: heard.counters["events_gap"] == 1, 5.0)


def test_a_storm_is_few_lines_and_a_bounded_slice(heard: Heard) -> None:
    """Faults without pause: some lines a second, SLICE messages a tenth of a second at most."""
    end = time.monotonic() + 1.0
    number = 0

    def storm() -> bool:
        nonlocal number
        for _ in range(500):
            number += 1
            if not heard.send(number, kind="worker-fault", code=2**31 - 1):
                break
        heard.ring()
        return time.monotonic() > end

    took = heard.run(lambda: None, storm, 10.0)
    assert all(len(heard.told(kind)) <= 21 + 2 * took for kind in {kind for kind, _ in heard.log})
    assert heard.counters["events"] <= (took / SLOW_BELL + 2) * SLICE
    assert heard.counters["events_failed"] == 0 == heard.counters["unhandled"]


def test_neighbours_said_in_the_queue_have_a_budget_of_their_own(heard: Heard) -> None:
    """Anybody can send them in any name: they take nobody's share."""
    sent = [heard.send(n, worker=n % 2) for n in range(1, 2000)].count(True)
    took = heard.run(heard.ring, lambda: heard.counters["events"] >= sent, 10.0)
    assert len(heard.misses) <= AT_ONCE + QUEUE * (took + 0.1)
    heard.run(lambda: heard.wait(0, 50_001), lambda: 50_001 in heard.misses, 5.0)


@pytest.mark.parametrize("what", ["removed", "smaller", "closed"])
def test_a_queue_that_is_lost_is_told_once_and_asked_for(heard: Heard, what: str) -> None:
    """ipcrm, another size, another mode: one line, a request a second, and the new one is used."""
    raw = sysv_ipc.MessageQueue(heard.queue.key)
    if what == "removed":
        raw.remove()
    elif what == "smaller":
        raw.max_size = 64
    else:
        raw.mode = 0
    end = time.monotonic() + 1.5
    heard.run(lambda: None, lambda: time.monotonic() > end, 5.0)
    assert len(heard.told("events.queue_lost")) == 1
    assert 1 <= len(heard.said) <= 3 and heard.said[0]["type"] == "queue-lost"
    assert heard.counters["queues_lost"] == 1
    other = EventQueue.create()
    try:
        event = Event("neighbour-miss", lib.URGENCY_NEIGHBOUR, 1, 1, 1, port=77, address=ADDRESS)
        other.send(encode(event), lib.URGENCY_NEIGHBOUR)
        name = QueueName(other.key, other.limits().queue_bytes)
        heard.run(lambda: heard.events.renew(name), lambda: 77 in heard.misses, 5.0)
        assert len(heard.told("events.queue_found")) == 1
    finally:
        other.remove()

"""Events as control takes them: bells, repetitions and gaps, and a queue that fills."""

import pytest

from ribcage.controlplane.workers.events import SLOW_BELL
from tests.controlplane.workers.heard import Heard


def test_a_lost_bell_costs_a_tenth_of_a_second_at_most(heard: Heard) -> None:
    """An event whose sender was killed before it rang is found by the slow look."""
    took = heard.run(lambda: heard.send(1), lambda: heard.misses == [1], 5.0)
    assert took < SLOW_BELL + 0.5  # the rest is this machine's
    assert SLOW_BELL <= 0.1


def test_a_bell_is_heard_at_once(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the slow look out of the way."""
    monkeypatch.setattr("ribcage.controlplane.workers.events.SLOW_BELL", 60.0)

    def script() -> None:
        heard.send(1)
        heard.ring()

    heard.run(script, lambda: heard.misses == [1], 5.0)


def test_a_repeated_event_is_ignored_and_counted(heard: Heard) -> None:
    """The same number and time is the same event, at once or a moment later; the same number with
    another time is the successor's, whose predecessor was killed before it had counted."""

    def script() -> None:
        for sequence in (1, 2, 2):
            heard.send(sequence)
        heard.ring()

    heard.run(script, lambda: heard.counters["events"] == 3, 5.0)

    def again() -> None:
        heard.send(2)
        heard.send(2, at=99)
        heard.ring()

    heard.run(again, lambda: heard.counters["events"] == 5, 5.0)
    assert heard.misses == [1, 2, 2]
    assert heard.counters["events_repeated"] == 2
    assert heard.counters["events_gap"] == 0


def test_a_gap_is_counted_and_told_once(heard: Heard) -> None:
    """Numbers that never came are a gap; an urgent event that overtakes others is none."""

    def script() -> None:
        for sequence in (7, 8, 12, 13):  # it has worked before: the first number is no gap
            heard.send(sequence)
        heard.send(14, kind="worker-fault", code=5)
        heard.ring()

    heard.run(script, lambda: bool(heard.told("events.gap")), 5.0)
    assert heard.told("events.gap") == [{"worker": 1, "count": 3}]
    assert heard.counters["events_gap"] == 3
    assert heard.log[0][0] == "worker.fault", "it came first"

    def more() -> None:
        heard.send(15)
        heard.ring()

    heard.run(more, lambda: heard.misses[-1] == 15, 5.0)
    assert heard.counters["events_gap"] == 3


def test_a_queue_that_fills_is_told_once_above_four_fifths(heard: Heard) -> None:
    """One alarm a filling, and the high-water mark, before the queue is full."""
    room = heard.queue.fill()[1]
    filled = room * 9 // 10

    def script(first: int = 1) -> None:
        for sequence in range(first, first + filled):
            assert heard.send(sequence)
        heard.ring()

    heard.run(script, lambda: heard.counters["events"] == filled, 5.0)
    assert heard.told("events.queue") == [{"queued": filled, "room": room}]
    assert heard.events.queue is not None
    assert heard.events.queue.counters.high_water >= filled

    def few() -> None:
        heard.send(filled + 1)
        heard.ring()

    heard.run(few, lambda: heard.counters["events"] == filled + 1, 5.0)
    assert heard.counters["queue_alarms"] == 1
    heard.run(lambda: script(filled + 2), lambda: heard.counters["queue_alarms"] == 2, 5.0)
    assert heard.counters["events_gap"] == heard.counters["events_repeated"] == 0

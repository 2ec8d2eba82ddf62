"""The books of a chaos run, on records that a test wrote: every verdict can be reached."""

import json
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.kinds.kind import Fault, Kind, Scene
from ribcage.lab.chaos.ledger import HORIZON, Ledger
from ribcage.lab.probe.records import RECEIVED, SENT, RecordWriter

MS = 1_000_000
START = 1_000_000 * MS
FLOW = plan.NumberedFlow(0)


def _nothing(scene: Scene) -> None:
    raise AssertionError("not played here")


def fault(number: int, begin: int, **more: Any) -> Fault:
    """One that was played: 10 ms long, touching every flow."""
    window, misroute = more.pop("window_ms", 0), more.pop("misroute_ms", 0)
    kind = Kind("test", "", "", _nothing, window, "restart", misroute)
    made = Fault(number, kind, begin=begin, end=begin + 10 * MS, flows=frozenset(range(12)))
    for name, value in more.items():
        setattr(made, name, value)
    return made


class Books:
    """A ledger and the files it reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent = RecordWriter(folder, "s1", SENT)
        self.sinks = {n: RecordWriter(folder, f"k{n}", RECEIVED) for n in range(1, 4)}
        self.ledger = Ledger(folder)
        self.number = 0

    def packet(self, at: int, *sinks: int, took: int = MS) -> None:
        """One packet of flow 0, and where it came."""
        self.number += 1
        self.sent.add(FLOW.number, self.number, at)
        for sink in sinks:
            self.sinks[sink].add(FLOW.number, self.number, at, at + took)

    def churn(self, *events: tuple[str, int, int | None]) -> None:
        with (self.folder / "churn.jsonl").open("a") as file:
            for what, when, sink in events:
                line = {"what": what, "t": when, "prefix": FLOW.moved, "sink": sink}
                file.write(json.dumps(line | {"where": "rib", "have": None}) + "\n")

    def judged(self, *faults: Fault) -> Ledger:
        for writer in [self.sent, *self.sinks.values()]:
            writer.flush()
        self.ledger.collect()
        self.ledger.examine(START + 10 * HORIZON, list(faults))
        return self.ledger


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_a_packet_that_came_where_its_route_says_is_received(books: Books) -> None:
    """Home while nothing was moved, the new sink after the acknowledgement."""
    books.packet(START, FLOW.home)
    books.churn(("ask", START + 5 * MS, 3), ("ack", START + 6 * MS, 3))
    books.packet(START + 20 * MS, 3)
    tally = books.judged().tally
    assert (tally.sent, tally.received, tally.lost, tally.misrouted) == (2, 2, 0, 0)


def test_a_packet_that_follows_a_route_that_was_replaced_is_misrouted(books: Books) -> None:
    """Sent after the acknowledgement, it may not go where the old route led."""
    books.churn(("ask", START, 3), ("ack", START + MS, 3))
    books.packet(START + 20 * MS, 2)
    struck = fault(1, START + 2 * MS)
    assert books.judged(struck).tally.misrouted == 1
    assert struck.misrouted == 1


def test_a_table_that_is_damaged_may_lead_astray_until_it_must_be_found(books: Books) -> None:
    """Inside its allowance, and not after it."""
    struck = fault(1, START, misroute_ms=50)
    books.packet(START + 30 * MS, 2)
    books.packet(START + 100 * MS, 2)
    assert books.judged(struck).tally.misrouted == 1


def test_a_loss_inside_the_window_is_the_faults_and_any_other_is_not_excused(
    books: Books,
) -> None:
    """The same fault, 40 ms and 80 ms after its end of 10 ms, with a window of 50 ms."""
    struck = fault(1, START, window_ms=50)
    books.packet(START + 50 * MS)
    books.packet(START + 90 * MS)
    tally = books.judged(struck).tally
    assert (tally.lost, tally.outside) == (2, 1)
    assert (struck.lost, struck.outside) == (1, 1)


@pytest.mark.parametrize(("took", "outside"), [(100, 0), (10, 1)])
def test_what_still_waited_when_a_fault_struck_is_under_way(
    books: Books, took: int, outside: int
) -> None:
    """Sent 60 ms before it, and gone. Whether it was under way then, the next of its flow says: it
    waited too, or it had come before the fault struck."""
    struck = fault(1, START + 60 * MS, window_ms=50)
    books.packet(START)
    books.packet(START + 5 * MS, FLOW.home, took=took * MS)
    tally = books.judged(struck).tally
    assert (tally.lost, tally.outside) == (1, outside)


def test_a_fault_without_a_window_excuses_nothing(books: Books) -> None:
    """Control may die, and no packet with it."""
    struck = fault(1, START)
    books.packet(START + 5 * MS)
    assert books.judged(struck).tally.outside == 1


def test_a_second_copy_is_a_duplicate_and_has_to_be_right_too(books: Books) -> None:
    """Two copies at two sinks: one is wrong."""
    books.packet(START, FLOW.home, FLOW.home)
    books.packet(START + MS, FLOW.home, 3)
    tally = books.judged().tally
    assert (tally.duplicates, tally.misrouted) == (2, 1)


def test_a_route_that_the_router_forgot_counts(books: Books) -> None:
    """What churn found missing in the RIB."""
    books.churn(("ask", START, 3), ("ack", START + MS, 3), ("lost", START + 2 * MS, 3))
    assert books.judged().tally.routes_lost == 1


def test_nothing_is_judged_before_it_had_its_time(books: Books) -> None:
    """A packet that is on its way is not lost."""
    books.packet(START)
    books.sent.flush()
    books.ledger.collect()
    books.ledger.examine(START + HORIZON - MS, [])
    assert books.ledger.tally.lost == 0
    books.ledger.examine(START + HORIZON + MS, [])
    assert books.ledger.tally.lost == 1


def test_recovery_is_measured_from_the_packets(books: Books) -> None:
    """Those that waited in a ring say when somebody read it again."""
    struck = fault(1, START + 20 * MS, window_ms=500)
    for n in range(100):
        at = START + n * 5 * MS
        if 20 <= n * 5 < 60:
            books.packet(at, FLOW.home, took=START + 63 * MS - at)
        else:
            books.packet(at, FLOW.home)
    ledger = books.judged(struck)
    assert ledger.recovery_ms(struck, START + 1000 * MS) == 43.0


def test_a_fault_that_no_packet_felt_has_no_recovery(books: Books) -> None:
    """Nothing lost, nothing late."""
    struck = fault(1, START + 20 * MS)
    for n in range(50):
        books.packet(START + n * 5 * MS, FLOW.home)
    assert books.judged(struck).recovery_ms(struck, START + 1000 * MS) is None

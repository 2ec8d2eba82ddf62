"""A worker that is not ours any more: what it does with what it has, and that it reaches nobody.

docs/threat-model.md has a row for each test. The router is a whole one between namespaces; worker 1
is a real worker with a thread that obeys the test. Every attack runs under traffic while management
is asked: answers come in time, control and supervisor neither die nor grow, the log stays small.
"""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from ribcage.lab.topology.namespaces import available
from tests.netns.hostile.launch import HOSTILE
from tests.netns.hostile.rig import HostileRig, hostile_rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileRig]:
    with hostile_rig(tmp_path_factory.mktemp("hostile")) as built:
        yield built


def test_its_stats_object_keeps_its_size(rig: HostileRig) -> None:
    """Truncated once, control died of SIGBUS; now the kernel refuses, whoever asks."""
    seen = rig.during("stats-shorten", 0.5)
    assert {seen.attack[name] for name in ("to 0", "to a page", "longer", "seal")} == {"EPERM"}
    assert seen.attack["hole"] == "0"  # its own zeroes; a reader reads zeroes
    assert seen.stream is not None and seen.stream.lost == 0
    rig.healed()


def test_garbage_in_its_stats_object_is_its_own(rig: HostileRig) -> None:
    """Every byte at random, identity and all: the others' counters stay true and go on."""
    before = rig.worker(0)
    seen = rig.during("stats-garbage", 2.0, flow=False)
    assert int(seen.attack["rounds"]) > 10
    after = rig.worker(0)
    assert after["rx"] >= before["rx"] and after["balanced"] and not after["odd"]
    rig.healed()
    rig.built.echo()


def test_a_generation_from_the_future_is_not_called_used(rig: HostileRig) -> None:
    """`route add --wait` answers at once, does not count it, and names it."""
    answers = []
    thread = threading.Thread(target=lambda: rig.order("generation-from-the-future", 2.0))
    thread.start()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        answers.append(rig.add_route())
    thread.join()
    odd = [answer for answer in answers if answer.get("code") == "E_WORKER_ODD"]
    assert odd, answers
    assert all("1 of 2 workers use it: worker1" in answer["message"] for answer in odd)
    rig.healed()
    assert rig.add_route()["workers"] == {"seen": 2, "of": 2}


def test_a_flooded_queue_takes_nobodys_neighbours(rig: HostileRig) -> None:
    """Forged senders, unknown types, long messages, without pause: new hosts are found, streams
    lose nothing, and the queue is empty soon after."""
    thread_seen = rig.during("queue-flood", 2.0)
    assert int(thread_seen.attack["sent"]) > 100
    assert thread_seen.stream is not None and thread_seen.stream.lost == 0
    counters = rig.router.call("ipc.show")["counters"]
    assert counters["events_refused"] > 0 and counters["unhandled"] == 0
    rig.finds_a_new_neighbour(30)
    rig.built.counted("empty", lambda: rig.router.call("ipc.show")["queue"]["queued"] == 0)


def test_neighbours_are_found_while_the_queue_is_flooded(rig: HostileRig) -> None:
    """In the middle of it, whichever worker the flow belongs to."""
    thread = threading.Thread(target=lambda: rig.order("queue-flood", 3.0))
    thread.start()
    try:
        for host in (31, 32, 33, 34):
            rig.finds_a_new_neighbour(host)
    finally:
        thread.join()


def test_a_spoilt_queue_is_made_anew(rig: HostileRig) -> None:
    """Where it may remove it (no uid of its own), there is another at once, told to all."""
    key = rig.router.call("ipc.show")["queue"]["key"]
    seen = rig.during("queue-spoil", 0.5)
    if "ok" in seen.attack.values():
        rig.built.counted(
            "another",
            lambda: (rig.router.call("ipc.show")["queue"] or {"key": key})["key"] != key,
        )
        assert len(rig.built.log_lines("queue.renewed")) >= 1
    rig.finds_a_new_neighbour(35)
    assert rig.router.call("ipc.show")["counters"]["unhandled"] == 0


def test_a_bell_that_is_full_and_blocking_stops_nobody(rig: HostileRig) -> None:
    """Control rings it after each publish, and hears it no more often than it likes."""
    seen = rig.during("bell-fill", 2.0)
    assert int(seen.attack["rings"]) > 100
    assert seen.stream is not None and seen.stream.lost == 0
    rig.finds_a_new_neighbour(36)


def test_a_bell_that_is_broken_is_its_own(rig: HostileRig) -> None:
    """Shut down, connected elsewhere, with a descriptor that takes an hour to close: its packets
    wait a tenth of a second longer, and its successor has a bell of its own."""
    seen = rig.during("bell-break", 0.5)
    assert seen.attack["shut"] == "ok", seen.attack
    assert seen.stream is not None and seen.stream.lost == 0
    rig.finds_a_new_neighbour(37)
    rig.healed()


def test_a_flooded_channel_keeps_the_supervisor_from_nobody(rig: HostileRig) -> None:
    """60 KB of brackets, descriptors by the hundred, words that are control's alone: few lines,
    no descriptor stays, and the others are served."""
    fds = rig.router.call("process.list")["processes"][0]["fds"]
    seen = rig.during("channel-flood", 3.0)
    assert int(seen.attack["sent"]) > 50
    assert seen.stream is not None and seen.stream.lost == 0
    supervisor = rig.router.call("process.list")["processes"][0]
    assert supervisor["role"] == "supervisor" and supervisor["fds"] <= fds + 8
    assert rig.built.log_lines("child.floods")
    assert len(rig.built.log_lines("message.refused")) < 60
    rig.healed()


KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])


@pytest.mark.skipif(KERNEL < (6, 16), reason="SO_PASSRIGHTS needs Linux 6.16")
def test_a_descriptor_that_takes_an_hour_to_close_is_not_taken(rig: HostileRig) -> None:
    """A TCP socket that lingers: the kernel refuses to send it (Linux 6.16)."""
    seen = rig.during("channel-linger", 0.5)
    assert seen.attack["descriptor"] == "EPERM", seen.attack


def test_nobody_is_heard_on_the_supervisors_socket(rig: HostileRig) -> None:
    """It says it is control, again and again: shut out before a byte is read."""
    seen = rig.during("knock", 1.5)
    assert seen.attack["heard"] == "0"
    assert len(rig.built.log_lines("guest.refused")) < 40


def test_what_it_has_is_its_own(rig: HostileRig) -> None:
    """Of its descriptors those it can write to are: its stats object, sockets, rings, the log."""
    found = rig.order("open-descriptors")
    stats = [text for text in found.values() if ".stats." in text]
    assert stats and all(f".stats.{HOSTILE} " in text for text in stats)
    writable = [text for text in found.values() if text.endswith("w")]
    assert not any(".fib" in text or ".rib" in text for text in writable), writable


def test_in_the_end_the_others_counters_are_right(rig: HostileRig) -> None:
    """After all of it, with a successor in its place: everything balances and verifies."""
    rig.healed()
    assert rig.worker(0)["balanced"] and not rig.worker(0)["odd"]
    rig.built.balanced()
    rig.built.verified()


def test_a_log_that_nobody_reads_stops_nobody(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Standard error is a pipe, blocking, full of its lines: others drop theirs and go on; who
    dies and is replaced is told nowhere, and replaced all the same."""
    read, write = os.pipe()
    try:
        with hostile_rig(tmp_path_factory.mktemp("pipe"), stderr=write) as built:
            seen = built.during("log-flood", 2.0)
            assert int(seen.attack["lines"]) > 1000  # 64 KiB of them
            assert seen.stream is not None and seen.stream.lost == 0
            built.healed()
            built.during("channel-flood", 1.0)
    finally:
        os.close(read)
        os.close(write)


def test_lock_words_keep_their_size(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Under `rwlock`, which shares words: none of those who write to them can take them away."""
    with hostile_rig(tmp_path_factory.mktemp("locks"), sync="rwlock") as built:
        seen = built.during("lock-shorten", 0.5)
        assert set(seen.attack.values()) == {"EPERM"}
        assert seen.stream is not None and seen.stream.lost == 0
        assert built.add_route()["workers"] == {"seen": 2, "of": 2}


def test_a_plain_users_router_holds_as_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without root all processes have one uid, and the queue is the worker's to remove: what
    reaches others by bells, channel, counters and queue is bounded all the same."""
    with hostile_rig(tmp_path_factory.mktemp("user"), user=True) as built:
        for what in ("stats-shorten", "bell-fill", "channel-flood", "queue-flood", "queue-spoil"):
            seen = built.during(what, 1.0)
            assert seen.stream is not None and seen.stream.lost == 0, what
        built.finds_a_new_neighbour(40)
        built.healed()
        built.built.balanced()

"""Ctrl-C and SIGTERM: 130 and 143, what was done is said, and a document stays a document."""

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.answer import interrupt
from ribcage.cli.answer.interrupt import CommandInterrupted

ENDS = pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
STAYS = "  what was applied before stays\n"
ROW = {"dst": "10.0.0.0/8", "protocol": "static", "nexthops": [{"via": "10.0.0.1"}]}


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    """A handler's way of not answering before the test is over."""
    over = threading.Event()
    yield lambda: over.wait(30) and None
    over.set()


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ribcage", *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def waiting_in(pipe: int) -> int:
    """Bytes that were written and not read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@ENDS
@pytest.mark.parametrize("flags", [[], ["-j"]], ids=["text", "json"])
def test_a_long_listing_says_how_many_rows_came_out(
    flags: list[str], number: int, status: int, word: str, router: Any, hang: Any
) -> None:
    """Three rows of the first page, then the signal; -j closes its list around them."""

    def listing(params: dict[str, Any]) -> dict[str, Any]:
        if "cursor" in params:
            hang()
        return {"routes": [ROW] * 3, "cursor": "a"}

    router.answers["route.list"] = listing
    process = start(*flags, "--timeout", "30", "route", "show")
    wait_for(lambda: len(router.asked) == 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == status
    message = f"{word}: 3 routes shown so far"
    if flags:
        document = json.loads(out)
        assert (len(document["routes"]), document["error"]["message"]) == (3, message)
        assert err == ""
    else:
        assert len(out.splitlines()) == 1 + 3
        assert err == f"error[E_INTERRUPTED]: {message}\n{STAYS}"


@ENDS
def test_a_load_says_how_much_had_gone_over(
    number: int, status: int, word: str, router: Any, hang: Any, tmp_path: Path
) -> None:
    """Before the commit nothing is in force; in the commit a part may be. Aborted either way."""
    chunks = iter(range(1000, 9000, 1000))
    router.answers["route.load.begin"] = {"id": "L1"}
    router.answers["route.load.chunk"] = lambda params: {"rows": next(chunks)}
    router.answers["route.load.commit"] = lambda params: hang() or {}
    table = tmp_path / "table"
    table.write_text("".join(f"10.{i >> 8}.{i & 255}.0/24 1\n" for i in range(3000)))
    process = start("route", "load", str(table), "--via", "10.0.2.9")
    wait_for(lambda: "route.load.commit" in router.methods())
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    sent = 1000 * router.methods().count("route.load.chunk")
    assert process.returncode == status
    told = f"{word}: {sent:,} routes sent, some may be in force"
    assert err == f"error[E_INTERRUPTED]: {told}\n{STAYS}"
    assert router.methods()[-1] == "route.load.abort"


@pytest.mark.parametrize(("command", "method"), [("drops", "drops.show"), ("stats", "stats.show")])
def test_a_watch_that_is_cut_short_tells_what_it_saw(
    command: str, method: str, router: Any
) -> None:
    """`--for 60` and Ctrl-C: the counts of the time that went by, exit 130."""
    samples = iter([5, 8])

    def sample(params: Any) -> dict[str, Any]:
        total = next(samples)
        return {"reasons": [{"reason": "no-route", "total": total, "per_worker": [total]}],
                "workers": [{"worker": 0, "rx": total}], "balanced": True}  # fmt: skip

    router.answers[method] = sample
    process = start("-j", command, "--for", "60")
    wait_for(lambda: router.asked)
    time.sleep(0.3)  # the span that is measured
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    document = json.loads(out)
    assert (process.returncode, err, document["interrupted"]) == (130, "", True)
    assert 0 < document["seconds"] < 20
    if command == "drops":
        assert document["reasons"][0]["total"] == 3
    else:
        expected = pytest.approx(3 / document["seconds"], rel=0.05, abs=0.1)
        assert document["rates"]["workers"]["worker0"]["rx"] == expected


def test_a_signal_waits_for_the_piece_that_is_being_written() -> None:
    """Held back inside, raised right behind; without a hold at once."""
    seen = []
    with interrupt.listening():
        with pytest.raises(CommandInterrupted) as caught, interrupt.held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append("whole")
        assert (seen, caught.value.status, caught.value.torn) == (["whole"], 143, False)
        with pytest.raises(CommandInterrupted):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)


def test_a_reader_that_does_not_read_cannot_keep_us(router: Any) -> None:
    """`timeout 5 ribcage route show | sleep 100` ends: a full pipe is given up after a second."""
    row = {**ROW, "nexthops": [{"via": "x" * 1000}]}
    router.answers["route.list"] = {"routes": [row] * 400, "cursor": None}
    process = start("-j", "route", "show")
    wait_for(lambda: router.asked)
    assert process.stdout is not None
    room = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ) - 4096
    pipe = process.stdout.fileno()
    wait_for(lambda: waiting_in(pipe) >= room)  # full: now it waits
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    process.communicate(timeout=20)


def test_a_signal_that_is_to_be_ignored_is_ignored() -> None:
    """`trap '' INT; ribcage ... &`: Ctrl-C in that terminal is not for us."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_are_what_they_were_afterwards() -> None:
    """A program that calls main() keeps its own handlers."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    with interrupt.listening():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    assert before == after

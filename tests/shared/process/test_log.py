"""Log lines: one write a line, never blocking, never forged, repeats held back."""

import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.shared.process.log import LINE_BYTES, REPEATS, LineLog, own_description


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def lines(fd: int) -> list[str]:
    data = b""
    while True:
        try:
            data += os.read(fd, 1 << 16)
        except BlockingIOError:
            return data.decode().splitlines()


def test_a_line_says_time_level_role_event_fields(pipe: tuple[int, int]) -> None:
    """The documented form, text and JSON."""
    log = LineLog("worker 0", fd=pipe[1], wall=lambda: 0.25)
    log("info", "worker.start", index=0, cause="killed by signal 9")
    LineLog("supervisor", form="json", fd=pipe[1])("error", "x", n=1)
    text, js = lines(pipe[0])
    assert text == (
        f"1970-01-01T00:00:00.250Z info worker-0[{os.getpid()}] worker.start "
        'index=0 cause="killed by signal 9"'
    )
    body = json.loads(js)
    assert (body["level"], body["role"], body["event"], body["n"]) == (
        "error",
        "supervisor",
        "x",
        1,
    )


@given(st.text(max_size=2000), st.sampled_from(["text", "json"]))
def test_a_value_never_breaks_its_line(value: str, form: str) -> None:
    """Newlines and quotes of a peer are escaped: exactly one line of bounded length."""
    read_end, write_end = os.pipe()
    try:
        LineLog("x", form=form, fd=write_end)("info", "e", value=value)
        data = os.read(read_end, 1 << 16)
        assert data.count(b"\n") == 1
        assert data.endswith(b"\n")
        assert len(data) <= LINE_BYTES
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_reader_that_stalls_never_stops_the_writer(pipe: tuple[int, int]) -> None:
    """A full pipe drops lines and the next line that fits tells how many."""
    log = LineLog("x", fd=pipe[1])
    for i in range(2000):
        log("info", f"event{i % 100}", pad="y" * 500)
    assert log.lost > 0
    lost = log.lost
    lines(pipe[0])
    log("info", "after")
    assert lines(pipe[0])[0].endswith(f"after lines_lost={lost}")


def test_a_repeated_event_is_held_back_and_counted(pipe: tuple[int, int]) -> None:
    """REPEATS lines of one event a second; the rest is one number in the next line."""
    now = 0.0
    log = LineLog("x", fd=pipe[1], clock=lambda: now)
    for _ in range(REPEATS + 50):
        log("info", "storm")
    log("info", "other")
    assert len(lines(pipe[0])) == REPEATS + 1
    now = 1.5
    log("info", "storm")
    assert lines(pipe[0])[0].endswith("storm repeated=50")


def test_the_level_decides(pipe: tuple[int, int]) -> None:
    """Below the level nothing is written; an unknown level name changes nothing."""
    log = LineLog("x", level="warning", fd=pipe[1])
    log("info", "quiet")
    log.set_level("nonsense")
    assert log.level == "warning"
    log.set_level("debug")
    log("debug", "loud")
    assert [line.split()[3] for line in lines(pipe[0])] == ["loud"]


class AlwaysRoom:
    """What poll() says when somebody fills the pipe a moment later."""

    def poll(self, timeout: int) -> list[int]:
        return [1]


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_line_does_not_wait_for_room_that_was_there_a_moment_ago(kind: str) -> None:
    """Another process fills the pipe between our look and our write; blocking, as it was found."""
    if kind == "pipe":
        read, write = os.pipe()
    else:
        read, write = (end.detach() for end in socket.socketpair())
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    log = LineLog("worker 0", fd=write)
    log._room = AlwaysRoom()  # type: ignore[assignment]
    signal.alarm(10)  # a write that waits would wait for ever
    try:
        for number in range(20):
            log("info", "line", number=number)
    finally:
        signal.alarm(0)
    assert log.lost == 20
    os.close(read), os.close(write)


def test_a_child_has_the_log_file_for_itself(tmp_path: Path) -> None:
    """Its flags and its place are its own: what it sets there changes nobody else's lines. A file
    that was not opened to append stays shared, or lines would be written over each other."""
    for append in (True, False):
        path = tmp_path / f"log{append}"
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0)
        fd = os.open(path, flags, 0o600)
        os.write(fd, b"first\n")
        pid = os.fork()
        if pid == 0:
            os.dup2(fd, 2)
            own_description()
            fcntl.fcntl(2, fcntl.F_SETFL, 0 if append else os.O_APPEND)
            os.lseek(2, 0, os.SEEK_SET)
            os._exit(0)
        os.waitpid(pid, 0)
        assert bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND) is True  # ours, or made so
        os.write(fd, b"second\n")
        assert path.read_text() == "first\nsecond\n"
        os.close(fd)

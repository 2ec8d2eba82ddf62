"""The management server has bounds in time and in numbers, and other clients do not notice."""

import contextlib
import json
import os
import resource
import socket
import time
from pathlib import Path

import pytest

from ribcage.controlplane.management.peer import Role
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from tests.controlplane.management.bench import (
    DEADLINE,
    Bench,
    dial,
    eventually,
    line,
    read_all,
    replies,
)


def test_a_request_not_complete_in_time_ends_the_connection(bench: Bench) -> None:
    """T seconds from its first byte, however busily more bytes come (K-023)."""
    start = time.monotonic()
    with dial(bench.path) as sock:
        sock.sendall(line(1, "echo"))
        assert json.loads(sock.makefile().readline())["id"] == 1
        sock.settimeout(0.02)
        raw = b""
        while not raw:
            sock.sendall(b" ")
            assert time.monotonic() - start < DEADLINE
            with contextlib.suppress(TimeoutError):
                raw = sock.recv(4096)
    assert json.loads(raw)["error"]["data"]["code"] == "E_SLOW"
    assert time.monotonic() - start >= 0.5


def test_an_idle_client_is_let_go_and_a_waiting_one_is_not(path: Path) -> None:
    """idle_timeout without a word ends the session; a method that takes longer does not."""
    with Bench(path, idle_timeout=0.3) as bench, contextlib.ExitStack() as stack:
        with bench.held():  # between connecting and asking we may be put off for longer than 0.3 s
            waiting = stack.enter_context(dial(path))
            waiting.sendall(line(1, "wait"))
        with dial(path) as idle:
            assert read_all(idle) == b""
        with dial(path) as another:  # one more idle time later
            assert read_all(another) == b""
        eventually(lambda: len(bench.server._connections) == 1, "only the waiting one is left")
        bench.gate.set()
        assert json.loads(waiting.makefile().readline())["result"] == "waited"


def test_a_client_that_does_not_read_is_dropped(bench: Bench) -> None:
    """Its replies fill the socket, then a bounded backlog, then time is up; others do not notice
    (C-044)."""
    with dial(bench.path) as deaf, ManagementClient(bench.path, DEADLINE) as client:
        deaf.sendall(b"".join(line(i, "big", bytes=60_000) for i in range(200)))
        worst = 0.0
        while bench.server.counters["gone"] == 0:
            start = time.monotonic()
            listed = client.call("system.clients")["clients"]
            worst = max(worst, time.monotonic() - start)
            assert all(c["backlog"] <= (256 << 10) + 61_000 for c in listed)
        assert worst < 2.0
        reasons = [f["reason"] for _, event, f in bench.logged if event == "management.gone"]
        assert reasons == ["does not read its replies"]


def test_a_reply_beyond_the_backlog_is_refused(path: Path) -> None:
    """A single reply that could never be buffered becomes an error, not a silent end."""
    with Bench(path, backlog=100_000) as bench, ManagementClient(path, DEADLINE) as client:
        with pytest.raises(RibcageError, match="the reply has 2000"):
            client.call("big", {"bytes": 200_000})
        assert client.call("echo") == {}
        assert bench.server.counters["bugs"] == 0


def test_one_client_too_many_is_told_so(path: Path) -> None:
    """limit+1 gets an explicit error; the place is free at once after a disconnect (C-051)."""
    with Bench(path, max_clients=3) as bench:
        held = [dial(path) for _ in range(3)]
        eventually(lambda: bench.server.counters["accepted"] == 3, "three are served")
        with pytest.raises(RibcageError) as caught:
            ManagementClient(path, DEADLINE).call("echo")
        assert caught.value.code == "E_TOO_MANY_CLIENTS"
        assert "too many clients (3" in caught.value.message
        held.pop().close()
        eventually(lambda: bench.server.counters["gone"] == 1, "its place is free")
        with ManagementClient(path, DEADLINE) as client:
            assert client.call("echo") == {}
        for sock in held:
            sock.close()


def test_a_hundred_slow_clients_cannot_keep_the_operator_out(path: Path) -> None:
    """Viewers fill all places but one, which root still gets (K-023)."""
    roles = [Role.VIEWER] * 100
    with Bench(path, roles, max_clients=8, request_timeout=60.0) as bench:
        slow = [dial(path) for _ in range(100)]
        for sock in slow:
            with contextlib.suppress(BrokenPipeError):
                sock.send(b"{")
        eventually(lambda: not roles, "all hundred were met")
        counters = bench.server.counters
        assert (counters["accepted"], counters["turned_away"]) == (7, 93)
        with ManagementClient(path, DEADLINE) as operator:
            assert operator.call("stop") == "stopping"
        for sock in slow:
            sock.close()


def test_no_descriptor_left_is_survived(path: Path) -> None:
    """accept() fails with EMFILE: the client hears it, nothing spins, and it passes (C-009)."""
    with Bench(path) as bench:
        victim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        victim.settimeout(DEADLINE)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 8
        fillers: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            victim.connect(str(path))
            (reply,) = replies(read_all(victim))
            assert reply["error"]["data"]["code"] == "E_DESCRIPTORS"
            assert bench.server.counters["accept_errors"] < 100
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in fillers:
                os.close(fd)
        victim.close()
        with ManagementClient(path, DEADLINE) as client:
            assert client.call("echo") == {}


def test_descriptors_beyond_a_thousand_work(path: Path) -> None:
    """1,500 open first: server and client use no select() (C-034)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    fillers = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(1500)]
    try:
        with Bench(path) as bench, ManagementClient(path, DEADLINE) as client:
            assert client.call("echo", {"n": 1}) == {"n": 1}
            assert client._sock is not None and client._sock.fileno() > 1500
            assert bench.server.counters["requests"] == 1
    finally:
        for fd in fillers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_burst_of_two_hundred_clients_is_served(path: Path) -> None:
    """More at once than the backlog holds: everybody gets an answer (N-014)."""
    with Bench(path, max_clients=300):
        clients = [ManagementClient(path, DEADLINE) for _ in range(200)]
        assert [c.call("echo", {"i": i})["i"] for i, c in enumerate(clients)] == list(range(200))
        for client in clients:
            client.close()

"""The management server over real sockets: replies, bounds, roles, and bad company."""

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from ribcage.controlplane.management.listener import holder, make_listener, remove_listener
from ribcage.controlplane.management.peer import Role
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from tests.controlplane.management_bench import DEADLINE, Bench, dial, eventually, read_all


def line(id: int, method: str, **params: Any) -> bytes:
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(body).encode() + b"\n"


def replies(raw: bytes) -> list[dict[str, Any]]:
    assert raw == b"" or raw.endswith(b"\n")
    return [json.loads(one) for one in raw.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
def bench(path: Path) -> Iterator[Bench]:
    with Bench(path, request_timeout=0.5) as made:
        yield made


# -- replies


def test_a_call_gets_its_result_or_the_routers_error(bench: Bench) -> None:
    """The client sees what the method returned, or its code, hint and exit status."""
    with ManagementClient(bench.path, DEADLINE) as client:
        assert client.call("echo", {"a": [1, None, "é"]}) == {"a": [1, None, "é"]}
        with pytest.raises(RibcageError) as caught:
            client.call("fail")
        error = caught.value
        assert (error.code, error.message, error.hint, error.exit_code) == (
            *("E_NO_ROUTE", "no route", "add one"),
            1,
        )
        with pytest.raises(RibcageError, match="no method 'nonesuch'"):
            client.call("nonesuch")


@pytest.mark.parametrize("method", ["bug", "unjson"])
def test_a_bug_is_one_failed_request(bench: Bench, method: str) -> None:
    """The reply has a number, the log has it with the trace, and the server goes on."""
    with ManagementClient(bench.path, DEADLINE) as client:
        with pytest.raises(RibcageError) as caught:
            client.call(method)
        assert (caught.value.code, caught.value.exit_code) == ("E_INTERNAL", 7)
        (fields,) = [f for _, event, f in bench.logged if event == "management.bug"]
        assert f"id={fields['id']}" in str(caught.value.hint)
        assert "Traceback" in str(fields["trace"])
        assert client.call("echo") == {}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 3000), max_size=10),
)
def test_replies_do_not_depend_on_the_cuts(
    bench: Bench, lengths: list[int], cuts: list[int]
) -> None:
    """One byte at a time, three requests in one piece, or anything between: the same replies, in
    order (C-018)."""
    stream = b"".join(line(i, "big", bytes=n) for i, n in enumerate(lengths))
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    with dial(bench.path) as sock:
        for start, end in pairwise(places):
            sock.sendall(stream[start:end])
        sock.shutdown(socket.SHUT_WR)
        found = replies(read_all(sock))
    assert [(r["id"], len(r["result"])) for r in found] == list(enumerate(lengths))


def test_one_byte_at_a_time_is_enough(bench: Bench) -> None:
    """The slowest cut of all."""
    with dial(bench.path) as sock:
        for byte in line(1, "echo", a=1):
            sock.sendall(bytes([byte]))
        assert json.loads(sock.makefile().readline())["result"] == {"a": 1}


def test_a_reply_larger_than_the_socket_buffer_arrives_whole(bench: Bench) -> None:
    """Two megabytes to a client that half-closed after its request (C-021)."""
    with dial(bench.path) as sock:
        sock.sendall(line(1, "big", bytes=2 << 20))
        sock.shutdown(socket.SHUT_WR)
        (reply,) = replies(read_all(sock))
    assert len(reply["result"]) == 2 << 20


def test_a_long_method_delays_nobody_else(bench: Bench) -> None:
    """One client waits, another is answered; the first gets its two replies in order."""
    with dial(bench.path) as slow, ManagementClient(bench.path, DEADLINE) as client:
        slow.sendall(line(1, "wait") + line(2, "echo"))
        for i in range(20):
            assert client.call("echo", {"i": i}) == {"i": i}
        assert bench.done == []
        bench.gate.set()
        file = slow.makefile()
        assert [json.loads(file.readline())["id"] for _ in range(2)] == [1, 2]


# -- garbage


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\n", b"GET / HTTP/1.1\r\n", b"{]\n"])
def test_garbage_gets_an_error_and_the_door(bench: Bench, rubbish: bytes) -> None:
    """What is no JSON: one error reply, id null, and the connection ends; the request behind it
    is not answered."""
    with dial(bench.path) as sock:
        sock.sendall(line(1, "echo") + rubbish + line(2, "echo"))
        first, second = replies(read_all(sock))
    assert first["id"] == 1
    assert (second["id"], second["error"]["code"]) == (None, -32700)


def test_a_bad_request_leaves_the_connection_open(bench: Bench) -> None:
    """JSON, but no request: an error reply, and the next request works."""
    with dial(bench.path) as sock:
        sock.sendall(b'{"id": 1}\n[]\n\n' + line(2, "echo"))
        file = sock.makefile()
        found = [json.loads(file.readline()) for _ in range(3)]
    assert [r["id"] for r in found] == [1, None, 2]
    assert [r.get("error", {}).get("code") for r in found] == [-32600, -32600, None]


def test_an_endless_line_ends_at_the_cap(path: Path) -> None:
    """No more than the cap is kept: an error reply and the end (L-007)."""
    with Bench(path, max_line=1000) as bench, dial(bench.path) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                sock.sendall(b"x" * 1000)
        (reply,) = replies(read_all(sock))
        assert reply["error"]["data"]["code"] == "E_TOO_LONG"
        assert "1000 bytes" in reply["error"]["message"]


def test_a_request_cut_by_the_end_of_input_is_not_carried_out(bench: Bench) -> None:
    """Half a request and a half-close: an error, not a guess."""
    with dial(bench.path) as sock:
        sock.sendall(line(1, "echo") + line(2, "echo").rstrip(b"\n"))
        sock.shutdown(socket.SHUT_WR)
        found = replies(read_all(sock))
    assert [r["id"] for r in found] == [1, None]
    assert found[1]["error"]["data"]["code"] == "E_CUT"


# -- time


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


# -- numbers


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


# -- who may


@pytest.mark.parametrize("role", list(Role))
def test_every_role_gets_what_it_may_and_no_more(path: Path, role: Role) -> None:
    """Reading for all, changing for operators, stopping for admins; a refusal is logged with
    pid and uid (I-030, C-063)."""
    needs = {"echo": Role.VIEWER, "change": Role.OPERATOR, "stop": Role.ADMIN}
    with Bench(path, [role]) as bench, ManagementClient(path, DEADLINE) as client:
        for method, least in needs.items():
            if role >= least:
                client.call(method)
                continue
            with pytest.raises(RibcageError) as caught:
                client.call(method)
            assert (caught.value.code, caught.value.exit_code) == ("E_NOT_ALLOWED", 5)
            logged = [f for _, e, f in bench.logged if e == "management.refused"][-1]
            assert (logged["method"], logged["pid"], logged["uid"]) == (method, 1, 1000)


def test_the_kernel_says_who_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """system.clients shows the peer's own pid, uid and gid."""
    from ribcage.controlplane.management import peer

    bench = Bench(path)
    monkeypatch.setattr(bench, "_peer", peer.peer_of)
    with bench, ManagementClient(path, DEADLINE) as client:
        client.call("echo")
        (me,) = client.call("system.clients")["clients"]
        assert (me["pid"], me["uid"], me["gid"]) == (os.getpid(), os.getuid(), os.getgid())
        assert (me["role"], me["requests"], me["you"]) == ("admin", 2, True)
        assert me["bytes_in"] > 100 and me["bytes_out"] > 30


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another uid")
def test_another_user_may_only_read_and_only_if_let_in(path: Path) -> None:
    """0600 keeps strangers out with E_PRIVILEGE; a wider mode lets them look, not touch."""
    from ribcage.controlplane.management import peer

    def ask_as_stranger(method: str) -> int:
        child = os.fork()
        if child == 0:
            status = 99
            with contextlib.suppress(BaseException):
                os.setgid(65534)
                os.setuid(65534)
                os.chdir(path.parent)  # the folder itself was opened below
                try:
                    ManagementClient(path.name, DEADLINE).call(method)
                    status = 0
                except RibcageError as error:
                    status = error.exit_code
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    folders = [path.parent, *path.parent.parents]
    modes = {f: stat.S_IMODE(f.stat().st_mode) for f in folders if str(f).startswith("/tmp/")}
    for folder, mode in modes.items():
        folder.chmod(mode | 0o011)
    try:
        bench = Bench(path, mode=0o600)
        bench._peer = peer.peer_of  # type: ignore[method-assign]
        with bench:
            assert ask_as_stranger("echo") == 5
            path.chmod(0o666)
            assert ask_as_stranger("echo") == 0
            assert ask_as_stranger("change") == 5
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)


# -- clients that die


def test_a_client_killed_in_mid_request_leaves_nothing(bench: Bench) -> None:
    """SIGKILL with half a request sent and a method running: the record goes at once, its
    clean-up runs, the method ends in its own time, others go on (I-036)."""
    child = os.fork()
    if child == 0:
        sock = dial(bench.path)
        sock.sendall(line(1, "wait") + b'{"jsonrpc"')
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    eventually(lambda: bench.server.counters["requests"] == 1, "the method runs")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    eventually(lambda: not bench.server._connections, "the record is gone")
    assert bench.closed == [1]
    with ManagementClient(bench.path, DEADLINE) as client:
        assert client.call("echo") == {}
    assert bench.done == []
    bench.gate.set()
    eventually(lambda: bench.done == ["wait"], "the method was not interrupted")
    eventually(lambda: not bench.server._dispatcher.left, "nothing is left of it")


def test_stop_answers_what_is_in_progress(path: Path) -> None:
    """An orderly end: the running request's reply, then end of file, and no file (C-045)."""
    with Bench(path) as bench:
        sock = dial(path)
        sock.sendall(line(1, "wait"))
        eventually(lambda: bench.server.counters["requests"] == 1, "the method runs")
    assert [r["result"] for r in replies(read_all(sock))] == ["waited"]
    assert not path.exists()
    sock.close()


# -- the socket in the file system


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(path: Path) -> None:
    """Left by a dead daemon: replaced. Served by a live one: "already running, pid N" (I-028)."""
    child = os.fork()
    if child == 0:
        make_listener(path)
        os._exit(0)
    os.waitpid(child, 0)
    assert path.is_socket() and holder(path) is None
    with Bench(path):
        with pytest.raises(RibcageError) as caught:
            make_listener(path)
        assert (caught.value.code, caught.value.exit_code) == ("E_RUNNING", 8)
        assert f"already running, pid {os.getpid()}" in caught.value.message
        with ManagementClient(path, DEADLINE) as client:
            assert client.call("echo") == {}
    assert not path.exists()


def test_the_socket_is_closed_to_others_until_its_mode_is_set(path: Path) -> None:
    """Made under umask 077 whatever the caller's, then the plan's mode; umask as before (I-032)."""
    before = os.umask(0)
    try:
        listener = make_listener(path, 0o640)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.umask(0) == 0
        assert not os.get_inheritable(listener.fileno())
        remove_listener(path, listener)
    finally:
        os.umask(before)


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    """A file in the way, a group that does not exist, a path too long: named, nothing removed."""
    path.write_text("precious")
    with pytest.raises(RibcageError, match="is not a socket"):
        make_listener(path)
    assert path.read_text() == "precious"
    path.unlink()
    with pytest.raises(RibcageError, match="does not exist here"):
        make_listener(path, 0o660, "no-such-group-here")
    assert not path.exists()
    with pytest.raises(RibcageError, match="at most 107 work"):
        make_listener(path.parent / ("x" * 120))


def test_removing_spares_a_successors_socket(path: Path) -> None:
    """The name was taken over meanwhile: the successor keeps it."""
    first = make_listener(path)
    path.unlink()
    second = make_listener(path)
    remove_listener(path, first)
    assert holder(path) == os.getpid()
    remove_listener(path, second)
    assert not path.exists()

"""The management server over real sockets: replies, and what garbage gets."""

import contextlib
import json
import socket
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from tests.controlplane.management.bench import (
    DEADLINE,
    Bench,
    dial,
    line,
    read_all,
    replies,
)


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

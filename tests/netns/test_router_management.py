"""Clients that misbehave on the management socket while packets cross: the packets do not notice,
and neither does the next client that behaves."""

import json
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from ribcage.shared.errors import RibcageError
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "process.list", "params": {}}).encode()
SECONDS = 0.8  # of each misbehaviour
LIMITS = "[management]\nmax_clients = 8\nrequest_timeout = '1s'\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("management"), more=LIMITS) as made:
        yield made


def connect(built: Rig) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(built.router.names.control_socket))  # blocking: waits for a full backlog
    sock.settimeout(5.0)
    return sock


def flood(built: Rig) -> None:
    """Requests as fast as they are answered, on several connections, never waiting for a reply
    before the next."""
    socks = [connect(built) for _ in range(4)]
    end = time.monotonic() + SECONDS
    for sock in socks:
        sock.setblocking(False)
    while time.monotonic() < end:
        readable, writable, _ = select.select(socks, socks, [], 0.1)
        for sock in readable:
            assert sock.recv(1 << 16)
        for sock in writable:
            sock.send(LIST + b"\n")
    for sock in socks:
        sock.close()


def never_read(built: Rig) -> None:
    """Asks for much and reads nothing, until the router takes no more."""
    with connect(built) as sock:
        sock.settimeout(0.3)
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                sock.sendall((LIST + b"\n") * 100)
        except (TimeoutError, ConnectionError):
            pass  # as it should be: our requests are left unread, or we were let go
        built.router.call("system.ping")


def garbage(built: Rig) -> None:
    """Noise, JSON that is no request, halves of requests, endless lines."""
    rng = random.Random(3)
    words = [
        b"\x00\xff\xfe\n", b"{}\n", b"[]\n", b"[[[[" * 2000 + b"\n", b'{"jsonrpc": "2.0"',
        b'{"jsonrpc": "2.0", "id": 1, "method": 7, "params": []}\n',
        b'{"jsonrpc": "2.0", "id": {}, "method": "route.add", "params": {"dst": 1e999}}\n',
        b'{"jsonrpc":"2.0","id":1,"method":"route.add","params":{"nexthops":{"a":[]}}}\n',
        b"A" * 70_000, b'"' * 3000 + b"\n",
    ]  # fmt: skip
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with connect(built) as sock:
            try:
                for _ in range(5):
                    sock.sendall(rng.choice([*words, rng.randbytes(300) + b"\n"]))
            except OSError:
                pass  # the router had enough of us: its right


def too_many(built: Rig) -> None:
    """More connections than max_clients, each silent: the ninth is told so."""
    socks = [connect(built) for _ in range(8)]
    try:
        with connect(built) as late:
            reply = json.loads(late.makefile("rb").readline())
        assert "error" in reply
        assert "8" in reply["error"]["message"], reply
    finally:
        for sock in socks:
            sock.close()
    served_again(built)


def served_again(built: Rig) -> None:
    """Waits until a client is let in: those who left may still be in the queue before it."""

    def answers() -> bool:
        try:
            built.router.call("system.ping")
        except RibcageError:
            return False
        return True

    wait_for("room again", answers)


@pytest.mark.parametrize("misbehave", [flood, never_read, garbage, too_many])
def test_a_bad_client_costs_no_packet(built: Rig, misbehave: Callable[[Rig], None]) -> None:
    """0 lost of a stream on both workers; the same control process; the next client is served."""
    control = built.router.pid("control")
    before = built.received()
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        built.both_carry(before)
        misbehave(built)
        built.router.call("route.add", dst="203.0.113.0/24", nexthops=[VIA_H2], wait="visible")
        built.router.call("route.del", dst="203.0.113.0/24")
    built.nothing_lost(stream.result)
    assert stream.result.duplicates == 0
    assert built.router.pid("control") == control
    assert not built.log_lines("loop.unhandled")
    built.verified()
    built.balanced()


def test_a_request_that_never_ends_is_let_go(built: Rig) -> None:
    """Half a line, then silence: closed after request_timeout, and others are served meanwhile."""
    with connect(built) as sock:
        sock.sendall(LIST[:20])
        started = time.monotonic()
        built.router.call("system.ping")
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        assert time.monotonic() - started < 4.0
    assert not data or b"error" in data


def test_a_descriptor_flood_is_survived(built: Rig) -> None:
    """Connections opened and dropped by the hundred leave no descriptor behind in control."""
    control = built.router.pid("control")

    def descriptors() -> int:
        return sum(1 for _ in Path(f"/proc/{control}/fd").iterdir())

    built.router.call("system.ping")
    before = descriptors()
    for _ in range(300):
        connect(built).close()
    served_again(built)
    wait_for("descriptors are given back", lambda: descriptors() <= before + 2)

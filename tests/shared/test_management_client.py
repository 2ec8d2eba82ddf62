"""The blocking management client against servers that are absent, silent or strange."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "c.sock"))
        made.listen(1)
        yield made


def failure(call: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(RibcageError) as caught:
        call()
    return caught.value.code, caught.value.exit_code


def test_nobody_there_is_no_daemon(tmp_path: Path) -> None:
    """No socket, a stale socket, a plain file: E_NO_DAEMON, exit 4, the path in the message."""
    path = tmp_path / "c.sock"
    assert failure(lambda: ManagementClient(path).call("m")) == ("E_NO_DAEMON", 4)
    path.touch()
    assert failure(lambda: ManagementClient(path).call("m")) == ("E_NO_DAEMON", 4)
    path.unlink()
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    with pytest.raises(RibcageError, match=str(path)):
        ManagementClient(path).call("m")


def test_silence_is_a_timeout(listener: socket.socket) -> None:
    """A stopped router: the kernel accepts for it, nobody answers; exit 6 in time (C-037)."""
    path = listener.getsockname()
    start = time.monotonic()
    assert failure(lambda: ManagementClient(path, 0.2).call("m")) == ("E_TIMEOUT", 6)
    # The backlog is full now and then: connecting is bounded as well.
    waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
    for sock in waiting:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            break
    assert failure(lambda: ManagementClient(path, 0.2).call("m")) == ("E_TIMEOUT", 6)
    assert time.monotonic() - start < 10
    for sock in waiting:
        sock.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", ("E_NO_DAEMON", 4)),
        (b'{"jsonrpc":"2.0","id":1,"res', ("E_NO_DAEMON", 4)),
        (b"SSH-2.0-OpenSSH\n", ("E_PROTOCOL", 7)),
        (b"[]\n", ("E_PROTOCOL", 7)),
        (b'{"jsonrpc":"2.0","id":9,"result":1}\n', ("E_PROTOCOL", 7)),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}\n', ("E_PROTOCOL", 7)),
        (
            b'{"id":1,"error":{"message":"x","data":{"code":"E_X","hint":null,"exit":3}}}\n',
            ("E_X", 3),
        ),
        (
            b'{"id":null,"error":{"message":"x","data":{"code":"E_Y","exit":"a"}}}\n',
            ("E_Y", 7),
        ),
    ],
)
def test_strange_answers_are_named(
    listener: socket.socket, reply: bytes, expected: tuple[str, int]
) -> None:
    """A server that closes, lies or is another program: an error with an exit status."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    assert failure(lambda: ManagementClient(listener.getsockname(), 10).call("m")) == expected
    thread.join(10)


def test_the_client_is_light() -> None:
    """The command line imports it before anything else: no asyncio, no heavy library."""
    code = "import sys, ribcage.shared.management as m; print('asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"

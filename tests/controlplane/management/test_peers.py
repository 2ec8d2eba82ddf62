"""Who may do what on the management socket, clients that die, and the socket in the file system."""

import contextlib
import os
import signal
import stat
from pathlib import Path

import pytest

from ribcage.controlplane.management.listener import holder, make_listener, remove_listener
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
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

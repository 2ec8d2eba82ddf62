"""A router whose control is being brought back: what commands say, and that they wait for it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.shared.errors import Exit
from ribcage.shared.process.names import Names
from tests.cli.conftest import FakeRouter

Command = Callable[..., Any]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """A supervisor lives: it holds its lock. Nobody listens on control's socket."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    for name in ("RIBCAGE_INSTANCE", "RIBCAGE_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    names = Names.resolve("r1")
    names.make_run_dir()
    lock = SupervisorLock.take(names)
    yield names
    lock.release()


def test_nobody_is_told_to_start_a_router_that_runs(names: Names, ribcage: Command) -> None:
    """Control is dead and a supervisor lives: that is what is said, with exit 6."""
    ran = ribcage("-j", "--timeout", "0.3", "route", "show")
    error = ran.document["error"]
    assert (ran.status, error["code"]) == (Exit.TIMEOUT, "E_RESTARTING")
    assert "control is being restarted by supervisor" in error["message"]
    assert "within 0.3 s" in error["message"]
    assert "ribcage run" not in ran.out + ran.err


def test_a_command_waits_for_control_to_come_back(names: Names, ribcage: Command) -> None:
    """It listens again within the command's timeout: the command is answered, once."""
    made: list[FakeRouter] = []
    back = threading.Timer(0.2, lambda: made.append(FakeRouter(names.control_socket)))
    back.start()
    try:
        ran = ribcage("-j", "--timeout", "20", "route", "show")
    finally:
        back.join()
        asked = [method for fake in made for method, _ in fake.asked]
        for fake in made:
            fake.close()
    assert ran.status == 0, ran.err
    assert asked.count("route.list") == 1


def test_a_request_that_was_sent_is_not_sent_again(names: Names, ribcage: Command) -> None:
    """The connection ended after the request: it may have been carried out, so it is not
    repeated, and the message says that nobody knows."""
    fake = FakeRouter(names.control_socket)
    fake.raw = b""
    try:
        ran = ribcage("-j", "route", "add", "192.0.2.0/24", "via", "10.0.2.2")
    finally:
        fake.close()
    error = ran.document["error"]
    assert (ran.status, error["code"]) == (Exit.TIMEOUT, "E_RESTARTING")
    assert "whether this request was carried out is not known" in error["message"]
    assert len([method for method, _ in fake.asked if method == "route.add"]) == 1


def test_without_a_supervisor_there_is_no_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ribcage: Command
) -> None:
    """No lock is held: exit 4 at once, as ever."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    ran = ribcage("-j", "route", "show")
    assert (ran.status, ran.document["error"]["code"]) == (Exit.NO_DAEMON, "E_NO_DAEMON")

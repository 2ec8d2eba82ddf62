"""The daemon's log file: opened anew for all processes, bounded where it is our own."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.resources import logfile
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log as lines


@pytest.fixture
def daemon(make_router: Callable[..., Any]) -> Iterator[Any]:
    """A fake router that was started with --daemon."""
    router = make_router(2, FAKE_LOG="")
    router.env["FAKE_LOG"] = str(router.log_file)
    assert router.launch("--daemon").wait(20) == 0
    pid = router.state()["supervisor"]
    yield router
    os.kill(pid, signal.SIGTERM)
    router.until("daemon gone", lambda: not router.names.run_dir.exists())
    assert router.leftovers() == []


def outputs(router: Any) -> set[str]:
    """Where standard error of each process goes."""
    state = router.state()
    pids = [state["supervisor"], *(child["pid"] for child in state["children"])]
    return {str(Path(f"/proc/{pid}/fd/2").readlink()) for pid in pids}


def test_a_hangup_opens_the_log_file_anew_for_the_supervisor(daemon: Any) -> None:
    """logrotate moves it away and sends SIGHUP: lines go to a new file of the old name."""
    old = daemon.log_file.with_name("log.old")
    daemon.log_file.rename(old)
    os.kill(daemon.state()["supervisor"], signal.SIGHUP)
    daemon.until("a new file", daemon.log_file.exists)
    daemon.logged("log.reopened")
    assert "log.reopened" not in old.read_text()
    assert daemon.log_file.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(daemon: Any) -> None:
    """The folder in the way is named in the old file; nothing is lost."""
    old = daemon.log_file.with_name("log.old")
    daemon.log_file.rename(old)
    daemon.log_file.mkdir()
    os.kill(daemon.state()["supervisor"], signal.SIGHUP)
    daemon.until("said", lambda: "log.reopen " in old.read_text())
    assert outputs(daemon) == {str(old)}
    daemon.log_file.rmdir()
    daemon.log_file.touch()


def test_a_file_of_our_own_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At LARGEST it becomes .1, and what is written then is in a new file; stop removes both."""
    monkeypatch.setattr(logfile, "LARGEST", 100)
    file = LogFile(tmp_path / "ribcage.log", own=True)
    kept = os.dup(2)
    try:
        file.reopen()
        os.write(2, b"a" * 99)
        assert not file.rotate_if_large()
        os.write(2, b"a")
        assert file.rotate_if_large()
        os.write(2, b"new")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert file.before.read_bytes() == b"a" * 100
    assert file.path.read_bytes() == b"new"
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_user_named_is_left_to_logrotate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither cut nor removed."""
    monkeypatch.setattr(logfile, "LARGEST", 0)
    file = LogFile(tmp_path / "mine.log", own=False)
    os.close(file.open())
    assert not file.rotate_if_large()
    file.remove()
    assert file.path.exists()


def test_a_log_file_that_cannot_be_is_named(tmp_path: Path) -> None:
    """With the path: E_LOG_FILE for one that the user named, E_RUN_DIR for our own; a link in the
    run directory is not followed."""
    (tmp_path / "link").symlink_to("/dev/null")
    named = (tmp_path / "no" / "log", False, ("E_LOG_FILE", 2))
    for path, own, wanted in (named, (tmp_path / "link", True, ("E_RUN_DIR", 5))):
        with pytest.raises(RibcageError, match=str(path)) as caught:
            LogFile(path, own).open()
        assert (caught.value.code, caught.value.exit_code) == wanted


@pytest.mark.parametrize("named", ["elsewhere.log", "the first one's"])
def test_stop_removes_the_default_log_of_an_earlier_daemon(
    named: str, make_router: Any, tmp_path: Path
) -> None:
    """A second daemon was given --log-file: the first one's own log goes with the run directory,
    unless it is the very file that the user named now."""
    router = make_router()
    router.names.make_run_dir()
    router.names.log_file.write_text("of the first\n")
    path = router.tmp / named if named.endswith(".log") else router.names.log_file
    router.env |= {"FAKE_LOG": str(path)}
    with path.open("a") as log:
        log.write("of the second\n")
    process = router.launch("--in-foreground")
    router.until("state", router.names.state_file.exists)
    router.until("control", router.names.control_socket.exists)
    router.note_pids()
    process.terminate()
    assert process.wait(20) == 0
    assert path.exists()
    assert router.names.run_dir.exists() == (path == router.names.log_file)


def test_a_child_writes_where_it_is_told(tmp_path: Path) -> None:
    """write_to(): the next line is in the new file; no descriptor leaves it as it was."""
    kept = os.dup(2)
    try:
        with (tmp_path / "log").open("wb") as file:
            lines.write_to(file.fileno())
        lines.setup("worker 0")
        lines.log("info", "first")
        lines.write_to(-1)
        lines.log("info", "second")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        lines.setup("ribcage")
    text = (tmp_path / "log").read_text()
    assert "first" in text
    assert "second" in text


def test_a_log_that_somebody_removed_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that no name leads to are memory all the same: a new file is made."""
    monkeypatch.setattr(logfile, "LARGEST", 10)
    file = LogFile(tmp_path / "ribcage.log", own=True)
    kept = os.dup(2)
    try:
        file.reopen()
        os.write(2, b"a" * 10)
        file.path.unlink()
        assert file.rotate_if_large()
        os.write(2, b"new")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert file.path.read_bytes() == b"new"
    assert not file.before.exists()

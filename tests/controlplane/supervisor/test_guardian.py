"""The guardian: whoever of the router's processes is killed or stopped, it heals by itself."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.guardian import ward
from ribcage.controlplane.supervisor.statefile import State

ADOPTED = 2.0  # seconds, by promise; a busy machine is given more below


def alive(pid: int) -> bool:
    return processes.start_time(pid) != 0


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def keeps(pid: int, name: str) -> bool:
    """Whether this process has a memfd of this name."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/fd").iterdir()
        return any(str(fd.readlink()).startswith(f"/memfd:{name}") for fd in found)
    return False


class Daemon:
    """A fake router that a guardian looks after; ended whatever state it is in."""

    def __init__(self, router: Any) -> None:
        self.router = router
        self.names = router.names
        self.launcher = router.launch("--daemon")
        self.seen: set[int] = set()

    def started(self) -> "Daemon":
        assert self.launcher.wait(20) == 0, self.router.log_text()
        return self

    @property
    def state(self) -> State:
        state = State.read(self.names.state_file, self.names.instance)
        assert state is not None
        self.seen |= {state.supervisor, *(child.pid for child in state.children)}
        self.seen |= set(state.guardian[:1])
        return state

    @property
    def supervisor(self) -> int:
        return self.state.supervisor

    @property
    def guardian(self) -> int:
        return self.state.guardian[0]

    def workers(self) -> list[int]:
        return [c.pid for c in self.state.children if c.role == "worker"]

    def wait(self, what: str, check: Callable[[], Any], seconds: float = 15.0) -> Any:
        def look() -> Any:
            with contextlib.suppress(AssertionError, IndexError, OSError):
                return check()
            return None

        return self.router.until(what, look, seconds)

    def next_supervisor(self, old: int, seconds: float = 15.0) -> int:
        """Another one that has adopted, and is ready."""
        count = self.router.log_text().count(" ready workers=")

        def look() -> int:
            new = self.supervisor
            ready = self.router.log_text().count(" ready workers=") > count
            return new if new != old and ready and alive(new) else 0

        return int(self.wait("another supervisor", look, seconds))

    def next_guardian(self, old: int, seconds: float = 15.0) -> int:
        def look() -> int:
            return self.guardian if self.guardian not in (0, old) and alive(self.guardian) else 0

        return int(self.wait("another guardian", look, seconds))

    def stop(self) -> None:
        """Orderly: guardian and supervisor end, nothing is left."""
        supervisor, guardian = self.supervisor, self.guardian
        send(supervisor, signal.SIGTERM)
        self.wait("both ended", lambda: not alive(supervisor) and not alive(guardian))
        assert self.router.leftovers() == []

    def destroy(self) -> None:
        """The guardian first, or it would start another one."""
        for _ in range(100):
            with contextlib.suppress(AssertionError):
                guardian = self.state.guardian
                if guardian:
                    send(guardian[0], signal.SIGKILL)
            for pid in [pid for pid in self.seen if alive(pid)]:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"ribcage" in line or b"fake_router" in line or b"guardian" in line:
                    send(pid, signal.SIGKILL)
            if not any(map(alive, self.seen)):
                return
            time.sleep(0.02)


@pytest.fixture
def make_daemon(make_router: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(**env: str) -> Daemon:
        router = make_router(2, **env)
        router.env |= {"FAKE_LOG": str(router.log_file)}
        made.append(Daemon(router))
        return made[-1]

    yield make
    for daemon in made:
        daemon.destroy()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    return make_daemon().started()


def test_a_killed_supervisor_is_replaced_and_adopts_by_itself(daemon: Daemon) -> None:
    """SIGKILL, three times in a row: the children stay the same, and all is ready in 2 s."""
    workers = daemon.workers()
    for _ in range(3):
        old, start = daemon.supervisor, time.monotonic()
        send(old, signal.SIGKILL)
        daemon.next_supervisor(old)
        took = time.monotonic() - start
        print(f"adopted after {took:.2f} s")
        assert took < 2 * ADOPTED
    assert daemon.workers() == workers
    assert "child.silent" not in daemon.router.log_text()
    daemon.stop()


def test_a_stopped_supervisor_is_killed_and_replaced(daemon: Daemon) -> None:
    """SIGSTOP: five seconds of silence are a death."""
    old, workers = daemon.supervisor, daemon.workers()
    send(old, signal.SIGSTOP)
    daemon.next_supervisor(old, 20)
    assert "supervisor.hung" in daemon.router.log_text()
    assert not alive(old)
    assert daemon.workers() == workers
    daemon.stop()


def test_a_killed_guardian_is_replaced_and_does_its_work(daemon: Daemon) -> None:
    """The supervisor makes another one, which replaces a killed supervisor, and ends with it."""
    old, supervisor = daemon.guardian, daemon.supervisor
    send(old, signal.SIGKILL)
    second = daemon.next_guardian(old)
    assert daemon.supervisor == supervisor
    send(supervisor, signal.SIGKILL)
    third = daemon.next_supervisor(supervisor)
    assert daemon.guardian == second
    send(second, signal.SIGKILL)
    daemon.next_guardian(second)
    assert daemon.supervisor == third
    daemon.stop()


def test_a_stopped_guardian_is_killed_and_replaced(daemon: Daemon) -> None:
    """SIGSTOP: who does not read the supervisor's word does not watch it either."""
    old = daemon.guardian
    send(old, signal.SIGSTOP)
    daemon.next_guardian(old, 20)
    assert not alive(old)
    daemon.stop()


def test_both_killed_leaves_workers_for_the_next_run_to_adopt(daemon: Daemon) -> None:
    """Nobody is left to restart anybody; a start by hand takes the living over."""
    workers = daemon.workers()
    guardian, supervisor = daemon.guardian, daemon.supervisor
    os.kill(guardian, signal.SIGSTOP)  # or it would be faster than this test
    send(supervisor, signal.SIGKILL)
    send(guardian, signal.SIGKILL)
    daemon.wait("both dead", lambda: not alive(guardian) and not alive(supervisor))
    assert all(map(alive, workers))
    daemon.router.start()
    assert daemon.workers() == workers
    assert daemon.state.guardian == []
    assert daemon.router.stop() == 0
    assert daemon.router.leftovers() == []


def rings(pid: int) -> set[int]:
    """Inodes of the rings (memfds of the fake) that a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if "memfd:ring-" in str(path.readlink()):
                found.add(path.stat().st_ino)
    return found


def test_a_worker_that_dies_while_no_supervisor_lives_loses_no_ring(daemon: Daemon) -> None:
    """Supervisor and worker are killed at once: the successor's worker has the very same rings."""
    daemon.router.open_port(2)
    daemon.router.open_port(3)
    daemon.router.disconnect()
    worker, other = daemon.workers()
    daemon.wait("the worker has its rings", lambda: len(rings(worker)) == 2)
    before = rings(worker)
    supervisor = daemon.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    send(supervisor, signal.SIGKILL)
    daemon.next_supervisor(supervisor)
    new = next(pid for pid in daemon.workers() if pid != other)
    daemon.wait("the successor has them", lambda: rings(new) == before)
    assert "store.taken" in daemon.router.log_text()
    daemon.stop()


def test_both_killed_and_started_as_a_daemon_keeps_the_rings_of_the_living(daemon: Daemon) -> None:
    """No descriptor store is left: what the workers hand back is known by the state file, also
    after the new supervisor has noted its guardian in it."""
    daemon.router.open_port(2)
    daemon.router.disconnect()
    first, second = daemon.workers()
    daemon.wait("rings", lambda: len(rings(first)) == 1 == len(rings(second)))
    before = rings(first) | rings(second)
    guardian, supervisor = daemon.guardian, daemon.supervisor
    os.kill(guardian, signal.SIGSTOP)  # or it would be faster than this test
    send(supervisor, signal.SIGKILL)
    send(guardian, signal.SIGKILL)
    daemon.wait("both dead", lambda: not alive(guardian) and not alive(supervisor))
    assert daemon.router.launch("--daemon").wait(20) == 0
    daemon.wait("another", lambda: daemon.supervisor != supervisor and daemon.state.guardian)
    assert "guest.ring" not in daemon.router.log_text()
    assert daemon.workers() == [first, second]
    assert rings(first) | rings(second) == before
    daemon.stop()


def test_everybody_but_the_guardian_killed_comes_back_with_its_objects(daemon: Daemon) -> None:
    """Control, workers and supervisor at once: the segments are the same, so no route is lost."""
    before = daemon.state
    fib = (Path("/dev/shm") / daemon.names.fib[1:]).stat().st_ino
    os.kill(before.supervisor, signal.SIGSTOP)
    for child in before.children:
        send(child.pid, signal.SIGKILL)
    send(before.supervisor, signal.SIGKILL)
    daemon.next_supervisor(before.supervisor)
    assert daemon.state.instance_id == before.instance_id
    assert (Path("/dev/shm") / daemon.names.fib[1:]).stat().st_ino == fib
    daemon.stop()


def test_a_supervisor_killed_while_it_stops_is_finished_by_the_next(
    make_daemon: Callable[..., Daemon],
) -> None:
    """An orderly stop was asked for: the successor ends what is left, and stays away."""
    daemon = make_daemon(FAKE_CONTROL="undo-deaf").started()
    supervisor, guardian, children = daemon.supervisor, daemon.guardian, daemon.state.children
    send(supervisor, signal.SIGTERM)
    daemon.router.logged("stop.begin")
    send(supervisor, signal.SIGKILL)
    daemon.wait("the guardian ended", lambda: not alive(guardian))
    assert not any(alive(child.pid) for child in children)
    assert daemon.router.leftovers() == []


def test_a_start_that_cannot_work_ends_the_guardian_with_its_status(
    make_daemon: Callable[..., Daemon],
) -> None:
    """A name squatted in /dev/shm: status 8, the reason on stderr, nobody and nothing is left."""
    daemon = make_daemon()
    squatted = Path("/dev/shm") / daemon.names.fib[1:]
    daemon.launcher.kill()  # this one came too early: the name is taken now
    daemon.launcher.wait(5)
    with contextlib.suppress(AssertionError):
        daemon.wait("the first one's state", lambda: daemon.state.guardian, 3)
    daemon.destroy()
    for path in Path("/dev/shm").glob(f"*ribcage.{daemon.names.instance}.*"):
        path.unlink()
    daemon.names.state_file.unlink(missing_ok=True)
    squatted.touch()
    try:
        launcher = daemon.router.launch("--daemon")
        assert launcher.wait(20) == 8
        assert f"/dev/shm{daemon.names.fib} exists" in daemon.router.log_text()
    finally:
        squatted.unlink()
    assert [name for name in daemon.router.leftovers() if "sem" in name] == []


def test_the_guardian_hears_nobody_but_its_supervisor(daemon: Daemon) -> None:
    """Of the same user, but another process: refused and logged; nothing changes."""
    (path,) = daemon.names.supervisor_dir.glob("guardian-*.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        for text in (
            b"STOPPING=1",
            b"FDSTOREREMOVE=1\nFDNAME=plan",
            b"EXIT_STATUS=0",
            b"\xff" * 99,
        ):
            sock.sendto(text, str(path))
    daemon.router.logged("notice.refused", 4)
    old = daemon.supervisor
    send(old, signal.SIGKILL)
    daemon.next_supervisor(old)
    daemon.stop()


@pytest.mark.parametrize("spoil", ["folder", "file", "removed", "closed"])
def test_a_guardian_that_cannot_be_reached_is_replaced(daemon: Daemon, spoil: str) -> None:
    """Something else stands where its socket was when the supervisor is killed: the next one tells
    nobody what it keeps, until there is another guardian. Then all is as it was."""
    (path,) = daemon.names.supervisor_dir.glob("guardian-*.sock")
    if spoil == "closed":
        path.chmod(0)
    else:
        path.unlink()
    if spoil == "folder":
        path.mkdir()
    elif spoil == "file":
        path.write_text("no socket")
    old, guardian, workers = daemon.supervisor, daemon.guardian, daemon.workers()
    send(old, signal.SIGKILL)
    daemon.next_supervisor(old)
    if spoil in ("folder", "file"):
        daemon.wait("another guardian", lambda: daemon.guardian not in (0, guardian), 20)
    daemon.wait("the guardian keeps the state", lambda: keeps(daemon.guardian, "ribcage-state"))
    old = daemon.supervisor
    daemon.names.state_file.unlink()  # what the store has is all there is now
    send(old, signal.SIGKILL)
    daemon.wait("the state again", daemon.names.state_file.exists)
    daemon.next_supervisor(old)
    assert daemon.workers() == workers
    daemon.stop()


def test_ps_tells_of_the_guardian(daemon: Daemon) -> None:
    """A row of its own, and how often the supervisor was restarted."""
    old = daemon.supervisor
    send(old, signal.SIGKILL)
    daemon.next_supervisor(old)
    rows = {row["role"]: row for row in daemon.router.ps()}
    assert rows["guardian"]["pid"] == daemon.guardian
    assert rows["guardian"]["state"] == "ready"
    assert rows["supervisor"]["restarts"] == 1
    daemon.router.disconnect()
    daemon.stop()


def test_sigterm_to_the_guardian_is_an_orderly_stop(daemon: Daemon) -> None:
    """As from a service manager that knows only its first process."""
    guardian, supervisor = daemon.guardian, daemon.supervisor
    send(guardian, signal.SIGTERM)
    daemon.wait("both ended", lambda: not alive(supervisor) and not alive(guardian))
    assert daemon.router.leftovers() == []


GUARDIAN = Path(ward.__file__).with_name("main.py")


@pytest.mark.parametrize(("said", "status"), [(b"EXIT_STATUS=0", 0), (b"EXIT_STATUS=5", 5)])
def test_a_guardian_that_comes_too_late_believes_what_was_said(
    said: bytes, status: int, tmp_path: Path
) -> None:
    """The supervisor that made it stopped in order, or could not begin, before it had opened its
    eyes: it starts no other."""
    assert late_guardian(tmp_path, said) == (status, False)


def test_a_guardian_that_comes_too_late_replaces_who_was_killed(tmp_path: Path) -> None:
    """Nothing was said: the next supervisor is started, and its end is what counts."""
    assert late_guardian(tmp_path, b"") == (0, True)


def late_guardian(folder: Path, said: bytes) -> tuple[int, bool]:
    """A guardian's exit status, and whether it started a supervisor: after the one it was made
    to watch has said this and died."""
    path, trace = folder / "sock", folder / "started"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.bind(str(path))
        speak = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                  s.sendto({said!r}, {str(path)!r})"
        dead = subprocess.Popen([sys.executable, "-c", speak], stdin=subprocess.PIPE)
        pidfd = os.pidfd_open(dead.pid)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        words = [sys.executable, "-I", "-S", str(GUARDIAN), "--socket", str(sock.fileno())]
        words += ["--path", str(path), "--watch", f"{dead.pid}={pidfd}", "--"]
        words += ["/usr/bin/touch", str(trace)]
        try:
            done = subprocess.run(words, pass_fds=[sock.fileno(), pidfd], timeout=20)
        finally:
            os.close(pidfd)
            dead.communicate()
    return done.returncode, trace.exists()

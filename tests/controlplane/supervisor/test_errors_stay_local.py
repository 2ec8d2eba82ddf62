"""An OSError belongs to one child or one object: the supervisor goes on, and mends what it can."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.loop import Loop
from tests.netns.counters import stats_paths

MakeRouter = Callable[..., Any]


def kill(router: Any, role: str, index: int = 0) -> int:
    """SIGKILL to one child, by the state file; waits for its successor."""

    def row() -> dict[str, Any] | None:
        rows = [r for r in router.state()["children"] if (r["role"], r["index"]) == (role, index)]
        return rows[0] if rows else None

    before = row()
    assert before is not None
    router.pids.add(before["pid"])
    os.kill(before["pid"], signal.SIGKILL)
    after = router.until(
        f"another {role} {index}",
        lambda: (r := row()) is not None and r["pid"] != before["pid"] and r,
    )
    router.pids.add(after["pid"])
    return int(after["pid"])


def goes_on(router: Any) -> None:
    """The same supervisor, everybody ready, an orderly stop that leaves nothing."""
    assert router.process.poll() is None, router.log_text()
    router.disconnect()
    router.until(
        "all ready",
        lambda: all(row["state"] in ("ready", "running") for row in router.ps()
                    if row["role"] != "standby"),
    )  # fmt: skip
    router.disconnect()
    assert router.stop() == 0
    assert router.leftovers() == []


def test_a_stats_object_has_no_name_to_be_removed_by(router: Any) -> None:
    """Removing it and killing control once ended the supervisor: now nothing of it is in /dev/shm,
    and control's successor, forked or promoted, is attached with all of them."""
    assert not any(".stats." in path.name and router.names.instance in path.name
                   for path in Path("/dev/shm").iterdir())  # fmt: skip
    router.until("standby", lambda: any(r["role"] == "standby" for r in router.state()["children"]))
    before = stats_paths(router.pid).keys()
    kill(router, "control")
    assert "control.promoted" in router.log_text()
    assert stats_paths(router.pid).keys() == before != set()
    goes_on(router)


def test_the_run_directory_removed(router: Any) -> None:
    """It is there again within seconds, with state, lock and socket, and children are replaced."""
    shutil.rmtree(router.names.run_dir)
    router.logged("run_dir.lost")
    router.until("state and socket again", lambda: router.names.state_file.exists()
                 and router.names.supervisor_socket.exists()
                 and router.names.supervisor_lock.exists())  # fmt: skip
    kill(router, "worker")
    kill(router, "control")  # which makes its socket in the folder of this name
    goes_on(router)


def test_the_run_directory_renamed(router: Any) -> None:
    """As removed; what was in the old one is nobody's."""
    router.names.run_dir.rename(router.names.run_base / "elsewhere")
    router.logged("run_dir.lost")
    router.until("state again", router.names.state_file.exists)
    kill(router, "control")
    router.crash()
    router.start()
    goes_on(router)


def test_a_state_file_that_cannot_be_written_is_written_when_it_can_be(router: Any) -> None:
    """Somebody put a folder where the temporary file goes: told once, tried each second."""
    blocked = router.names.state_file.with_suffix(".tmp")
    blocked.mkdir()
    pid = router.worker_pids()[0]
    router.pids.add(pid)
    os.kill(pid, signal.SIGKILL)
    router.logged("state.unsaved")
    router.logged("child.ready", 4)
    assert pid in router.worker_pids()  # the old one is all the file knows
    blocked.rmdir()
    router.logged("state.saved")
    assert pid not in router.worker_pids()
    assert router.log_text().count("state.unsaved") == 1
    goes_on(router)


def test_no_descriptor_left(router: Any) -> None:
    """The limit falls to what is open: children that die wait, and come when there is room."""
    pid = router.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, usual[1]))
    first, second = router.worker_pids()
    control = next(r["pid"] for r in router.state()["children"] if r["role"] == "control")
    for child in (first, second, control):
        router.pids.add(child)
        os.kill(child, signal.SIGKILL)
    router.logged("failed")
    assert router.process.poll() is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
    router.until("two new workers", lambda: len(set(router.worker_pids()) - {first, second}) == 2)
    router.note_pids()
    goes_on(router)


def test_an_adoption_with_a_folder_in_the_way_of_its_state(router: Any) -> None:
    """The successor puts it out of the way, takes everybody over, and says so in its state."""
    before = router.worker_pids()
    router.crash()
    blocked = router.names.state_file.with_suffix(".tmp")
    blocked.mkdir()
    router.start()
    assert not blocked.exists()
    assert router.state()["supervisor"] == router.pid
    assert router.worker_pids() == before
    goes_on(router)


def test_a_callback_that_raises_ends_neither_loop_nor_its_own_descriptor() -> None:
    """Logged, counted; the descriptor rests, longer each time, and is heard again. No spinning."""
    loop = Loop()
    reader, writer = os.pipe2(os.O_NONBLOCK)
    calls: list[int] = []

    def angry() -> None:
        calls.append(1)
        if len(calls) < 4:
            raise OSError(28, "No space left on device")
        os.read(reader, 100)
        loop.stop()

    def wrong() -> None:
        raise KeyError("a bug")

    loop.watch(reader, angry)
    loop.after(0.0, wrong)
    os.write(writer, b"x")
    turns = 0
    while len(calls) < 4:
        loop.turn()
        turns += 1
    assert loop.failures == 4
    assert turns < 20
    loop.unwatch(reader)
    loop.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("when", ["resting", "closed"])
def test_a_descriptor_that_rests_may_be_unwatched(when: str) -> None:
    """Its number may be another's by the time it would have been heard again."""
    loop = Loop()
    reader, writer = os.pipe2(os.O_NONBLOCK)

    def angry() -> None:
        raise OSError("no")

    loop.watch(reader, angry)
    os.write(writer, b"x")
    loop.turn()
    if when == "closed":
        os.close(reader)
    loop.unwatch(reader)
    seen: list[int] = []
    loop.after(0.1, lambda: seen.append(1))
    while not seen:
        loop.turn()
    assert loop.failures == 1
    loop.close()
    if when != "closed":
        os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("spoil", ["removed", "cut short", "noise", "a folder"])
def test_a_state_file_that_somebody_spoilt_is_written_again(router: Any, spoil: str) -> None:
    """Within seconds, without a birth or a death: so the next supervisor adopts everybody."""
    path, before = router.names.state_file, router.worker_pids()
    if spoil in ("removed", "a folder"):
        path.unlink()
    if spoil == "a folder":
        path.mkdir()
    elif spoil != "removed":
        path.write_bytes(b"" if spoil == "cut short" else b"\xff" * 100)

    def again() -> bool:
        try:
            return bool(router.worker_pids() == before)
        except (OSError, ValueError):
            return False

    router.until("the state file", again)
    router.disconnect()
    router.crash()
    router.start()
    assert router.worker_pids() == before
    goes_on(router)

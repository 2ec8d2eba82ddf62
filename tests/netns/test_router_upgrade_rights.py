"""An upgrade of a daemon with a user a process: nobody has more rights afterwards, nor fewer; and
what the supervisor alone keeps is there still."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.rights import MOST_FILTERS
from ribcage.controlplane.supervisor.statefile import State
from ribcage.lab.demo.steps import leftovers
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import wait_for
from ribcage.lab.topology.topologies import demo
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig
from tests.netns.upgrades import Build, upgrade

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
DESCRIPTORS = ("descriptors", "seccomp_filters")  # compared by themselves


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Rig]:
    with Lab() as lab:
        demo(lab)
        router = GuardedRouter(lab.nodes["r1"], config(), "ru", tmp_path, tmp_path / "run")
        built = Rig(lab, router, leftovers(router))
        router.start()
        try:
            built.standby_ready()
            yield built
        finally:
            router.kill_all()


def rights(built: Rig) -> dict[tuple[str, int], dict[str, Any]]:
    rows = built.router.call("process.list", look=True)["processes"]
    return {(row["role"], row["index"]): {"uid": row["uid"], **row["rights"]} for row in rows}


def without(found: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], Any]:
    return {
        who: {name: value for name, value in row.items() if name not in DESCRIPTORS}
        for who, row in found.items()
    }


def supervised_by(built: Rig, old: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Everybody, once another supervisor than `old` has its router together."""

    def look() -> dict[tuple[str, int], dict[str, Any]] | None:
        try:
            rows = {(row["role"], row["index"]): row for row in built.router.processes()}
        except Exception:
            return None
        standby = rows.get(("standby", 0), {})
        whole = rows["supervisor", 0]["pid"] != old and standby.get("state") == "ready"
        return rows if whole else None

    return wait_for("the next supervisor", look, 20)


def test_an_upgrade_changes_no_right_of_any_process_and_a_restart_is_of_the_new_build(
    guarded: Rig, tmp_path: Path
) -> None:
    """Twice, there and back, under a stream: users, groups, capabilities, limits are what they
    were, each process has its own list of system calls, the supervisor holds no descriptor more.
    Then it is killed: the guardian starts the new build, which adopts everybody; no packet lost."""
    builds = [Build.copied(tmp_path / name, {"__init__.py": f"# {name}\n"}) for name in "ab"]
    before = rights(guarded)
    own = guarded.router.pid("supervisor")
    for build in builds:
        with Stream(guarded.h1, guarded.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            story = upgrade(guarded, build)
        assert story["state"] == "done", story["error"]
        guarded.nothing_lost(stream.result)
        after = rights(guarded)
        assert without(after) == without(before)
        assert after["supervisor", 0]["descriptors"] == before["supervisor", 0]["descriptors"]
        assert all(row["seccomp"] == "filter" for row in after.values())
        assert max(row["seccomp_filters"] for row in after.values()) <= MOST_FILTERS + 1
        if os.geteuid() == 0:
            assert 0 not in {row["uid"] for (role, _), row in after.items() if role == "worker"}
    with Stream(guarded.h1, guarded.h2, "10.0.2.2", flows=FLOWS) as stream:
        stream.carried(0.3)
        os.kill(own, signal.SIGKILL)
        rows = supervised_by(guarded, own)
    guarded.nothing_lost(stream.result)
    assert {row["build"] for row in rows.values()} == {builds[-1].id}
    assert without(rights(guarded)) == without(before)
    worker = rows["worker", 0]["pid"]
    os.kill(worker, signal.SIGKILL)
    guarded.successor("worker", 0, worker)
    guarded.verified()
    guarded.balanced()


def test_a_guardian_that_dies_after_an_upgrade_comes_back_as_the_new_build(
    guarded: Rig, tmp_path: Path
) -> None:
    """And so does what it starts."""
    build = Build.copied(tmp_path / "b")
    assert upgrade(guarded, build)["state"] == "done"
    guardian, own = guarded.router.pid("guardian"), guarded.router.pid("supervisor")
    os.kill(guardian, signal.SIGKILL)
    wait_for("another guardian", lambda: guarded.router.pid("guardian") not in (0, guardian))
    end = time.monotonic() + 5
    while b"ribcage-guard" not in Path(f"/proc/{guarded.router.pid('guardian')}/comm").read_bytes():
        assert time.monotonic() < end
    os.kill(own, signal.SIGKILL)
    rows = supervised_by(guarded, own)
    assert {row["build"] for row in rows.values()} == {build.id}
    guarded.echo()


@pytest.mark.parametrize("strategy", ["rwlock", "sem_undo"])
def test_locks_are_the_same_words_after_an_upgrade(strategy: str, tmp_path: Path) -> None:
    """Control and workers of both builds lock one thing; so do those that are born later."""
    fib = f'max_routes4 = 10_000\nmax_routes6 = 1_000\nsync = "{strategy}"'
    with rig(tmp_path, config(fib=fib)) as built:
        built.standby_ready()
        before = State.read(built.router.names.state_file, built.router.instance)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            assert upgrade(built, Build.copied(tmp_path / "b"))["state"] == "done"
            for role in ("worker", "control"):
                old = built.router.kill(role, 0)
                built.successor(role, 0, old)
        built.router.call("route.add", dst="203.0.113.0/24", nexthops=[VIA_H2], wait="visible")
        after = State.read(built.router.names.state_file, built.router.instance)
        assert before is not None and after is not None
        assert (after.sync_inode, after.sync_key) == (before.sync_inode, before.sync_key)
        assert after.stats == before.stats and after.users == before.users
        built.verified()
        built.balanced()
        built.echo()


def test_a_stopped_worker_holds_an_upgrade_up_by_name_and_nothing_changes(tmp_path: Path) -> None:
    """Somebody looks at it with a debugger: the build is tried, then there is no quiet moment."""
    with rig(tmp_path) as built:
        built.standby_ready()
        worker = built.router.pid("worker", 1)
        os.kill(worker, signal.SIGSTOP)
        wait_for("it is seen", lambda: built.log_lines("worker.stopped"))
        story = upgrade(built, Build.copied(tmp_path / "b"))
        os.kill(worker, signal.SIGCONT)
        assert story["state"] == "failed" and story["error"] == "worker 1 is stopped", story
        wait_for("it goes on", lambda: built.log_lines("worker.well"))
        assert built.router.pid("worker", 1) == worker
        built.echo()

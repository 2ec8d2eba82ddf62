"""An upgrade of a daemon with a user a process: nobody has more rights afterwards, nor fewer."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.rights import MOST_FILTERS
from ribcage.lab.demo.steps import leftovers
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import wait_for
from ribcage.lab.topology.topologies import demo
from tests.netns.router_rig import FLOWS, Rig, config
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

"""A whole router moves to another build under numbered packets, and none of them is lost."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.upgrade.faults import POINTS, VARIABLE
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from ribcage.shared.build import id_of
from ribcage.shared.errors import RibcageError
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig
from tests.netns.upgrades import Build, begin, compiled, ended, told, upgrade

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Another build beside the one under test: one comment more."""
    yield Build.copied(tmp_path_factory.mktemp("build") / "b2")


@pytest.mark.parametrize("workers", [2, 1])
def test_an_upgrade_under_load_loses_no_packet(
    workers: int, tmp_path: Path, other: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same layout: every packet comes, each where it should, the supervisor keeps its pid, no
    restart is counted, routes are there, and all run the new build."""
    with rig(tmp_path, config(workers=f"count = {workers}")) as built:
        built.standby_ready()
        before = {(row["role"], row["index"]): row for row in built.router.processes()}
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            story = upgrade(built, other)
            stream.carried(0.3)
        with capsys.disabled():
            told(f"{workers} workers", story, stream.result)
        assert story["state"] == "done", story["error"]
        built.nothing_lost(stream.result)
        assert stream.result.duplicates == 0
        after = {(row["role"], row["index"]): row for row in built.router.processes()}
        assert after["supervisor", 0]["pid"] == before["supervisor", 0]["pid"]
        assert {row["build"] for row in after.values()} == {other.id}
        assert {row["restarts"] for row in after.values()} == {0}
        others = [key for key in before if key[0] != "supervisor"]
        assert all(after[key]["pid"] != before[key]["pid"] for key in others)
        assert all(row["own"] for row in after.values())
        built.verified()
        built.balanced()
        built.echo()


def everybody(built: Rig) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["role"], row["index"]): row for row in built.router.processes()}


def neighbours(built: Rig) -> set[str]:
    rows = built.router.call("neighbour.list")["neighbours"]
    return {row["address"] for row in rows if row["route"] and row["address"].startswith("10.0.2.")}


HOLD = "[hold]\ntimeout = '3s'\npackets = 1024\nper_neighbour = 512\n"
BROKEN = {
    "a syntax error": ({"dataplane/worker.py": "def run_worker(:\n"}, "SyntaxError"),
    "a role that cannot be imported": (
        {"controlplane/process/control.py": "import ribcage.of_tomorrow\n"}, "of_tomorrow"),
    "a state it cannot read": (
        {"controlplane/supervisor/upgrade/image.py": "SCHEMA = 99\n"}, "this build reads 99"),
    "another channel": (
        {"shared/protocol.py": "LOW = HIGH = 2\n"}, "no common version of the channel"),
    "another layout of the RIB": (
        {"shared/memory/identity.py": "_true = layouts\ndef layouts():\n"
                                      "    return {**_true(), 'rib': '0x1'}\n"},
        "another layout: rib 0x1, running 0x"),
    "an end in its check": (
        {"shared/build.py": "import os\nos.kill(os.getpid(), 9)\n"}, "signal 9"),
}  # fmt: skip


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One router for all upgrades that are refused: each leaves it as it was."""
    with rig(tmp_path_factory.mktemp("refused")) as made:
        made.standby_ready()
        yield made


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_build_is_refused_and_nothing_changes(
    what: str, steady: Rig, tmp_path: Path
) -> None:
    """The cause is named; pids, builds and generation are what they were; no packet is lost."""
    more, said = BROKEN[what]
    before = everybody(steady)
    generation = steady.router.call("fib.show")["published"]["generation"]
    with Stream(steady.h1, steady.h2, "10.0.2.2", flows=FLOWS) as stream:
        story = upgrade(steady, Build.copied(tmp_path / "broken", more))
    assert story["state"] == "failed" and said in story["error"], story["error"]
    assert [step["name"] for step in story["steps"]] == ["check"]
    steady.nothing_lost(stream.result)
    after = everybody(steady)
    assert {key: (row["pid"], row["build"]) for key, row in after.items()} == {
        key: (row["pid"], row["build"]) for key, row in before.items()
    }
    assert steady.router.call("fib.show")["published"]["generation"] == generation
    steady.verified()


@pytest.mark.parametrize("named", ["bin/python3", "/nowhere", "/etc/passwd"])
def test_what_is_no_build_is_refused_at_once(named: str, steady: Rig) -> None:
    """A relative path, none, and a file that is no program."""
    with pytest.raises(RibcageError) as refused:
        steady.router.call("system.upgrade", python=named)
    assert refused.value.code == "E_UPGRADE" and named in refused.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_build_that_others_can_write_is_refused(steady: Rig, tmp_path: Path) -> None:
    """Control must not be able to name a program that another user wrote."""
    build = Build.copied(tmp_path / "theirs")
    build.python.parent.chmod(0o777)
    with pytest.raises(RibcageError, match="writable by others"):
        begin(steady, build)
    build.python.parent.chmod(0o755)
    os.chown(build.folder, 12345, 12345)
    with pytest.raises(RibcageError, match="uid 12345"):
        begin(steady, build)


def test_a_build_that_fails_after_the_exec_gives_the_state_back(
    steady: Rig, tmp_path: Path
) -> None:
    """It passes its check and breaks when it takes over: the old build goes on, same pid, no
    packet lost, its children still its own."""
    broken = "def restore(parts, image):\n    raise RuntimeError('not today')\n"
    more = {"controlplane/supervisor/upgrade/carry.py": broken}
    before = everybody(steady)
    with Stream(steady.h1, steady.h2, "10.0.2.2", flows=FLOWS) as stream:
        story = upgrade(steady, Build.copied(tmp_path / "broken", more))
    assert story["state"] == "failed" and "not today" in story["error"], story
    steady.nothing_lost(stream.result)
    after = everybody(steady)
    assert {key: (row["pid"], row["build"], row["own"]) for key, row in after.items()} == {
        key: (row["pid"], row["build"], row["own"]) for key, row in before.items()
    }
    worker = steady.router.kill("worker", 0)
    steady.successor("worker", 0, worker)
    steady.echo()


def test_a_worker_of_the_new_build_that_dies_stops_the_upgrade(
    tmp_path: Path, other: Build
) -> None:
    """Worker 0 of the new build ends at once: worker 1 is left alone and carries its flows."""
    more = {"dataplane/worker.py": "def run_worker(fd):\n    raise SystemExit(9)\n"}
    with rig(tmp_path) as built:
        built.standby_ready()
        before = everybody(built)
        story = upgrade(built, Build.copied(tmp_path / "broken", more))
        assert story["state"] == "failed" and "worker 0" in story["error"], story["error"]
        after = everybody(built)
        assert after["worker", 1]["pid"] == before["worker", 1]["pid"]
        assert after["control", 0]["pid"] == before["control", 0]["pid"]
        # And away from it again.
        story = upgrade(built, other)
        assert story["state"] == "done", story["error"]
        assert {row["build"] for row in everybody(built).values()} == {other.id}
        built.echo()


def test_routes_change_during_an_upgrade_and_none_that_was_acknowledged_is_lost(
    tmp_path: Path, other: Build
) -> None:
    """Routes are added and deleted all the time; what was answered stands at the end."""
    with rig(tmp_path) as built:
        built.standby_ready()
        held: set[str] = set()
        number = begin(built, other)
        story: dict[str, Any] = {}
        added = 0
        while not story and added < 5000:
            prefix = f"198.18.{added % 256}.{added // 256 * 4}/30"
            with contextlib.suppress(RibcageError, OSError):
                built.router.call("route.add", dst=prefix, nexthops=[VIA_H2])
                held.add(prefix)
                added += 1
                if added % 3 == 0:
                    gone = min(held)
                    held.discard(gone)  # asked: whether it goes is not promised without an answer
                    built.router.call("route.delete", dst=gone)
            with contextlib.suppress(RibcageError, OSError):
                found = built.router.call("system.story")["story"]
                if found.get("number") == number and found["state"] != "running":
                    story = found
        assert story.get("state") == "done", story
        routes = built.router.call("route.list", source="added", limit=4096)["routes"]
        assert held <= {row["dst"] for row in routes}
        built.verified()
        built.balanced()


def test_files_that_were_replaced_below_a_running_router_are_moved_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --to: the same interpreter, whose files are others now. Broken ones are refused, and
    a standby that is made meanwhile says in the log that it is a mixture."""
    build = Build.copied(tmp_path / "installed")
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", str(build.python))
        patched.chdir(tmp_path)  # else `-m` finds the tree the tests run in
        context = rig(tmp_path)
        built = context.__enter__()
    try:
        built.standby_ready()
        worker = build.package / "dataplane" / "worker.py"
        good = worker.read_text()
        worker.write_text(good + "syntax error\n")
        before = everybody(built)
        assert {row["build"] for row in before.values()} == {build.id}
        number = int(built.router.call("system.upgrade")["upgrade"])
        assert "SyntaxError" in ended(built, number)["error"]
        os.kill(before["standby", 0]["pid"], signal.SIGKILL)
        wait_for("a standby", lambda: built.log_lines("build.replaced"))
        built.standby_ready()
        worker.write_text(good + "# better\n")
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            number = int(built.router.call("system.upgrade")["upgrade"])
            story = ended(built, number)
        assert story["state"] == "done", story["error"]
        built.nothing_lost(stream.result)
        assert {row["build"] for row in everybody(built).values()} == {id_of(build.package)}
        assert id_of(build.package) != build.id
    finally:
        context.__exit__(None, None, None)


def test_packets_that_wait_for_a_neighbour_are_not_lost(tmp_path: Path, other: Build) -> None:
    """A worker with packets in its hold queue leaves when they are gone: the answer comes while
    it is being replaced, and each of them is forwarded."""
    with rig(tmp_path, config(HOLD, workers="count = 1")) as built:
        built.standby_ready()
        # h2 answers nobody for a while: its packets wait in the worker.
        built.h2.ip("link set eth0 arp off")
        built.r1.ip("neigh flush dev eth2")
        wait_for("h2 is forgotten", lambda: not neighbours(built))
        number = begin(built, other)
        with Stream(built.h1, built.h2, "10.0.2.2", rate=100) as stream:
            built.counted("packets that wait", lambda: built.stats()["totals"]["held"] > 0)
            built.h2.ip("link set eth0 arp on")
            assert ended(built, number)["state"] == "done"
        built.nothing_lost(stream.result)
        assert built.drops().get("quiesced", 0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_supervisor_killed_in_the_middle_of_an_upgrade_heals(
    point: str, tmp_path: Path, other: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at this step: the next start adopts who lives, replaces who does not, forwards, and
    the upgrade, asked for again, comes to its end."""
    monkeypatch.setenv(VARIABLE, point)
    text = config(router='orphan_timeout = "10s"\nteach = true')
    with rig(tmp_path, text) as built:
        built.standby_ready()
        built.router.call("route.add", dst="203.0.113.0/24", nexthops=[VIA_H2], wait="visible")
        begin(built, other)
        assert built.router.process is not None
        assert built.router.process.wait(60) == -9
        monkeypatch.delenv(VARIABLE)
        built.router.start()
        built.standby_ready()
        built.echo()
        routes = built.router.call("route.list", source="added")["routes"]
        assert {row["dst"] for row in routes} == {"203.0.113.0/24"}
        story = upgrade(built, other)
        assert story["state"] == "done", story["error"]
        after = everybody(built)
        assert {row["build"] for row in after.values()} == {other.id}
        built.echo()
        built.verified()
        built.balanced()


@pytest.fixture(scope="module")
def other_layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """A build whose FIB and stats objects lie otherwise."""
    yield compiled(tmp_path_factory.mktemp("layout") / "b3")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [2, 1])
def test_an_upgrade_to_another_layout_loses_no_packet(
    workers: int, tmp_path: Path, other_layout: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new FIB is filled beside the old one, the workers go over one by one, and the rings are
    read on where the old worker left them; a route that was added is there, the check is clean."""
    with rig(tmp_path, config(workers=f"count = {workers}")) as built:
        built.standby_ready()
        built.router.call("route.add", dst="203.0.113.0/24", nexthops=[VIA_H2], wait="visible")
        before = everybody(built)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            story = upgrade(built, other_layout)
            stream.carried(0.3)
        with capsys.disabled():
            told(f"another layout, {workers} workers", story, stream.result)
        assert story["state"] == "done", story["error"]
        assert {"fib", "stats"} == set(story["layouts"])
        built.nothing_lost(stream.result)
        assert stream.result.duplicates == 0
        after = everybody(built)
        assert after["supervisor", 0]["pid"] == before["supervisor", 0]["pid"]
        assert {row["build"] for row in after.values()} == {other_layout.id}
        assert {row["restarts"] for row in after.values()} == {0}
        routes = built.router.call("route.list", source="added")["routes"]
        assert {row["dst"] for row in routes} == {"203.0.113.0/24"}
        built.verified()
        built.balanced()
        built.echo()

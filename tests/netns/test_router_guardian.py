"""A router under --daemon heals by itself; and what can be done without a supervisor."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.start.lock import lock_owner
from ribcage.lab.demo.steps import leftovers
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import Router, wait_for
from ribcage.lab.topology.topologies import demo
from tests.netns.router_rig import FLOWS, Rig, config, lab_and_router

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
SUPERVISOR_KB = 20 * 1024
GUARDIAN_KB = 6 * 1024


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Rig]:
    with Lab() as lab:
        demo(lab)
        router = GuardedRouter(lab.nodes["r1"], config(), "rt", tmp_path, tmp_path / "run")
        built = Rig(lab, router, leftovers(router))
        router.start()
        try:
            built.echo(count=1)
            yield built
        finally:
            router.kill_all()


def ready_again(built: Rig, old: int) -> float:
    """Seconds until another supervisor says that all is ready, by its log."""
    start = time.monotonic()
    count = len(built.log_lines("ready"))
    wait_for("the next supervisor ready", lambda: len(built.log_lines("ready")) > count, 20)
    took = time.monotonic() - start
    state = built.router.state()  # type: ignore[attr-defined]
    assert state is not None and state.supervisor != old
    return took


def private_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def test_a_killed_supervisor_is_adopted_by_itself_and_no_packet_is_lost(guarded: Rig) -> None:
    """Three times, with 16 flows: the figures are printed; memory is within its bounds."""
    before = {(r["role"], r["index"]): r["pid"] for r in guarded.router.processes()}
    took = []
    for _ in range(3):
        old = guarded.router.pid("supervisor")
        with Stream(guarded.h1, guarded.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.3)
            os.kill(old, signal.SIGKILL)
            took.append(ready_again(guarded, old))
            stream.carried(0.3)
        guarded.nothing_lost(stream.result)
    rows = {(r["role"], r["index"]): r["pid"] for r in guarded.router.processes()}
    kept = [("control", 0), ("worker", 0), ("worker", 1), ("guardian", 0)]
    assert [rows[who] for who in kept] == [before[who] for who in kept]
    sizes = {role: private_kb(rows[role, 0]) for role in ("guardian", "supervisor")}
    print(f"adopted after {', '.join(f'{t:.2f}' for t in took)} s; private kB {sizes}")
    assert min(took) < 2.0
    assert sizes["supervisor"] <= SUPERVISOR_KB
    assert sizes["guardian"] <= GUARDIAN_KB
    guarded.balanced()
    assert guarded.router.stop() == 0
    assert leftovers(guarded.router) == guarded.before


def test_supervisor_and_worker_killed_at_once_lose_no_ring(guarded: Rig) -> None:
    """What waits in the ring of a worker that dies while no supervisor lives is forwarded by its
    successor: the next supervisor has that ring from the guardian. Nothing is lost."""
    rows = {(r["role"], r["index"]): r["pid"] for r in guarded.router.processes()}
    with Stream(guarded.h1, guarded.h2, "10.0.2.2", flows=FLOWS) as stream:
        stream.carried(0.3)
        os.kill(rows["supervisor", 0], signal.SIGSTOP)
        os.kill(rows["worker", 0], signal.SIGKILL)
        os.kill(rows["supervisor", 0], signal.SIGKILL)
        ready_again(guarded, rows["supervisor", 0])
        stream.carried(0.3)
    guarded.nothing_lost(stream.result)
    assert guarded.log_lines("store.taken")
    guarded.balanced()
    assert guarded.router.stop() == 0


def test_every_process_but_the_guardian_killed_comes_back_with_its_routes(guarded: Rig) -> None:
    """All at once; a route that was acknowledged before is there, and forwards."""
    hop = [{"via": "10.0.2.2", "dev": None, "weight": 1}]
    guarded.router.call("route.add", dst="203.0.113.0/24", nexthops=hop, wait="visible")
    rows = [r for r in guarded.router.processes() if r["role"] != "guardian"]
    supervisor = next(r["pid"] for r in rows if r["role"] == "supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    for row in rows:
        os.kill(row["pid"], signal.SIGKILL)
    ready_again(guarded, supervisor)
    guarded.echo()
    answer = guarded.router.call("route.get", dst="203.0.113.9")
    assert "203.0.113.0/24" in json.dumps(answer)
    guarded.verified()
    assert guarded.router.stop() == 0
    assert leftovers(guarded.router) == guarded.before


# ---- without a supervisor ----


def command(built: Rig, *words: str, inside: bool = False) -> "subprocess.CompletedProcess[str]":
    """`ribcage -j ...` from outside of the router's namespaces, or inside."""
    argv = [sys.executable, "-m", "ribcage", "-i", "rt", *words]
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(built.router.run_base)}
    if inside:
        return built.r1.run(argv, env=env)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Rig]:
    """A router in the foreground whose supervisor is dead; its children have a minute."""
    with lab_and_router(tmp_path, config(router='orphan_timeout = "60s"')) as built:
        built.router.start()
        built.echo(count=1)
        rows = built.router.processes()
        os.kill(built.router.pid("supervisor"), signal.SIGKILL)
        assert built.router.process is not None
        built.router.process.wait(5)
        yield built
        for row in rows:
            if row["role"] != "supervisor":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(row["pid"], signal.SIGKILL)


def test_ps_shows_the_living_without_a_supervisor(alone: Rig) -> None:
    """A row each with pid, rights and state; what is missing and what to do; exit 1."""
    ran = command(alone, "-j", "ps")
    document = json.loads(ran.stdout)
    rows = {(row["role"], row["index"]): row for row in document["processes"]}
    assert ran.returncode == 1
    assert rows["supervisor", 0]["state"] == "absent"
    assert {rows["worker", n]["state"] for n in (0, 1)} == {"orphaned"}
    assert rows["worker", 0]["caps"] == "none"
    assert rows["control", 0]["pid"] > 0
    assert "supervisor" in document["missing"]
    assert "run" in document["advice"] and "stop" in document["advice"]
    text = command(alone, "ps")
    assert "orphaned" in text.stdout and "not running: supervisor" in text.stderr


def test_stop_ends_a_router_without_a_supervisor_in_seconds(alone: Rig) -> None:
    """Processes, kernel settings, objects, run directory: as before the router."""
    start = time.monotonic()
    ran = command(alone, "-j", "stop")
    took = time.monotonic() - start
    document = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stderr
    assert document["problems"] == []
    assert len(document["ended"]) >= 3
    assert "kernel settings" in document["removed"]
    assert took < 8
    assert leftovers(alone.router) == alone.before
    assert "rc-host" not in alone.r1.run(["ip", "link"]).stdout
    assert alone.r1.run(["nft", "list", "ruleset"]).stdout == ""
    assert command(alone, "stop").returncode == 4


def test_gc_and_undo_leave_a_router_alone_whose_children_live(alone: Rig) -> None:
    """No supervisor is no death: it forwards on."""
    before = leftovers(alone.router)
    document = json.loads(command(alone, "-j", "gc").stdout)
    assert document["routers"][0]["alive"] and not document["routers"][0]["removed"]
    assert command(alone, "-j", "undo").returncode == 8
    assert leftovers(alone.router) == before
    alone.echo()


def test_after_killing_everything_gc_leaves_nothing(tmp_path: Path) -> None:
    """Everybody dead: --dry-run names all and removes nothing, gc removes it, and says so."""
    with lab_and_router(tmp_path, config()) as built:
        built.router.start()
        built.echo(count=1)
        assert built.router.process is not None
        for row in built.router.processes():
            os.kill(row["pid"], signal.SIGKILL)
        built.router.process.wait(5)
        wait_for("the lock is free", lambda: command(built, "ps").returncode == 4)
        left = leftovers(built.router)
        dry: dict[str, Any] = json.loads(
            command(built, "-j", "gc", "--dry-run", inside=True).stdout
        )
        assert leftovers(built.router) == left != built.before
        undone = command(built, "-j", "undo", inside=True)
        assert (undone.returncode, json.loads(undone.stdout)["undone"]) == (0, True)
        wet: dict[str, Any] = json.loads(command(built, "-j", "gc", inside=True).stdout)
        assert leftovers(built.router) == built.before
        removed = set(wet["routers"][0]["removed"])
        assert set(dry["routers"][0]["removed"]) - removed <= {
            "kernel settings", str(built.router.names.undo_file)}  # fmt: skip
        assert {"/ribcage.rt.fib", "/ribcage.rt.rib", "/ribcage.rt.writer"} <= removed
        assert any(name.startswith("queue 0x") for name in removed)
        assert json.loads(command(built, "-j", "gc", inside=True).stdout)["routers"] == []


def test_after_killing_everything_stop_leaves_nothing(tmp_path: Path) -> None:
    """`stop` does what `gc` does, for the one router."""
    with lab_and_router(tmp_path, config()) as built:
        built.router.start()
        assert built.router.process is not None
        for row in built.router.processes():
            os.kill(row["pid"], signal.SIGKILL)
        built.router.process.wait(5)
        ran = command(built, "-j", "stop", inside=True)
        assert ran.returncode == 0, ran.stderr
        assert leftovers(built.router) == built.before


def test_gc_takes_nothing_of_another_run(tmp_path: Path) -> None:
    """A dead one's state file names objects that a living router of the same name, in another run
    directory, has made since: they are left alone."""
    with lab_and_router(tmp_path, config()) as built:
        old = Router(built.r1, config(), "rt", tmp_path, tmp_path / "old")
        old.start()
        for row in old.processes():
            os.kill(row["pid"], signal.SIGKILL)
        assert old.process is not None
        old.process.wait(5)
        for name in built.r1.run(["ls", "/dev/shm"]).stdout.split():
            built.r1.run(["rm", f"/dev/shm/{name}"], check=True)
        (old.names.undo_file).unlink()
        built.router.start()
        env = {**os.environ, "RIBCAGE_RUN_DIR": str(old.run_base)}
        ran = built.r1.run([sys.executable, "-m", "ribcage", "-j", "-i", "rt", "gc"], env=env)
        removed = json.loads(ran.stdout)["routers"][0]["removed"]
        assert not [name for name in removed if name.startswith("/ribcage")], removed
        built.echo()
        built.router.kill("control")
        built.router.wait_ready()
        assert built.router.stop() == 0


# ---- a disk without room ----


def test_a_full_run_directory_stops_nobody(tmp_path: Path) -> None:
    """A tmpfs of 64 KiB, filled: control, a worker and the supervisor are killed one after the
    other, and everybody comes back though no state file can be written (the guardian keeps it).
    With room again it is written; packets cross, the stop leaves nothing."""
    base = tmp_path / "run"
    base.mkdir(mode=0o711)
    with Lab() as lab:
        demo(lab)
        r1 = lab.nodes["r1"]
        r1.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "tmpfs", str(base)], check=True)
        (tmp_path / "rt.toml").write_text(config())
        log = tmp_path / "rt.log"
        argv = [sys.executable, "-m", "ribcage", "-i", "rt", "run", "-c", str(tmp_path / "rt.toml"),
                "--daemon", "--log-file", str(log)]  # fmt: skip
        ran = r1.run(argv, env={**os.environ, "RIBCAGE_RUN_DIR": str(base)})
        assert ran.returncode == 0, ran.stderr
        first = int(log.read_text().partition("guardian.start guardian=")[2].split()[0])
        # The lab's mounts are not ours: this is how they are seen from here.
        router = GuardedRouter(r1, "", "rt", tmp_path, Path(f"/proc/{first}/root{base}"))
        built = Rig(lab, router, "")
        try:
            built.echo(count=1)
            full = router.names.run_dir / "full"
            with contextlib.suppress(OSError), full.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            built.standby_ready()
            old = {(r["role"], r["index"]): r["pid"] for r in router.processes()}
            router.kill("worker")
            built.successor("worker", 0, old["worker", 0])
            router.kill("control")
            built.successor("control", 0, old["control", 0])
            assert built.log_lines("state.unsaved")
            rows = {(r["role"], r["index"]): r["pid"] for r in router.processes()}
            os.kill(rows["supervisor", 0], signal.SIGKILL)
            count = len(built.log_lines("ready"))
            wait_for("adopted", lambda: len(built.log_lines("ready")) > count, 20)
            router.wait_ready()
            now = {(r["role"], r["index"]): r["pid"] for r in router.processes()}
            for who in (("control", 0), ("worker", 0), ("worker", 1)):
                assert now[who] == rows[who], who
            built.echo()
            full.unlink()
            wait_for("the state file again", lambda: built.log_lines("state.saved"))
            state = router.state()
            assert state is not None and state.supervisor == now["supervisor", 0]
            assert router.stop() == 0
        finally:
            router.kill_all()


def test_a_removed_run_directory_is_there_again(guarded: Rig) -> None:
    """With supervisor's and control's sockets, state, lock and journal: a killed supervisor is
    adopted, and the stop undoes everything."""
    shutil.rmtree(guarded.router.names.run_dir)
    wait_for("control's socket", lambda: guarded.log_lines("run_dir.again"))
    guarded.router.wait_ready()
    assert guarded.router.names.undo_file.exists()
    old = guarded.router.pid("supervisor")
    shutil.rmtree(guarded.router.names.run_dir)  # and now both at once
    os.kill(old, signal.SIGKILL)
    ready_again(guarded, old)
    guarded.router.wait_ready()
    guarded.echo()
    assert guarded.router.stop() == 0
    assert leftovers(guarded.router) == guarded.before


def test_an_undo_journal_that_was_removed_is_written_again(guarded: Rig) -> None:
    """Or nobody would know what to take back, should everybody die."""
    journal = guarded.router.names.undo_file
    journal.unlink()
    wait_for("the journal", journal.exists)
    guarded.router.kill_all()
    assert command(guarded, "undo", inside=True).returncode == 0
    assert command(guarded, "gc", inside=True).returncode == 0
    assert leftovers(guarded.router) == guarded.before


def test_one_guardian_after_the_other_is_replaced(guarded: Rig) -> None:
    """Stopped, then killed, then killed: what one is blamed for is not held against the next."""
    for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGKILL):
        old = guarded.router.pid("guardian")
        os.kill(old, number)

        def another(old: int = old) -> bool:
            return guarded.router.pid("guardian") not in (0, old)

        wait_for("another guardian", another, 15)
    stable = guarded.router.pid("guardian")
    time.sleep(2.5)  # two looks at it, and not a third guardian
    assert guarded.router.pid("guardian") == stable
    assert guarded.router.stop() == 0


def test_ps_calls_nobody_orphaned_while_a_supervisor_lives(tmp_path: Path) -> None:
    """Control is stopped and does not answer: it is `stopped`, the others are `running`."""
    more = '[control]\nhang_timeout = "0s"\n'
    with lab_and_router(tmp_path, config(more)) as built:
        built.router.start()
        control = built.router.pid("control")
        os.kill(control, signal.SIGSTOP)
        try:
            ran = command(built, "-j", "--timeout", "1", "ps")
        finally:
            os.kill(control, signal.SIGCONT)
        document = json.loads(ran.stdout)
        rows = {(row["role"], row["index"]): row for row in document["processes"]}
        assert ran.returncode == 1
        assert rows["control", 0]["state"] == "stopped"
        assert {rows[one]["state"] for one in rows if one[0] in ("supervisor", "worker")} == {
            "running"
        }
        assert not any("no supervisor" in row["if_it_dies"] for row in rows.values())


def control_of(pid: int) -> int | None:
    """The child of this supervisor that is, or is to be, control."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"control" in (path / "cmdline").read_bytes():
                return int(path.name)
    return None


def test_stop_ends_a_daemon_that_is_just_starting(tmp_path: Path) -> None:
    """Asked while control, held still here, has not begun: nobody lives when it returns, nothing is
    left, and the start says that it failed."""
    with Lab() as lab:
        demo(lab)
        router = GuardedRouter(lab.nodes["r1"], config(), "rt", tmp_path, tmp_path / "run")
        built = Rig(lab, router, leftovers(router))
        path = tmp_path / "rt.toml"
        path.write_text(router.config)
        router.let_pass()
        env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.run_base)}
        words = [sys.executable, "-m", "ribcage", "-i", "rt"]
        starting = built.r1.popen(
            [*words, "run", "-c", str(path), "--daemon", "--log-file", str(router.log)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        owner = wait_for("a supervisor", lambda: lock_owner(router.names.supervisor_lock))
        os.kill(wait_for("its control", lambda: control_of(owner)), signal.SIGSTOP)
        stopped = built.r1.run([*words, "stop"], env=env, timeout=40)
        said = starting.communicate(timeout=30)
        assert stopped.returncode == 0, stopped.stderr
        assert starting.returncode != 0, said
        assert router.living() == []
        assert leftovers(router) == built.before

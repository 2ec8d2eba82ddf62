"""Start, stop, restart: real processes with fake roles."""

import functools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelClosed
from tests.controlplane.supervisor.memory import private_kb

MakeRouter = Callable[..., Any]


def links(pid: int) -> dict[int, str]:
    """Descriptor -> what it names."""
    return {int(p.name): str(p.readlink()) for p in Path(f"/proc/{pid}/fd").iterdir()}


def client_closed(client: Channel) -> bool:
    try:
        client.recv()
    except ChannelClosed:
        return True
    return False


def replaced(router: Any, index: int, old: int) -> int:
    """Waits until worker `index` is ready under another pid."""

    def look() -> int:
        row = router.child("worker", index)
        return row["pid"] if row["state"] == "ready" and row["pid"] != old else 0

    return int(router.until(f"worker {index} replaced", look))


def test_a_stopped_router_leaves_nothing(router: Any) -> None:
    """SIGTERM: exit 0, no process, no object, no queue, no file of ours."""
    router.open_port(0)
    key = router.state()["queue_key"]
    names = router.leftovers()
    assert not any("stats" in name for name in names)  # they have no name
    assert any(name.startswith("sem.") for name in names)
    router.process.send_signal(signal.SIGUSR1)
    router.until("dump", lambda: router.names.supervisor_dump.exists())
    assert router.stop() == 0
    assert router.leftovers() == []
    assert not router.names.run_dir.exists()
    keys = Path("/proc/sysvipc/msg").read_text().splitlines()[1:]
    assert key not in [int(row.split()[0]) for row in keys]
    assert [pid for pid in router.pids if Path(f"/proc/{pid}").exists()] == []


def test_every_object_is_closed_to_others(router: Any) -> None:
    """Mode 0600 for objects and files; as root the workers' group may use channel and queue."""
    own = os.geteuid() == 0
    files = [p for p in Path("/dev/shm").iterdir() if router.names.instance in p.name]
    files += [router.names.state_file, router.names.supervisor_lock]
    assert len(files) >= 4
    assert {p.name: p.stat().st_mode & 0o777 for p in files} == {p.name: 0o600 for p in files}
    assert router.names.supervisor_socket.stat().st_mode & 0o777 == (0o660 if own else 0o600)
    rows = [row.split() for row in Path("/proc/sysvipc/msg").read_text().splitlines()[1:]]
    assert [row[2] for row in rows if int(row[0]) == router.state()["queue_key"]] == [
        "620" if own else "600"
    ]


def test_a_second_start_is_refused_with_the_owners_pid(router: Any) -> None:
    """Own exit status, and the first one does not notice."""
    second = router.launch()
    assert second.wait(15) == 8
    router.logged(f"already running, pid {router.pid}")
    assert router.ps()[0]["pid"] == router.pid


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("exit42", "worker 1 exited 42"),
        ("exit0", "worker 1 exited 0"),
        ("segv", "worker 1 killed by signal 11 (SIGSEGV)"),
        ("abort", "worker 1 killed by signal 6 (SIGABRT)"),
        ("raise", "worker 1 exited 70"),
        ("close", "worker 1 killed by signal 9 (SIGKILL)"),
    ],
)
def test_an_end_is_decoded_and_repaired(router: Any, kind: str, text: str) -> None:
    """Each form of death is named in log and ps, and the slot is filled again."""
    old = router.worker_pids()
    router.tell({"type": "fault-request", "id": 9, "worker": 1, "kind": kind})
    assert "error" not in router.said("done")
    router.logged(text)
    replaced(router, 1, old[1])
    row = router.child("worker", 1)
    assert f"worker 1 {row['last_exit']}" == text
    assert row["restarts"] == 1
    assert router.worker_pids()[0] == old[0]


def test_eight_workers_killed_together_are_all_reaped_and_restarted(
    make_router: MakeRouter,
) -> None:
    """SIGCHLD coalesces; eight deaths are eight reaps, and nobody stays a zombie."""
    router = make_router(8).start()
    old = router.worker_pids()
    assert len(old) == 8
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    router.logged("killed by signal 9 (SIGKILL)", 8)

    def ready() -> bool:
        rows = [row for row in router.ps() if row["role"] == "worker"]
        return all(row["state"] == "ready" and row["pid"] not in old for row in rows)

    router.until("8 new workers", ready)
    rows = [row for row in router.ps() if row["role"] == "worker"]
    assert [row["restarts"] for row in rows] == [1] * 8
    assert [pid for pid in old if Path(f"/proc/{pid}").exists()] == []


def test_a_worker_that_crashes_at_start_is_tried_for_ever(
    make_router: MakeRouter, tmp_path: Path
) -> None:
    """restart_max quick restarts, then it waits: state and note say for how long, how often it
    died and how. A reload tries at once; so does time. Control goes on."""
    count = tmp_path / "count"
    count.touch()
    count.chmod(0o666)  # workers of root have users of their own
    router = make_router(1, FAKE_WORKER="crash", FAKE_COUNT=str(count))
    router.write_plan(1, restart_max=4)
    router.process = router.launch()
    router.logged("retry_s=5 ")
    assert count.read_text() == "x" * 5
    row = router.child("worker")
    assert row["state"] == "waiting"
    assert re.fullmatch(r"next try in \d\.\d s, died 5 times, last: exited 3", row["note"])
    assert router.child("control")["state"] == "ready"
    router.process.send_signal(signal.SIGHUP)  # a reload forgives
    router.logged("retry_s=5 ", 2)
    assert count.read_text() == "x" * 10
    router.until("the slow try", lambda: count.read_text() == "x" * 11)
    assert router.stop() == 0


def test_a_fork_that_fails_is_tried_again(make_router: MakeRouter) -> None:
    """EAGAIN three times: logged, retried later, and the router becomes ready."""
    router = make_router(2, FAKE_FORK="fail").start()
    assert router.log_text().count("fork.failed") == 3
    assert router.child("worker", 0)["restarts"] == 0


def test_a_child_has_its_own_descriptors_and_no_others(router: Any) -> None:
    """0-2, the channel, and what attach gave: no sibling's channel, no listening socket."""
    router.open_port(0)
    router.open_port(1, "eth1", 6)
    workers = router.worker_pids()

    def complete() -> bool:
        return all(sum("ring-" in x for x in links(pid).values()) == 2 for pid in workers)

    router.until("rings handed over", complete)
    for index, pid in enumerate(workers):
        seen = links(pid)
        assert seen[0] == "/dev/null"
        rest = sorted(link for fd, link in seen.items() if fd > 2)
        sockets = [link for link in rest if link.startswith("socket:")]
        assert len(sockets) == 2  # its channel, its end of the bell
        assert [link for link in rest if "ring-" in link] == [
            f"/memfd:ring-0-{index} (deleted)",
            f"/memfd:ring-1-{index} (deleted)",
        ]
        assert not any("eventfd" in link for link in rest)
        assert [link for link in rest if link.startswith("/dev/shm")] == [
            f"/dev/shm{router.names.fib}"
        ]
        assert f"/memfd:{router.names.stats(index)} (deleted)" in rest
        assert len(rest) == 2 + 2 + 2  # sockets, rings, segment and stats object
    standby = [row["pid"] for row in router.state()["children"] if row["role"] == "standby"]
    if standby:
        assert [link for fd, link in links(standby[0]).items() if fd > 2 and "ring" in link] == []


def test_a_worker_holds_no_right_it_does_not_need(router: Any) -> None:
    """No capability, no new privileges, an empty signal mask; the FIB open read-only."""
    pid = router.worker_pids()[0]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert int(status["CapBnd"], 16) == 0 or os.geteuid() != 0
    assert status["NoNewPrivs"] == "1"
    assert int(status["SigBlk"], 16) == 0
    fib = next(fd for fd, link in links(pid).items() if link.endswith(".fib"))
    flags = Path(f"/proc/{pid}/fdinfo/{fib}").read_text().split("flags:\t")[1].split()[0]
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY


def test_the_supervisor_is_small_and_single_threaded(router: Any) -> None:
    """At most 20 MB of its own, one thread, nothing heavy imported: it forks the others."""
    router.open_port(0)
    assert private_kb(router.pid) <= 20 * 1024
    assert len(list(Path(f"/proc/{router.pid}/task").iterdir())) == 1


def test_a_restarted_worker_gets_what_the_dead_one_had(router: Any) -> None:
    """The very same sockets: frames that wait in the ring are not lost."""
    router.open_port(0)
    router.open_port(3, "eth3", 9)
    old = router.worker_pids()[1]

    def rings(pid: int) -> dict[str, int]:
        return {
            link: Path(f"/proc/{pid}/fd/{fd}").stat().st_ino
            for fd, link in links(pid).items()
            if "ring-" in link
        }

    router.until("rings", lambda: len(rings(old)) == 2)
    had = rings(old)
    os.kill(old, signal.SIGKILL)
    new = replaced(router, 1, old)
    assert rings(new) == had


def test_a_stopped_worker_shows_as_stopped(router: Any) -> None:
    """SIGSTOP is not death: ps says T, the others go on; SIGCONT and it is well."""
    pid = router.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    router.until("T", lambda: router.child("worker")["letter"] == "T")
    assert router.child("worker", 1)["state"] == "ready"
    router.logged('worker.stopped child="worker 0"')
    os.kill(pid, signal.SIGCONT)
    router.logged('worker.well child="worker 0"')
    router.until("S", lambda: router.child("worker")["letter"] in "SR")
    assert router.worker_pids()[0] == pid


def test_ps_agrees_with_proc(router: Any) -> None:
    """Each column joined with /proc is what /proc says."""
    rows = router.ps()
    assert {row["role"] for row in rows} >= {"supervisor", "control", "worker"}
    for row in rows:
        stat = Path(f"/proc/{row['pid']}/stat").read_text()
        status = Path(f"/proc/{row['pid']}/status").read_text()
        assert int(stat.rsplit(")", 1)[1].split()[1]) in (router.pid, os.getpid())
        # A standby that still loads its modules grows from one look to the next.
        router.until(f"the memory of {row['role']}", functools.partial(rss_agrees, router, row))
        assert row["uid"] == int(status.split("Uid:")[1].split()[0])
        fields = stat.rsplit(")", 1)[1].split()
        assert row["letter"] in "RSD" and fields[0] in "RSD"
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        assert used - 2 < row["cpu"] <= used
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        since = int(fields[19]) / os.sysconf("SC_CLK_TCK") - boot / 1e9
        assert abs(row["started_ns"] / 1e9 - since) < 2
        if row["role"] != "control":  # whose client we are
            assert row["fds"] in range(len(links(row["pid"])) - 2, len(links(row["pid"])) + 3)


def rss_agrees(router: Any, row: dict[str, Any]) -> bool:
    """What ps says now is what /proc says right after."""
    said = router.child(row["role"], row["index"])["rss_kb"]
    status = Path(f"/proc/{row['pid']}/status").read_text()
    return abs(said - int(status.split("VmRSS:")[1].split()[0])) < 2048


def test_the_standby_takes_over_at_once(router: Any) -> None:
    """Control dies: the standby is promoted with the same things, and a new standby follows."""
    router.logged("child=standby")
    router.open_port(2)
    router.until("standby", lambda: any(r["role"] == "standby" for r in router.state()["children"]))
    standby = next(r["pid"] for r in router.state()["children"] if r["role"] == "standby")
    workers = router.worker_pids()
    control = router.child("control")
    os.kill(control["pid"], signal.SIGKILL)
    router.disconnect()
    router.logged("control.promoted")
    router.until("ready again", lambda: router.log_text().count("child.ready child=control") >= 2)
    row = router.child("control")
    assert (row["pid"], row["restarts"], row["state"]) == (standby, 1, "ready")
    assert row["last_exit"] == "killed by signal 9 (SIGKILL)"
    assert router.worker_pids() == workers
    router.until(
        "a new standby",
        lambda: any(
            r["role"] == "standby" and r["pid"] != standby for r in router.state()["children"]
        ),
    )
    assert "fib.ready" in router.log_text()
    assert router.log_text().count("fib.ready") == 1  # the same segment: no worker was told


def test_control_without_a_standby_is_forked_cold(make_router: MakeRouter) -> None:
    """Killed twice in a row, the second time before the new standby is there: still repaired."""
    router = make_router(1).start()

    def control(other_than: int) -> int:
        rows = [row for row in router.state()["children"] if row["role"] == "control"]
        return next((row["pid"] for row in rows if row["pid"] != other_than), 0)

    pid = 0
    for _ in range(4):
        last = pid
        pid = router.until("another control", functools.partial(control, last))
        os.kill(pid, signal.SIGKILL)
    router.until("control well", lambda: router.child("control")["state"] == "ready")


def test_slow_children_are_killed_at_stop(make_router: MakeRouter) -> None:
    """Nobody answers `stop`: control, then workers are killed, and still nothing is left."""
    router = make_router(2, FAKE_WORKER="deaf", FAKE_CONTROL="deaf").start()
    assert router.stop() == 0
    router.logged("stop.slow")
    assert router.leftovers() == []


def test_what_control_could_not_undo_the_helper_undoes(make_router: MakeRouter) -> None:
    """Control removes its undo file itself; is it killed for being slow, the helper runs."""
    router = make_router(1, FAKE_CONTROL="undo").start()
    assert router.names.undo_file.exists()
    assert router.stop() == 0
    assert not (router.names.run_base / "undone").exists()
    other = make_router(1, FAKE_CONTROL="undo-deaf").start()
    assert other.stop() == 0
    assert (other.names.run_base / "undone").exists()
    assert other.leftovers() == []


def test_who_is_impatient_does_not_cut_the_undoing_short(make_router: MakeRouter) -> None:
    """SIGTERM again and again: control, which is deaf, is killed at once, the helper is not. Else
    the host would be left with our filter and without forwarding."""
    router = make_router(1, FAKE_CONTROL="undo-deaf").start()
    waits, done = (router.names.run_base / name for name in ("undo.wait", "undone"))
    os.mkfifo(waits)
    for _ in range(2):
        os.kill(router.pid, signal.SIGTERM)
        router.logged("signal")
    router.logged("undo.helper")
    for count in range(3, 6):
        os.kill(router.pid, signal.SIGTERM)
        router.logged("signal", count)
    with waits.open("w") as pipe:
        pipe.write("go on\n")
    assert router.process.wait(10) == 0
    assert done.exists()
    waits.unlink()
    assert router.leftovers() == []


def test_last_words_are_heard(make_router: MakeRouter) -> None:
    """What a child sent before it died is read: a stop asked for by a dying control is obeyed."""
    router = make_router(1).start()
    client = router.connect()
    os.kill(router.pid, signal.SIGSTOP)  # so that message and death are read in one turn
    router.tell({"type": "stop-request"})
    client.send({"type": "exit", "status": 5})
    router.until("control's death", lambda: client_closed(client))
    os.kill(router.pid, signal.SIGCONT)
    assert router.process.wait(15) == 0
    assert router.leftovers() == []


def test_a_storm_of_signals_loses_no_stop(router: Any) -> None:
    """Hundreds of USR1, USR2 and HUP, then TERM: ready until then, and an orderly end."""
    for _ in range(300):
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
            router.process.send_signal(number)
    assert router.child("worker")["state"] == "ready"
    assert router.stop() == 0
    assert router.leftovers() == []


def test_a_daemons_launcher_returns_when_it_is_ready(make_router: MakeRouter) -> None:
    """--daemon: exit 0 means ready; own session, no terminal, cwd /; non-zero when refused."""
    router = make_router(1, FAKE_LOG="")
    router.env["FAKE_LOG"] = str(router.log_file)
    assert router.launch("--daemon").wait(20) == 0
    pid = router.state()["supervisor"]
    try:
        assert " ready workers=1" in router.log_text()
        assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
        assert os.getsid(pid) not in (os.getsid(0), pid)
        assert {links(pid)[0], links(pid)[1]} == {"/dev/null"}
        assert router.launch("--daemon").wait(20) == 8
        assert "already running" in router.log_text()
    finally:
        os.kill(pid, signal.SIGTERM)
        router.until("daemon gone", lambda: not router.names.run_dir.exists())
    assert router.leftovers() == []

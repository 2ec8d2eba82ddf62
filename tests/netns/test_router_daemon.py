"""A real router started with --daemon: what ps calls it, where its log is, what stop leaves.

The processes are looked at from outside, as an operator has them: /proc, and the command itself.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import wait_for
from ribcage.lab.topology.topologies import demo
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.names import Names
from tests.netns.router_rig import config

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
NAME = f"daemon{os.getpid()}"


class Daemon:
    """The router, by its names; the test's own process never was its parent."""

    def __init__(self, folder: Path) -> None:
        self.names = Names(NAME, folder / "run")
        self.environment = {**os.environ, "RIBCAGE_RUN_DIR": str(folder / "run")}

    def ribcage(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ribcage", "-i", NAME, *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def pids(self) -> dict[str, int]:
        """By "worker 0", "control", ..., once each is ready, with a standby and a guardian."""
        with ManagementClient(self.names.control_socket) as client:
            rows = client.call("process.list")["processes"]
        if any(row["state"] not in ("ready", "running") for row in rows) or len(rows) < 6:
            return {}
        return {
            f"worker {row['index']}" if row["role"] == "worker" else row["role"]: row["pid"]
            for row in rows
        }

    def ready(self) -> dict[str, int]:
        return wait_for("all processes ready", self._tried_pids, 20)

    def _tried_pids(self) -> dict[str, int]:
        try:
            return self.pids()
        except Exception:  # between two control processes
            return {}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "r.toml").write_text(config())
    made = Daemon(folder)
    with Lab() as lab:
        demo(lab)
        command = [sys.executable, "-m", "ribcage", "-j", "-i", NAME, "run", "--daemon"]
        done = lab.nodes["r1"].run(
            [*command, "-c", str(folder / "r.toml")],
            env=made.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["log"] == str(made.names.log_file)
        yield made
        made.ribcage("stop")


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def test_each_process_says_what_it_is(daemon: Daemon) -> None:
    """Role and router, in `ps -f` and for pgrep; short names within fifteen characters."""
    pids = daemon.ready()
    assert set(pids) == {"guardian", "supervisor", "control", "standby", "worker 0", "worker 1"}
    for role, pid in pids.items():
        if role != "guardian":  # a program of its own, and small: it sets a short name alone
            assert title(pid) == f"ribcage: {role} ({NAME})"
        assert Path(f"/proc/{pid}/comm").read_text().startswith("ribcage-")


def test_a_standby_that_becomes_control_says_so(daemon: Daemon) -> None:
    """After a kill the promoted process is called control, and a new standby standby."""
    before = daemon.ready()
    os.kill(before["control"], signal.SIGKILL)
    wait_for("the standby in control's place", lambda: daemon._tried_pids().get("control")
             == before["standby"], 20)  # fmt: skip
    pids = daemon.ready()
    assert title(pids["control"]) == f"ribcage: control ({NAME})"
    assert title(pids["standby"]) == f"ribcage: standby ({NAME})"


def test_the_log_has_a_place_without_being_asked_for_one(daemon: Daemon) -> None:
    """Every process writes to ribcage.log in the run directory; only its owner reads it."""
    log = daemon.names.log_file
    pids = daemon.ready()
    assert log.stat().st_mode & 0o777 == 0o600
    for pid in pids.values():
        assert str(Path(f"/proc/{pid}/fd/2").readlink()) == str(log)
    text = log.read_text()
    for role in ("supervisor", "control", "worker-0", "worker-1"):
        assert f" {role}[" in text


def test_a_hangup_opens_the_log_anew_for_every_process(daemon: Daemon) -> None:
    """What logrotate does: move, SIGHUP; nobody goes on in the old file."""
    pids, log = daemon.ready(), daemon.names.log_file
    old = log.with_name("old.log")
    log.rename(old)
    os.kill(pids["supervisor"], signal.SIGHUP)
    wait_for(
        "all in the new file",
        lambda: all(str(Path(f"/proc/{pid}/fd/2").readlink()) == str(log) for pid in pids.values()),
    )
    wait_for("the reload, in the new file", lambda: "reload.done" in log.read_text())
    assert "reload.done" not in old.read_text().rpartition("SIGHUP")[2]
    old.unlink()


def test_an_identical_route_add_publishes_nothing(daemon: Daemon) -> None:
    """ "unchanged", and the generation stays."""
    words = ("route", "add", "203.0.113.0/24", "via", "10.0.2.2")
    daemon.ready()
    assert daemon.ribcage(*words).stdout.startswith("added; published as generation ")
    before = json.loads(daemon.ribcage("-j", "fib", "show").stdout)["published"]["generation"]
    ran = daemon.ribcage(*words)
    assert (ran.returncode, ran.stdout.split(";")[0]) == (0, "unchanged")
    after = json.loads(daemon.ribcage("-j", "fib", "show").stdout)["published"]["generation"]
    assert after == before


def test_a_table_line_with_next_hop_0_says_what_is_wrong(daemon: Daemon, tmp_path: Path) -> None:
    """Counted from 1; the line is named and nothing is applied."""
    table = tmp_path / "table"
    table.write_text("198.18.0.0/24 1\n198.18.1.0/24 0\n")
    ran = daemon.ribcage("route", "load", str(table), "--via", "10.0.2.2")
    assert ran.returncode == 2
    assert "line 2: '198.18.1.0/24 0' names next hop 0; they are counted from 1" in ran.stderr
    assert "nothing was applied" in ran.stderr


def test_rates_are_of_real_packets(daemon: Daemon) -> None:
    """`stats --for`: a second's worth of each counter, and still in balance."""
    ran = daemon.ribcage("-j", "stats", "--for", "0.5", "--check")
    document: dict[str, Any] = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert document["seconds"] >= 0.5
    assert set(document["rates"]["workers"]) == {"worker0", "worker1", "total"}
    assert {"eth1", "eth2"} <= set(document["rates"]["ports"])


def test_stop_leaves_nothing_of_it(daemon: Daemon) -> None:
    """The last test of this file: run directory and log are gone."""
    ran = daemon.ribcage("stop")
    assert (ran.returncode, ran.stdout) == (0, f'router "{NAME}" has stopped\n')
    assert not daemon.names.run_dir.exists()

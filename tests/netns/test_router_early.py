"""What is begun before the configuration is read: it helps a start, and is nothing without one."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import Router, wait_for
from ribcage.lab.topology.topologies import demo
from tests.netns.router_rig import config

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
WAYS = ["--foreground", "--daemon"]
EARLY = "-m ribcage.control "  # as its command line begins, until it is told what it is


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        demo(made)
        yield made


class Start:
    """`ribcage -j run` that reads its configuration from a pipe of ours, and all it started."""

    def __init__(self, lab: Lab, folder: Path, way: str) -> None:
        self.folder = folder
        self.mark = f"RIBCAGE_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.log = folder / "rt.log"
        words = ["-j", "-i", "rt", "run", "-c", "-", way]
        words += ["--log-file", str(self.log)] if way == "--daemon" else []
        self.router = Router(lab.nodes["r1"], config(), "rt", folder, folder / "run")
        self.router.let_pass()
        self.error = folder / f"stderr-{value}"
        with self.error.open("wb") as error:
            self.command = lab.nodes["r1"].popen(
                [sys.executable, "-m", "ribcage", *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=error,
                env={**os.environ, "RIBCAGE_RUN_DIR": str(folder / "run"), name: value},
            )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """pid -> command line of each that lives and has our mark."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(folder.name)] = line
            except OSError:
                continue  # gone meanwhile
        return found

    def early(self) -> int:
        """The process that loads what control needs, once it is there."""

        def look() -> int | None:
            return next((pid for pid, line in self.processes().items() if EARLY in line), None)

        return wait_for("an early process", look)

    def go_on(self, text: str) -> None:
        assert self.command.stdin is not None
        self.command.stdin.write(text.encode())
        self.command.stdin.close()

    def answer(self, seconds: float = 20.0) -> tuple[int, dict[str, Any]]:
        """Exit status and the one document; everybody who held the pipe has let it go."""
        assert self.command.stdout is not None
        out = self.command.stdout.read()
        return self.command.wait(seconds), json.loads(out)

    def gone(self) -> None:
        wait_for(f"the end of {self.processes()}", lambda: not self.processes())

    def stop(self) -> None:
        """In order, whoever is whose child."""
        os.kill(self.router.pid("supervisor"), signal.SIGTERM)
        self.gone()


@pytest.mark.parametrize("way", WAYS)
def test_an_error_in_the_file_is_told_and_nothing_was_made(
    way: str, lab: Lab, tmp_path: Path
) -> None:
    """Exit 3 with the error, although control's process is there already; it ends with the command,
    says nothing, and nobody has made as much as a folder."""
    start = Start(lab, tmp_path, way)
    start.early()
    start.go_on("schema = 1\n[workers]\ncount = 'many'\n")
    status, document = start.answer()
    assert (status, document["error"]["code"]) == (3, "E_CONFIG")
    start.gone()
    assert "Traceback" not in start.error.read_text()
    assert not (tmp_path / "run").exists()
    assert not start.log.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_is_killed_leaves_nothing(way: str, lab: Lab, tmp_path: Path) -> None:
    """kill -9 while the file is read: what was begun ends by itself."""
    start = Start(lab, tmp_path, way)
    start.early()
    start.command.kill()
    start.command.wait()
    start.gone()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_router_starts_without_its_early_control(way: str, lab: Lab, tmp_path: Path) -> None:
    """Killed while the file is read: the supervisor forks one, as it does all later ones."""
    start = Start(lab, tmp_path, way)
    os.kill(start.early(), signal.SIGKILL)
    start.go_on(config())
    start.router.wait_ready()
    log = start.log if way == "--daemon" else start.error
    assert "control.not-early" in log.read_text()
    assert start.router.call("system.version")["takeover"]["fresh"] is True
    start.stop()


@pytest.mark.parametrize("way", WAYS)
def test_the_early_control_is_control_as_any_other(way: str, lab: Lab, tmp_path: Path) -> None:
    """The same process, a child of the supervisor, with control's rights and title; its death is
    told with its cause, and the standby goes on."""
    start = Start(lab, tmp_path, way)
    early = start.early()
    start.go_on(config())
    start.router.wait_ready()
    row = next(row for row in start.router.processes() if row["role"] == "control")
    assert row["pid"] == early
    status = Path(f"/proc/{early}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["PPid"]) == start.router.pid("supervisor")
    assert facts["Name"] == "ribcage-control"
    assert "ribcage: control (rt)" in Path(f"/proc/{early}/cmdline").read_text()

    def standby() -> int | None:
        rows = start.router.processes()
        return next((r["pid"] for r in rows if r["role"] == "standby" and r["state"] == "ready"), 0)

    forked = wait_for("a standby", standby)
    other = Path(f"/proc/{forked}/status").read_text()
    theirs = dict(line.split(":\t", 1) for line in other.splitlines() if ":\t" in line)
    same = ["Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Umask"]
    same += ["Seccomp", "SigBlk"]
    assert {name: facts.get(name) for name in same} == {name: theirs.get(name) for name in same}
    # 32 and 33 are the C library's own: posix_spawn() leaves one of them ignored.
    ignored = [int(found["SigIgn"], 16) & (1 << 31) - 1 for found in (facts, theirs)]
    assert ignored[0] == ignored[1]
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in (early, forked)]
    assert limits[0] == limits[1]
    folders = [os.readlink(f"/proc/{pid}/cwd") for pid in (early, forked)]  # noqa: PTH115
    assert folders[0] == folders[1]
    os.kill(early, signal.SIGKILL)
    start.router.wait_ready()

    def told() -> str | None:
        rows = start.router.processes()
        return next((str(r["last_exit"]) for r in rows if r["role"] == "control"), None)

    assert "SIGKILL" in wait_for("a last exit", told)
    start.stop()


@pytest.mark.parametrize("way", WAYS)
def test_of_two_starts_at_once_one_is_refused(way: str, lab: Lab, tmp_path: Path) -> None:
    """Both have begun before either reads its file: one router, exit 8 for the other, which leaves
    nothing and takes nothing away."""
    starts = [Start(lab, tmp_path, way) for _ in range(2)]
    for start in starts:
        start.early()
    for start in starts:
        start.go_on(config())
    starts[0].router.wait_ready()

    def refused() -> "list[Start]":
        return [one for one in starts if one.command.poll() == 8]

    wait_for("one that is refused", refused)
    loser = refused()[0]
    (winner,) = (one for one in starts if one is not loser)
    assert loser.answer()[1]["error"]["code"] == "E_RUNNING"
    loser.gone()
    assert {row["role"] for row in winner.router.wait_ready()} >= {
        "supervisor",
        "control",
        "worker",
    }
    winner.stop()
    assert not (tmp_path / "run" / "rt").exists()


def test_a_daemon_that_is_killed_before_it_began(lab: Lab, tmp_path: Path) -> None:
    """The command says that there is no router, at once."""
    start = Start(lab, tmp_path, "--daemon")
    start.early()
    found = [pid for pid, line in start.processes().items() if "ribcage.daemon" in line]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    start.go_on(config())
    status, document = start.answer()
    assert (status, document["error"]["code"]) == (7, "E_START")
    assert time.monotonic() - begin < 10
    start.gone()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", WAYS)
def test_no_ring_is_made_in_vain(way: str, lab: Lab, tmp_path: Path) -> None:
    """Rings are made before control asks for ports; once the router is ready there is one a port
    and worker, and a steering socket a port."""
    start = Start(lab, tmp_path, way)
    start.go_on(config())
    start.router.wait_ready()

    def sockets() -> int:
        return len(lab.nodes["r1"].run(["cat", "/proc/net/packet"]).stdout.splitlines()) - 1

    wait_for("three ports of two workers", lambda: sockets() == 3 * (2 + 1))
    start.stop()

"""A whole router over a reboot: what was added at run time is there again, and carries packets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import Rig, config, lab_and_router, stopped

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
KEEPS = config("[rib]\ncheckpoint = true\ncheckpoint_interval = '1s'\n")
HOPS = [{"via": "10.0.2.2"}]
PREFIX = "203.0.113.0/24"


def ribcage(built: Rig, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ribcage", "-i", "rt", *words],
        env=built.router.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def added(built: Rig) -> set[str]:
    rows = built.router.call("route.list", source="added")["routes"]
    return {row["dst"] for row in rows if row["in_fib"]}


def reboot(built: Rig) -> None:
    """Everybody is killed at once, as a power cut does it: no table is taken over from that run."""
    names = built.router.names
    children = json.loads(names.state_file.read_text())["children"]
    assert built.router.process is not None
    os.kill(json.loads(names.state_file.read_text())["supervisor"], signal.SIGKILL)
    for row in children:
        os.kill(row["pid"], signal.SIGKILL)
    built.router.process.wait(10)
    wait_for("all gone", lambda: not any(Path(f"/proc/{row['pid']}").exists() for row in children))


def restored(built: Rig) -> Any:
    return built.router.call("system.version")["checkpoint"]["restored"]


def test_routes_outlive_a_stop_and_a_power_cut(tmp_path: Path) -> None:
    """Added, stopped, started: there and used. Added, written on demand, power cut: there too.
    One that was deleted before the stop stays away."""
    with lab_and_router(tmp_path, KEEPS) as built:
        router = built.router
        built.h2.ip("addr add 203.0.113.1/32 dev lo")
        router.start()
        assert restored(built) is None
        router.call("route.add", dst=PREFIX, nexthops=HOPS)
        router.call("route.add", dst="198.51.100.0/24", nexthops=HOPS)
        router.call("route.del", dst="198.51.100.0/24")
        stopped(built)
        assert router.names.checkpoint.stat().st_mode & 0o777 == 0o600

        router.start()
        assert restored(built)["routes"] == 1
        assert added(built) == {PREFIX}
        built.echo("203.0.113.1")
        router.call("route.add", dst="198.51.101.0/24", nexthops=HOPS)
        ran = ribcage(built, "-j", "checkpoint")
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["routes"] == 2
        assert ribcage(built, "checkpoint").stdout.startswith("2 routes, ")
        reboot(built)

        router.start()
        assert added(built) == {PREFIX, "198.51.101.0/24"}
        built.echo("203.0.113.1")
        built.verified()
        stopped(built)


def test_a_change_is_written_after_the_interval(tmp_path: Path) -> None:
    """Nobody asks: the next write has it. A killed control takes the table from its segment, and
    the file is not read again."""
    with lab_and_router(tmp_path, KEEPS) as built:
        built.router.start()
        built.router.call("route.add", dst=PREFIX, nexthops=HOPS)
        wait_for("the file", built.router.names.checkpoint.exists)
        built.standby_ready()
        old = built.router.kill("control")
        built.successor("control", 0, old)
        assert added(built) == {PREFIX}
        wait_for("taken over", lambda: built.router.call("system.version")["takeover"])
        assert restored(built) is None
        before = built.router.names.checkpoint.stat().st_mtime_ns
        built.router.call("route.del", dst=PREFIX)
        wait_for("written", lambda: built.router.names.checkpoint.stat().st_mtime_ns > before)
        stopped(built)
        built.router.start()
        assert added(built) == set()
        stopped(built)


def test_a_damaged_file_costs_no_start(tmp_path: Path) -> None:
    """It is told and kept aside; the router starts without it and forwards."""
    with lab_and_router(tmp_path, KEEPS) as built:
        path = built.router.names.checkpoint
        path.parent.mkdir(parents=True)
        path.write_bytes(b"RIBCKPT\n" + bytes(100))
        path.chmod(0o600)
        built.router.start()
        (line,) = built.log_lines("checkpoint.refused")
        assert "is damaged" in line
        assert path.with_name("rib.checkpoint.refused").exists()
        built.echo()
        stopped(built)


def test_without_the_setting_nothing_is_kept_and_the_command_says_so(tmp_path: Path) -> None:
    """The default: no folder, no file, exit 1 with the setting's name."""
    with lab_and_router(tmp_path, config()) as built:
        built.router.start()
        ran = ribcage(built, "-j", "checkpoint")
        error = json.loads(ran.stdout)["error"]
        assert (ran.returncode, error["code"]) == (1, "E_NO_CHECKPOINT")
        assert "checkpoint = true" in error["hint"]
        stopped(built)
        assert not built.router.names.state_dir.exists()

"""`ribcage doctor` tries things, says what it found, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.machine import checks
from ribcage.cli.machine.checks import Finding
from ribcage.cli.machine.trial import in_child


def ownerless(path: Path) -> bool:
    """Still there, and its maker is us or has ended: another doctor may be at work just now."""
    maker = int(path.name.rpartition(".")[2])
    return path.exists() and (maker == os.getpid() or not Path(f"/proc/{maker}").exists())


def test_every_check_gives_a_verdict_and_leaves_nothing(ribcage: Any) -> None:
    """Text and JSON agree; no shared object, namespace or interface stays."""
    before = (set(Path("/dev/shm").iterdir()), Path("/proc/self/ns/net").readlink())
    ran = ribcage("-j", "doctor")
    after = (set(Path("/dev/shm").iterdir()), Path("/proc/self/ns/net").readlink())
    assert not [path for path in after[0] - before[0] if "doctor" in path.name and ownerless(path)]
    assert before[1] == after[1]
    document = ran.document
    verdicts = {check["name"]: check["verdict"] for check in document["checks"]}
    assert len(verdicts) == 14
    assert set(verdicts.values()) <= {"ok", "warn", "skip", "fail"}
    assert document["ok"] == ("fail" not in verdicts.values())
    assert ran.status == (0 if document["ok"] else 5)
    assert verdicts["compiled module"] == "ok"


def test_net_admin_and_net_raw_are_enough(tmp_path: Path) -> None:
    """A container with these two and no way to a namespace can run a router: no FAIL, exit 0, and
    what was tried in our namespace is taken away again."""
    limits = "".join(
        f"echo 0 > /proc/sys/user/max_{kind}_namespaces && " for kind in ("net", "ipc", "user")
    )
    two = "-all,+net_admin,+net_raw"
    doctor = f"{sys.executable} -m ribcage -j doctor"
    look = "ip -br link >&2; nft list ruleset >&2"
    inside = f"{limits} ip link set lo up && exec setpriv --bounding-set {two} --inh-caps {two}"
    inside += f" sh -c '{doctor}; {look}'"
    apart = ["unshare", "--user", "--map-root-user", "-m", "-n", "-i", "sh", "-c"]
    possible = subprocess.run([*apart, "true"], capture_output=True, text=True, check=False)
    if possible.returncode:
        pytest.skip(possible.stderr[-200:])
    done = subprocess.run([*apart, inside], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr[-2000:]
    document = json.loads(done.stdout)
    verdicts = {check["name"]: check["verdict"] for check in document["checks"]}
    assert document["ok"], document
    assert verdicts["user namespaces"] == verdicts["users of processes"] == "warn"
    for name in ("capabilities", "AF_PACKET rings", "veth", "nftables", "seccomp"):
        assert verdicts[name] == "ok"
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["lo"]


def test_a_missing_thing_is_exit_5_with_what_to_do(ribcage: Any, monkeypatch: Any) -> None:
    """FAIL lines carry advice, and the last line names them."""
    failed = Finding("veth", "FAIL", "not supported", "modprobe veth")
    for name in ("user_namespaces", "packet_ring", "nftables", "semaphores", "compiled_module"):
        monkeypatch.setattr(checks, name, lambda: Finding("x", "ok", "y"))
    monkeypatch.setattr(checks, "veth", lambda: failed)
    ran = ribcage("doctor")
    assert ran.status == 5
    lines = ran.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL  veth"))
    assert lines[at + 1] == "      -> modprobe veth"
    assert lines[-1] == "FAIL  veth"


def test_shared_memory_is_measured_against_what_is_configured() -> None:
    """More than there is: FAIL with both numbers."""
    assert checks.shared_memory(1)().verdict == "ok"
    finding = checks.shared_memory(1 << 60)()
    assert finding.verdict == "FAIL"
    assert "1099511627776 MiB" in finding.detail


def test_a_check_may_crash_or_hang_in_its_child() -> None:
    """The caller lives on and is told."""

    def hang() -> str:
        os.read(os.pipe()[0], 1)
        return ""

    def crash() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    def refuse() -> str:
        raise PermissionError(1, "Operation not permitted")

    assert in_child(lambda: "fine") == (True, "fine")
    assert in_child(refuse) == (False, "Operation not permitted")
    assert in_child(hang, timeout=0.2) == (False, "no result within 0.2 s")
    assert in_child(crash) == (False, "the check ended with status -9")


def test_a_run_directory_with_too_long_a_name_is_told(
    monkeypatch: pytest.MonkeyPatch, ribcage: Any
) -> None:
    """What ends a start (E_RUN_DIR) is no news then: doctor has said it, with the same advice."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", "/tmp/" + "x" * 100)
    ran = ribcage("-j", "doctor")
    (found,) = [one for one in ran.document["checks"] if one["name"] == "run directory"]
    assert ran.status == 5 and found["verdict"] == "fail"
    assert "the name of a socket may have 107" in found["detail"]
    assert "bytes shorter" in found["advice"]


def test_no_queue_to_be_had_is_told() -> None:
    """kernel.msgmni of an IPC namespace is 0: doctor has tried, and names the setting."""
    command = ["unshare", "--user", "--map-root-user", "-i", "sh", "-c"]
    script = f"echo 0 > /proc/sys/kernel/msgmni && {sys.executable} -m ribcage -j doctor"
    done = subprocess.run([*command, script], capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(done.stderr[-200:])
    (found,) = [c for c in json.loads(done.stdout)["checks"] if c["name"] == "SysV queues"]
    assert found["verdict"] == "fail" and "msgmni" in found["advice"]

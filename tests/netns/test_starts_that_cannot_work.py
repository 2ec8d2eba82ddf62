"""A start that cannot work ends at once, with its code and what to do, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import wait_for
from ribcage.lab.topology.topologies import demo
from tests.netns.router_rig import config

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
WAYS = ["--foreground", "--daemon"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        demo(made)
        yield made


def leftovers(lab: Lab, base: Path) -> list[str]:
    node = lab.nodes["r1"]
    found = node.run(["ls", "/dev/shm"]).stdout.split()
    found += [row for row in node.run(["ipcs", "-q"]).stdout.splitlines() if row.startswith("0x")]
    found += [row for row in node.run(["ipcs", "-s"]).stdout.splitlines() if row.startswith("0x")]
    return found + [str(path) for path in base.rglob("*")]


def start(
    lab: Lab, folder: Path, way: str, before: str = "true", base: Path | None = None
) -> tuple[int, dict[str, Any], float]:
    """`ribcage -j run` after a line of shell: exit status, its one document, seconds."""
    path = folder / "rt.toml"
    path.write_text(config())
    command = f"{sys.executable} -m ribcage -j -i rt run -c {path} {way}"
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(base or folder / "run")}
    began = time.monotonic()
    process = lab.nodes["r1"].popen(
        ["sh", "-c", f"{before} && exec {command}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, err = process.communicate(timeout=20)
        raise AssertionError(f"it goes on: {out!r} {err[-3000:].decode()}") from None
    took = time.monotonic() - began
    assert b"Traceback" not in err, err.decode()
    return process.returncode, json.loads(out), took


CASES = {
    "a small /dev/shm": (
        "mount -t tmpfs -o size=1m tmpfs /dev/shm", 5, "E_SHM_FULL", "/dev/shm"),
    "no queue to be had": (
        "echo 0 > /proc/sys/kernel/msgmni", 5, "E_QUEUE", "msgmni"),
    "a squatted table": (
        "touch /dev/shm/ribcage.rt.fib", 8, "E_TAKEN", "remove the object"),
    "a squatted semaphore": (
        "touch /dev/shm/sem.ribcage.rt.writer", 8, "E_TAKEN", "remove the object"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_the_machine_lacks_something(case: str, way: str, lab: Lab, tmp_path: Path) -> None:
    """Exit status and code as documented, the fix named, on stdout as JSON; in seconds; nothing is
    left but what was there."""
    before, status, code, advice = CASES[case]
    if "msgmni" in before and os.geteuid() != 0:
        pytest.skip("needs root: kernel.msgmni of another IPC namespace")
    got, document, took = start(lab, tmp_path, way, before)
    assert (got, document["error"]["code"]) == (status, code), document
    assert advice in f"{document['error']['message']} {document['error']['hint']}"
    assert took < 8
    squatted = [before.rpartition("/")[2]] if before.startswith("touch") else []
    assert leftovers(lab, tmp_path / "run") == squatted


@pytest.mark.parametrize("way", WAYS)
def test_a_run_directory_with_too_long_a_name(way: str, lab: Lab, tmp_path: Path) -> None:
    """The kernel's limit of a socket's name is told before anything is made."""
    base = tmp_path / ("d" * 60) / ("e" * 60)
    got, document, took = start(lab, tmp_path, way, base=base)
    assert (got, document["error"]["code"]) == (5, "E_RUN_DIR")
    assert "bytes shorter" in document["error"]["hint"]
    assert took < 8
    assert not base.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_full_run_directory(way: str, lab: Lab, tmp_path: Path) -> None:
    """No room for as much as a socket: an error with its code, not a traceback."""
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    fill = f"mount -t tmpfs -o size=4k,nr_inodes=3,mode=700 tmpfs {base} && touch {base}/x"
    got, document, took = start(lab, tmp_path, way, fill, base)
    assert got == 5, document
    assert document["error"]["code"] == "E_RUN_DIR"
    assert took < 8


def test_a_start_that_failed_blocks_no_other(lab: Lab, tmp_path: Path) -> None:
    """The next one, once there is room, is ready; -j says so as JSON; stop leaves nothing."""
    got, _, _ = start(lab, tmp_path, "--daemon", CASES["a small /dev/shm"][0])
    assert got == 5
    got, document, _ = start(lab, tmp_path, "--daemon", "umount /dev/shm")
    assert got == 0
    assert document["ready"] is True
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(tmp_path / "run")}
    done = subprocess.run([sys.executable, "-m", "ribcage", "-j", "-i", "rt", "stop"], env=env,
                          capture_output=True, timeout=30, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stopped"] is True
    assert leftovers(lab, tmp_path / "run") == []


def test_in_the_foreground_the_one_document_says_ready(lab: Lab, tmp_path: Path) -> None:
    """It comes when the router is ready, not before; SIGTERM then ends it with 0."""
    path = tmp_path / "rt.toml"
    path.write_text(config())
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(tmp_path / "run")}
    process = lab.nodes["r1"].popen(
        [sys.executable, "-m", "ribcage", "-j", "-i", "rt", "run", "-c", str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    )  # fmt: skip
    try:
        document = json.loads(process.stdout.readline())
        assert document == {"schema": 1, "instance": "rt", "pid": process.pid, "ready": True}
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b""), err
    wait_for("nothing left", lambda: leftovers(lab, tmp_path / "run") == [])


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1, 0.3])
def test_a_signal_while_python_loads_is_no_traceback(
    delay: float, lab: Lab, tmp_path: Path
) -> None:
    """Ctrl-C at any moment of a start: it ends, says no more than that, and leaves nothing."""
    path = tmp_path / "rt.toml"
    path.write_text(config())
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(tmp_path / "run")}
    process = lab.nodes["r1"].popen(
        [sys.executable, "-m", "ribcage", "-i", "rt", "run", "-c", str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    )  # fmt: skip
    line = Path(f"/proc/{process.pid}/cmdline")
    wait_for("the second start of Python", lambda: b"ribcage.roles" in line.read_bytes())
    time.sleep(delay)  # any moment of it will do
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert b"Traceback" not in err, err.decode()
    assert leftovers(lab, tmp_path / "run") == []

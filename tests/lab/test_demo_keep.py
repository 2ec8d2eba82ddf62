"""`make demo KEEP=1` and STOP=1: the lab stays for the same user's commands, and then is gone."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory and a folder for temporary files of this test's own, and a small table."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("RIBCAGE_TABLES", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    """Its standard output is a pipe that must end: what stays behind may not hold it."""
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=120, check=False
    )


def _left(place: Path) -> list[Path]:
    return [*(place / "tmp").iterdir(), *(place / "run").glob("**/*")]


def test_a_kept_lab_answers_until_it_is_stopped(place: Path) -> None:
    """What "try next" names works from outside; a second one is refused; STOP leaves nothing."""
    done = _run("ribcage.lab.demo", "--keep")
    assert done.returncode == 0, done
    assert "make demo STOP=1" in done.stdout
    try:
        for words in ("ps --maps", "route get 10.0.3.2", "stats --check", "fib verify"):
            ran = _run("ribcage", "-i", "demo", *words.split())
            assert ran.returncode == 0, (words, ran)
        ran = _run(
            "ribcage",
            "-i",
            "demo",
            *["explain", "10.0.1.2", "10.0.3.2", "--in", "eth1", "--ttl", "1"],
        )
        assert ran.returncode == 1 and "ttl-expired" in ran.stdout
        again = _run("ribcage.lab.demo", "--keep")
        assert again.returncode == 1 and "make demo STOP=1" in again.stderr
        listed = _run("ribcage", "-j", "-i", "demo", "ps")
        pids = [one["pid"] for one in json.loads(listed.stdout)["processes"]]
    finally:
        stopped = _run("ribcage.lab.demo", "--stop")
    assert stopped.returncode == 0 and "is down" in stopped.stdout, stopped
    assert _left(place) == []
    wait_for("all its processes are gone", lambda: not any(_alive(pid) for pid in pids))
    assert _run("ribcage.lab.demo", "--stop").returncode == 1


def test_what_a_killed_holder_leaves_is_removed_by_stop(place: Path) -> None:
    """The namespaces go with the holder; STOP=1 removes the files it could not."""
    assert _run("ribcage.lab.demo", "--keep").returncode == 0
    note = json.loads((place / "run" / "demo-lab.json").read_text())
    os.kill(note["pid"], signal.SIGKILL)
    wait_for("the holder is gone", lambda: not _alive(note["pid"]))
    stopped = _run("ribcage.lab.demo", "--stop")
    assert stopped.returncode == 0 and "had ended already" in stopped.stderr
    assert _left(place) == []


def _alive(pid: int) -> bool:
    """Zombies do not count: whoever is process 1 here takes its time to reap."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"

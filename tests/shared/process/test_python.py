"""A Python program of ours sees nothing of the folder and the environment it is started in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ribcage.shared.process.python import python

COMMAND = str(Path(sys.executable).parent / "ribcage")
NAMES = (
    "json",
    "re",
    "typing",
    "typer",
    "ribcage",
    "sitecustomize",
    "usercustomize",
    "_cffi_backend",
)


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """Modules that note that they ran, where Python looks first when it is not told otherwise."""
    user = tmp_path / "base/lib/python3.11/site-packages"
    for folder in (tmp_path / "traps", user):
        folder.mkdir(parents=True)
        for name in NAMES:
            text = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + chr(10))\n"
            (folder / f"{name}.py").write_text(text)
    return tmp_path / "traps"


def started(traps: Path, command: list[str]) -> tuple[int, bool]:
    """Exit status, and whether a trap ran."""
    environment = {
        **os.environ,
        "HOME": str(traps.parent),
        "PYTHONPATH": str(traps),
        "PYTHONUSERBASE": str(traps.parent / "base"),
        "PYTHONSTARTUP": str(traps / "json.py"),
        "RIBCAGE_RUN_DIR": str(traps.parent),
    }
    done = subprocess.run(command, cwd=traps, env=environment, capture_output=True, timeout=60)
    return done.returncode, (traps.parent / "ran").exists()


@pytest.mark.parametrize(
    "command",
    [
        [COMMAND, "version"],
        [COMMAND, "config", "check", "ribcage.toml"],
        python("ribcage", "config", "compile", "--plan", "ribcage.toml"),
        python("ribcage.roles", "undo", "nowhere"),
        python("ribcage.lab.probe.echo", "--help"),
    ],
    ids=["command", "check", "compile", "undo", "probe"],
)
def test_no_module_that_lies_about_runs(traps: Path, command: list[str]) -> None:
    """Each way in: the current folder, PYTHONPATH, the user's own packages, PYTHONSTARTUP."""
    (traps / "ribcage.toml").write_text("schema = 1\n")
    assert started(traps, command) == (0, False)


def test_the_traps_work(traps: Path) -> None:
    """Python as it comes runs them: the test above can fail."""
    assert started(traps, [sys.executable, "-c", "import json"])[1]


def test_the_supervisor_is_started_so(traps: Path) -> None:
    """`run` executes it: here with a plan it refuses, after all its imports."""
    command = python("ribcage.roles", "supervisor", "--plan-fd", "99")
    assert started(traps, command) == (3, False)

"""Standard streams that are closed, full, or left by their reader: a status, never a traceback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROW = {"dst": "10.0.0.0/8", "protocol": "static", "nexthops": [{"via": "x" * 1000}]}
COMMANDS = [["route", "show"], ["-j", "route", "show"], ["version"], ["ps", "-j"], ["--help"],
            ["help", "error", "E107"], ["stats"], ["route", "add", "10.9.0.0/16", "dev", "e"],
            ["config", "compile", "--plan", str(ROOT / "docs/ribcage.toml")]]  # fmt: skip


@pytest.fixture
def shell(router: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `ribcage WORDS` under sh with the redirections given."""
    router.answers["route.list"] = {"routes": [ROW] * 400, "cursor": None}
    router.answers["process.list"] = {"processes": []}
    router.answers["stats.show"] = {"workers": [], "balanced": True}

    def run(words: list[str], around: str, **env: str) -> subprocess.CompletedProcess[str]:
        line = " ".join([sys.executable, "-m", "ribcage", *words])
        return subprocess.run(
            ["bash", "-c", around.replace("@", line)], capture_output=True, text=True, timeout=60,
            check=False, env={**os.environ, **env},
        )  # fmt: skip

    return run


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["route", "show"], ["-j", "route", "show"]], ids=" ".join)
def test_a_reader_that_leaves_ends_the_command_quietly(
    words: list[str], unbuffered: str, shell: Any
) -> None:
    """`| head -c 5`: 141, as other tools of a pipeline, and not a word."""
    line = "@ | head -c 5 >/dev/null; echo ${PIPESTATUS[0]}"
    ran = shell(words, line, PYTHONUNBUFFERED=unbuffered)
    assert (ran.stdout, ran.stderr) == (f"{128 + signal.SIGPIPE}\n", "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_standard_output_is_told(words: list[str], shell: Any) -> None:
    """/dev/full: exit 9, with the kernel's reason; never "a bug in ribcage"."""
    ran = shell(words, "@ >/dev/full")
    assert ran.returncode == 9
    first = ran.stderr.splitlines()[-2]
    assert first.startswith("error[E_OUTPUT]: ")
    assert "No space left on device" in first
    assert "bug" not in ran.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_closed_standard_output_is_told(words: list[str], shell: Any) -> None:
    """`>&-`: the same; and the router's answer is not written to a socket of ours instead."""
    ran = shell(words, "@ >&-")
    assert ran.returncode == 9
    assert "error[E_OUTPUT]" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("around", ["@ 2>&-", "@ 2>/dev/full", "@ <&- 2>&-"])
def test_without_standard_error_the_status_still_counts(around: str, shell: Any) -> None:
    """Nobody hears the error; the exit status says it."""
    assert shell(["rout"], around).returncode == 2
    assert shell(["route", "show"], around).returncode == 0


def test_with_no_stream_at_all_nothing_crashes(shell: Any) -> None:
    """All three closed: exit 9, because there was an answer."""
    assert shell(["version"], "@ <&- >&- 2>&-").returncode == 9


@pytest.mark.parametrize(
    ("words", "status"), [(["route", "load", "-"], 2), (["config", "check", "-"], 2)]
)
def test_a_closed_standard_input_is_told(words: list[str], status: int, shell: Any) -> None:
    """`- <&-`: exit 2, and what to do."""
    ran = shell(["-j", *words], "@ <&-")
    assert ran.returncode == status
    error = json.loads(ran.stdout)["error"]
    assert "standard input is closed" in error["message"]
    assert "FILE" in error["hint"]


def test_a_pipe_that_others_made_non_blocking_gets_everything(shell: Any) -> None:
    """O_NONBLOCK on a shared pipe is waited for, not an error."""
    script = (
        "import os, subprocess, sys, time\n"
        "r, w = os.pipe(); os.set_blocking(w, False)\n"
        "p = subprocess.Popen(sys.argv[1:], stdout=w); os.close(w); time.sleep(0.5)\n"
        "n = 0\n"
        "while d := os.read(r, 65536): n += len(d)\n"
        "print(n > 400_000, p.wait())\n"
    )
    ran = shell(["route", "show"], f"{sys.executable} -c '{script}' @")
    assert (ran.stdout, ran.stderr) == ("True 0\n", "")

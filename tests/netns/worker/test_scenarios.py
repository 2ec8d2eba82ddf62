"""The worker with real veth pairs: each scenario of worker_scenarios.py in namespaces of its own.

Rootless: `unshare -Urni` gives the right to make links and packet sockets, and takes everything
away when the scenario's process ends, however it ends.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "worker_scenarios.py"
UNSHARE = ["unshare", "-Urni", "--kill-child"]
HELPERS = {"frame", "wait_counted", "send_all", "faults_told"}

pytestmark = pytest.mark.netns


def scenarios() -> list[str]:
    functions = [n for n in ast.parse(SCRIPT.read_text()).body if isinstance(n, ast.FunctionDef)]
    return [f.name for f in functions if f.name not in HELPERS]


@cache
def refusal() -> str:
    """Why this machine cannot make namespaces; empty when it can."""
    probe = [*UNSHARE, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1"]
    try:
        run = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return str(error)
    return run.stderr.strip() if run.returncode else ""


@pytest.mark.parametrize("scenario", scenarios())
def test_worker(scenario: str) -> None:
    """The promise is the scenario's docstring."""
    if refusal():
        pytest.skip(f"no namespaces here: {refusal()}")
    run = subprocess.run(
        [*UNSHARE, sys.executable, str(SCRIPT), scenario],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for line in run.stdout.splitlines():
        if line.startswith("SKIP: "):
            pytest.skip(line.removeprefix("SKIP: "))

"""The worker with real veth pairs: each scenario of the modules here in namespaces of its own.

Rootless: `unshare -Urni` gives the right to make links and packet sockets, and takes everything
away when the scenario's process ends, however it ends.
"""

import ast
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODULES = ("forwarding", "drops", "holding", "life")
UNSHARE = ["unshare", "-Urni", "--kill-child"]

pytestmark = pytest.mark.netns


def scenarios() -> list[tuple[str, str]]:
    """(module, function): those without arguments."""
    return [
        (module, node.name)
        for module in MODULES
        for node in ast.parse((HERE / f"{module}.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.args.args
    ]


@cache
def refusal() -> str:
    """Why this machine cannot make namespaces; empty when it can."""
    probe = [*UNSHARE, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1"]
    try:
        run = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return str(error)
    return run.stderr.strip() if run.returncode else ""


@pytest.mark.parametrize(("module", "scenario"), scenarios())
def test_worker(module: str, scenario: str) -> None:
    """The promise is the scenario's docstring."""
    if refusal():
        pytest.skip(f"no namespaces here: {refusal()}")
    command = [*UNSHARE, sys.executable, "-m", f"tests.netns.worker.{module}", scenario]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}\nrun it alone: {shlex.join(command)}"
    for line in run.stdout.splitlines():
        if line.startswith("SKIP: "):
            pytest.skip(line.removeprefix("SKIP: "))

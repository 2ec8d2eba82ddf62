"""`explain` and what happens: random packets through a real worker in namespaces of their own.

Alone: unshare -Urni .venv/bin/python -m tests.netns.worker.explain_run each 100000 7
"""

import shlex
import subprocess
import sys

import pytest

from tests.netns.worker.test_scenarios import ROOT, UNSHARE, refusal

SEED = "7"

pytestmark = pytest.mark.netns


@pytest.mark.parametrize(
    ("scenario", "packets"), [("each", 100_000), ("mixed", 10_000), ("limited", 3_000)]
)
def test_explain_tells_what_happens(scenario: str, packets: int) -> None:
    """Verdict, reason, prefix, egress port, every byte that leaves, ICMP errors: 0 differences."""
    if refusal():
        pytest.skip(f"no namespaces here: {refusal()}")
    command = [*UNSHARE, sys.executable, "-m", "tests.netns.worker.explain_run", scenario]
    command += [str(packets), SEED]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert run.returncode == 0, f"{run.stdout}{run.stderr}\nrun it alone: {shlex.join(command)}"

"""`explain` and what happens: random packets through a real worker in namespaces of their own.

Alone: unshare -Urni .venv/bin/python tests/netns/explain_run.py each 100000 7
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.test_worker_forwarding import UNSHARE, refusal

SCRIPT = Path(__file__).resolve().parent / "explain_run.py"
SEED = "7"

pytestmark = pytest.mark.netns


@pytest.mark.parametrize(
    ("scenario", "packets"), [("each", 100_000), ("mixed", 10_000), ("limited", 3_000)]
)
def test_explain_tells_what_happens(scenario: str, packets: int) -> None:
    """Verdict, reason, prefix, egress port, every byte that leaves, ICMP errors: 0 differences."""
    if refusal():
        pytest.skip(f"no namespaces here: {refusal()}")
    run = subprocess.run(
        [*UNSHARE, sys.executable, str(SCRIPT), scenario, str(packets), SEED],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr

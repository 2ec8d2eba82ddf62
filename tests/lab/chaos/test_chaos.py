"""A short chaos run: a real router, real packets, random faults; nothing lost that may not be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import available

POSSIBLE, REASON = available()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not POSSIBLE, reason=REASON),
]

MINUTES = 1.0  # of all kinds that a run draws from: each at most once or twice


@pytest.mark.timeout(300)
def test_a_router_survives_random_faults_under_traffic(tmp_path: Path) -> None:
    """Nothing lost outside windows, nothing misrouted, no route forgotten, no traceback, nothing
    left behind, and all within so many seconds of its own."""
    command = [sys.executable, "-m", "ribcage", "-q", "-j", "lab", "chaos"]
    command += ["--minutes", str(MINUTES), "--seed", "8", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert "error" not in document, document
    bad = {key: document[key] for key in ("summary", "examples", "left_behind")}
    bad["faults"] = [fault for fault in document["faults"]
                     if fault["unhealed"] or fault["lost_outside_windows"]]  # fmt: skip
    assert document["passed"], json.dumps(bad, indent=1)
    assert done.returncode == 0
    assert document["summary"]["faults"] >= 30
    assert document["summary"]["kinds"] >= 25
    assert document["summary"]["received"] > 1000
    assert document["after"]["fib_differences"] == 0
    assert document["after"]["balanced"]

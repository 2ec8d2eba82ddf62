"""The worker's C under AddressSanitizer and UBSan: commits, rings, the hold queue, batches."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.c.build import SANITIZE, build_c_test, rooms

FAULTS = (*SANITIZE, "-DRC_FAULT_POINTS")
PACKET = (*rooms("base", "packet"), "forward/limiter.c")
FORWARD = rooms("base", "segment", "report", "packet", "port", "forward")
TESTS = {
    "test_stats.c": ("report/stats.c", "segment/segment.c"),
    "test_ring.c": ("port/ring.c", "port/socket.c", "port/filter.c"),
    "test_own_addresses.c": ("forward/own_addresses.c", "base/address_class.c"),
    "test_hold.c": ("forward/hold.c",),
    "test_forward.c": FORWARD,
    "test_forward_error.c": ("forward/error.c", *PACKET),
}


def run(test: str, sources: Sequence[str], tmp_path: Path) -> None:
    program = build_c_test(test, sources, tmp_path, flags=FAULTS)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("test", sorted(TESTS))
def test_c(test: str, tmp_path: Path) -> None:
    """The promise is the comment on top of the C file."""
    run(test, TESTS[test], tmp_path)

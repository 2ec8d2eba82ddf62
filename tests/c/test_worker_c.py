"""The worker's C under AddressSanitizer and UBSan: commits, rings, the hold queue, batches."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.c.build import SANITIZE, build_c_test

FAULTS = (*SANITIZE, "-DRC_FAULT_POINTS")
PACKET = ("packet_parse.c", "packet_judge.c", "rewrite.c", "icmp.c", "finish.c", "checksum.c",
          "flow_hash.c", "address_class.c", "limiter.c")  # fmt: skip
FORWARD = ("forward.c", "forward_work.c", "forward_decide.c", "forward_error.c",
           "forward_account.c", "ring.c", "port_socket.c", "port_filter.c", "hold.c",
           "transmit.c", "event.c", "stats.c", "segment.c", *PACKET)  # fmt: skip
TESTS = {
    "test_stats.c": ("stats.c", "segment.c"),
    "test_ring.c": ("ring.c", "port_socket.c", "port_filter.c"),
    "test_hold.c": ("hold.c",),
    "test_forward.c": FORWARD,
    "test_forward_error.c": ("forward_error.c", *PACKET),
}


def run(test: str, sources: Sequence[str], tmp_path: Path) -> None:
    program = build_c_test(test, sources, tmp_path, flags=FAULTS)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("test", sorted(TESTS))
def test_c(test: str, tmp_path: Path) -> None:
    """The promise is the comment on top of the C file."""
    run(test, TESTS[test], tmp_path)
